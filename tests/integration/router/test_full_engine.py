"""An engine at its bound of connections is busy, not ill."""

import time
from typing import Any

import httpx
import pytest

from tests.integration.router.conftest import Stack


@pytest.fixture
def router_env() -> dict[str, str]:
    return {"ROUTER_ENGINE_CONNECTIONS_MAX": "1", "ROUTER_QUEUE_S_MAX": "0.3"}


@pytest.fixture
def engine_flags() -> list[str]:
    return ["--tokens-per-second", "100"]


def test_a_full_engine_is_said_to_be_full_and_stays_healthy(stack: Stack, hello: dict[str, Any]) -> None:
    long = hello | {"stream": True, "max_tokens": 300, "min_tokens": 300}
    with httpx.stream(
        "POST", stack.base_url + "/chat/completions", json=long, headers={"authorization": f"Bearer {stack.api_key}"}
    ) as answer:
        chunks = answer.iter_bytes()
        next(chunks)
        refused = stack.post(hello)
        assert refused.status_code == 503
        assert refused.json()["error"]["code"] == "queue_timed_out"
        assert refused.headers["retry-after"] == "1"
        time.sleep(1)  # several probes, beside the call that fills it
        assert stack.post(hello).json()["error"]["code"] == "queue_timed_out"
        rest = b"".join(chunks)
    assert rest.rstrip().endswith(b"[DONE]")
    assert stack.post(hello).status_code == 200
