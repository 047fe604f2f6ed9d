"""Models: platform admins make, change and retire them; members see them with the prices of their organization."""

from collections.abc import Iterator
from datetime import UTC, datetime

import httpx
import pytest

from tests.factories import add_tenant
from tests.integration.router.callers import add_user, demo, error, events, owner, signed_in
from tests.integration.router.conftest import Stack

NEW = {"id": "acme/tiny:1.0", "context_tokens_max": 8192, "output_tokens_max": 1024}


@pytest.fixture
def client(stack: Stack) -> Iterator[httpx.Client]:
    with owner(stack) as client:
        yield client


def test_only_platform_admins_write_models(stack: Stack) -> None:
    with signed_in(stack, add_user(stack, demo(stack).org_id, "owner")) as client:
        for answer in (
            client.post("/platform/models", json=NEW), client.get("/platform/models"),
            client.post("/platform/models/simulated", json={"output_tokens_max": 1}),
            client.post("/platform/models/simulated/retire"),
        ):  # fmt: skip
            assert error(answer)[:2] == (403, "not_allowed")
            assert "platform admins" in answer.json()["error"]["message"]
        assert client.get("/organization/models").status_code == 200


REFUSED: list[tuple[dict[str, object], str]] = [
    ({"id": "no spaces"}, "id"), ({"id": "tiny/retire"}, "id"), ({"context_tokens_max": 0}, "context_tokens_max"),
    ({"output_tokens_max": 2**31}, "output_tokens_max"), ({"x": 1}, "x"), ({"id": "a\0b"}, "id"),
]  # fmt: skip


def test_a_model_that_cannot_be_is_refused(client: httpx.Client) -> None:
    for change, param in REFUSED:
        assert error(client.post("/platform/models", json=NEW | change)) == (400, "invalid_request", param)


def test_a_model_is_made_changed_retired_and_restored(client: httpx.Client, stack: Stack, hello: dict[str, object]) -> None:
    made = client.post("/platform/models", json=NEW).json()
    assert (made["object"], made["status"], made["version"]) == ("platform.model", "active", 1)
    assert error(client.post("/platform/models", json=NEW)) == (409, "already_exists", "id")
    path = f"/platform/models/{NEW['id']}"
    read = client.get(path)
    assert (read.json(), read.headers["etag"]) == (made, '"1"')
    assert client.get("/platform/models/acme%2Ftiny:1.0").json() == made
    changed = client.post(path, json={"output_tokens_max": 2048}, headers={"if-match": '"1"'})
    assert (changed.json()["output_tokens_max"], changed.json()["context_tokens_max"]) == (2048, 8192)
    assert (changed.json()["template_tokens_per_message"], changed.json()["media_tokens_max"]) == (16, None)
    assert error(client.post(path, json={}, headers={"if-match": '"1"'}))[:2] == (412, "version_changed")
    assert client.post(f"{path}/retire").json()["status"] == "retired"
    assert client.post(f"{path}/retire").json()["version"] == 3
    listed = client.get("/platform/models", params={"limit": 100}).json()["data"]
    assert NEW["id"] not in [model["id"] for model in listed]
    listed = client.get("/platform/models", params={"include_retired": True, "limit": 1}).json()
    assert ([model["id"] for model in listed["data"]], listed["has_more"]) == ([NEW["id"]], True)
    assert client.post(f"{path}/restore").json()["status"] == "active"
    assert error(client.post("/platform/models/nothing/retire"))[0] == 404
    assert events(stack) == ["model.created", "model.updated", "model.retired", "model.restored"]


def test_a_retired_model_is_refused_at_once(client: httpx.Client, stack: Stack, hello: dict[str, object]) -> None:
    assert stack.post(hello).status_code == 200
    client.post("/platform/models/simulated/retire")
    for _ in range(50):
        answer = stack.post(hello)
        if answer.status_code == 404:
            break
    assert error(answer)[:2] == (404, "model_not_found")


def test_members_see_models_with_the_price_in_force_for_their_organization(client: httpx.Client, stack: Stack) -> None:
    mine, other = demo(stack), add_tenant(stack.db, name="Other")
    stack.db.commit()
    prices = {"input_usd_per_million": "0.25", "cached_input_usd_per_million": "0.1", "output_usd_per_million": "1.000001"}
    body = {"model": "simulated", "organization": other.organization, "reason": "their own", **prices}
    assert client.post("/platform/prices", json=body).status_code == 200
    batch = body | {"priority": 1, "tags": {"service": "batch"}, "reasoning_usd_per_million": "0.9"}
    for condition in (batch, batch | {"organization": None}, batch | {"priority": 3, "organization": None, "tags": {"a": "b"}}):
        assert client.post("/platform/prices", json=condition).status_code == 200
    with (
        signed_in(stack, add_user(stack, mine.org_id, "member")) as here,
        signed_in(stack, add_user(stack, other.org_id, "member")) as there,
    ):
        seen = [
            next(model for model in caller.get("/organization/models").json()["data"] if model["id"] == "simulated")
            for caller in (here, there)
        ]
    assert [model["price"]["source"] for model in seen] == ["list", "organization"]
    assert [[(price["source"], price["tags"]) for price in model["conditional_prices"]] for model in seen] == [
        [("list", {"a": "b"}), ("list", {"service": "batch"})], [("organization", {"service": "batch"})],
    ]  # fmt: skip
    assert seen[1]["conditional_prices"][0]["reasoning_usd_per_million"] == "0.90"
    price = seen[1]["price"]
    assert {name: price[name] for name in prices} == {
        "input_usd_per_million": "0.25", "cached_input_usd_per_million": "0.10", "output_usd_per_million": "1.000001",
    }  # fmt: skip
    assert abs(price["effective_from"] - datetime.now(UTC).timestamp()) < 60
    client.post("/platform/models", json=NEW)
    assert client.get("/organization/models", params={"limit": 1}).json()["data"][0]["price"] is None


def test_what_a_template_adds_is_the_catalogues(client: httpx.Client) -> None:
    path = f"/platform/models/{client.post('/platform/models', json=NEW | {'media_tokens_max': 1000}).json()['id']}"
    changed = client.post(path, json={"template_tokens_for_tools": 2000}).json()
    assert (changed["template_tokens_for_tools"], changed["media_tokens_max"]) == (2000, 1000)
    assert client.post(path, json={"media_tokens_max": None}).json()["media_tokens_max"] is None
    assert error(client.post(path, json={"template_tokens_per_call": -1})) == (400, "invalid_request", "template_tokens_per_call")
