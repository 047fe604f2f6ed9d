"""Organizations share an engine that is full by their weights, which a platform admin changes while they wait."""

import asyncio
from typing import Any

import httpx
import pytest

from tests.factories import add_tenant
from tests.integration.router.callers import add_key, demo, error, owner
from tests.integration.router.conftest import Stack

WEIGHT, EACH, SERVED = 4, 20, 15


@pytest.fixture
def router_env() -> dict[str, str]:
    return {"ROUTER_ENGINE_CONNECTIONS_MAX": "1", "ROUTER_QUEUE_S_MAX": "60"}


@pytest.fixture
def engine_flags() -> list[str]:
    return ["--tokens-per-second", "200"]


def test_an_organization_of_more_weight_gets_more_of_a_full_engine(stack: Stack, hello: dict[str, Any]) -> None:
    heavy, light = demo(stack), add_tenant(stack.db)
    keys = {tenant.org_id: add_key(stack, tenant.org_id, tenant.project_id, ["inference"]) for tenant in (light, heavy)}
    stack.db.commit()
    with owner(stack) as platform:
        path = f"/organizations/{platform.headers['OpenAI-Organization']}"
        for wrong in (0, 101, 1.5, "4"):
            assert error(platform.post(path, json={"queue_weight": wrong}))[2] == "queue_weight"
        assert platform.get(path).json()["queue_weight"] == 1
        for key in keys.values():
            assert stack.post(hello | {"max_tokens": 1}, key=key).status_code == 200  # read before the change
        assert platform.post(path, json={"queue_weight": WEIGHT}).json()["queue_weight"] == WEIGHT
        assert platform.post(path, json={"name": "Renamed"}).json()["queue_weight"] == WEIGHT
        answered: list[int] = []

        async def ask(client: httpx.AsyncClient, org_id: int) -> None:
            answer = await client.post(
                f"{stack.base_url}/chat/completions",
                json=hello | {"max_tokens": 20, "min_tokens": 20},
                headers={"authorization": f"Bearer {keys[org_id]}"},
            )
            assert answer.status_code == 200, answer.text
            answered.append(org_id)

        async def ask_all() -> None:
            await asyncio.sleep(1)  # within which a change is in force
            async with httpx.AsyncClient(timeout=60, limits=httpx.Limits(max_connections=None)) as client:
                await asyncio.gather(*(ask(client, org_id) for _ in range(EACH) for org_id in keys))

        asyncio.run(ask_all())
    assert len(answered) == 2 * EACH
    assert answered[:SERVED].count(heavy.org_id) == pytest.approx(SERVED * WEIGHT / (WEIGHT + 1), abs=2)
