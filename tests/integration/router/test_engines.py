"""Engines: platform admins add, move and switch them; routers follow at once and say how they find them."""

import asyncio
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import psycopg
import pytest

from tests.integration.router.callers import add_user, demo, error, events, owner, signed_in
from tests.integration.router.conftest import Stack
from warehouse.access import catalogue
from warehouse.identity.sealed import Sealer

NEW = {"id": "engine-b", "kind": "simulated", "base_url": "http://127.0.0.1:9", "model": "simulated"}


@pytest.fixture
def client(stack: Stack) -> Iterator[httpx.Client]:
    with owner(stack) as client:
        yield client


def _until(read: Callable[[], Any], wanted: Any) -> Any:
    deadline = time.monotonic() + 10
    while (found := read()) != wanted and time.monotonic() < deadline:
        time.sleep(0.05)
    return found


def test_only_platform_admins_see_where_engines_are(stack: Stack) -> None:
    with signed_in(stack, add_user(stack, demo(stack).org_id, "owner")) as client:
        assert error(client.get("/platform/engines"))[:2] == (403, "not_allowed")
        assert error(client.post("/platform/engines", json=NEW))[:2] == (403, "not_allowed")
        seen = client.get("/organization/engines")
        assert [engine["name"] for engine in seen.json()["data"]] == ["engine-simulated"]
        assert "base_url" not in seen.text


def test_the_engines_of_an_organization_need_a_member(stack: Stack) -> None:
    assert httpx.get(stack.base_url + "/organization/engines").status_code == 401
    with httpx.Client(headers={"authorization": f"Bearer {stack.api_key}"}, base_url=stack.base_url) as client:
        assert error(client.get("/organization/engines"))[:2] == (403, "not_allowed")


ADDRESSES = [
    "ftp://host",
    "host:80",
    "http://",
    "http://host/v1/../x",
    "http://host//v1",
    "http://host/v1/%2e",
    "http://[:::]:80",
    "http://[....]",
    "http://user:pw@host",
    "http://host?x",
    "http://host:0",
    "http:///x",
    "http://host:65536",
    "http://ho st",
    "http://host#x",
    "http://" + "a" * 64,
    "http://" + "a." * 130 + "a",
    "http://höst",
    "http://host\n",
    "http://-a",
    "http://[::1",
    "javascript://x",
    "http://host:",
    "http://a..b",
]


def test_an_address_that_is_no_address_is_refused(client: httpx.Client) -> None:
    for base_url in ADDRESSES:
        assert error(client.post("/platform/engines", json=NEW | {"base_url": base_url})) == (400, "invalid_request", "base_url")


def test_an_address_may_have_a_path_and_the_v1_of_openais_sdks_is_taken_off(client: httpx.Client) -> None:
    with_path = NEW | {"base_url": "https://api.example.com/openai/v1/"}
    assert client.post("/platform/engines", json=with_path).json()["base_url"] == "https://api.example.com/openai"
    moved = client.post("/platform/engines/engine-b", json={"base_url": "https://api.example.com/v1"})
    assert moved.json()["base_url"] == "https://api.example.com"


def test_an_engine_is_added_moved_and_switched(client: httpx.Client, stack: Stack) -> None:
    assert error(client.post("/platform/engines", json=NEW | {"model": "nothing"})) == (404, "not_found", "model")
    made = client.post("/platform/engines", json=NEW | {"base_url": "http://127.0.0.1:9/v1"}).json()
    assert (made["base_url"], made["enabled"], made["health"]["status"]) == (NEW["base_url"], True, "unknown")
    assert error(client.post("/platform/engines", json=NEW)) == (409, "already_exists", "id")

    def health() -> str:
        return str(client.get("/platform/engines/engine-b").json()["health"]["status"])

    assert _until(health, "unreachable") == "unreachable"
    moved = client.post("/platform/engines/engine-b", json={"base_url": stack.engine.url}, headers={"if-match": '"1"'})
    assert (moved.json()["base_url"], moved.headers["etag"]) == (stack.engine.url, '"2"')
    assert _until(health, "healthy") == "healthy"
    assert error(client.post("/platform/engines/engine-b", json={}, headers={"if-match": '"1"'}))[0] == 412
    assert client.post("/platform/engines/engine-b/disable").json()["enabled"] is False
    assert client.post("/platform/engines/engine-b/disable").json()["version"] == 3
    assert health() == "unknown"
    enabled = client.get("/platform/engines", params={"enabled": True, "model": "simulated"}).json()["data"]
    assert [engine["id"] for engine in enabled] == ["engine-simulated"]
    assert client.post("/platform/engines/engine-b/enable").json()["enabled"] is True
    assert error(client.post("/platform/engines/engine-c/enable")) == (404, "not_found", "engine_id")
    assert events(stack) == ["engine.created", "engine.updated", "engine.disabled", "engine.enabled"]


def test_a_create_that_is_repeated_makes_one_engine(client: httpx.Client) -> None:
    headers = {"idempotency-key": "one"}
    first = client.post("/platform/engines", json=NEW, headers=headers)
    assert client.post("/platform/engines", json=NEW, headers=headers).json() == first.json()


def test_a_create_with_another_secret_is_no_repetition(client: httpx.Client, stack: Stack) -> None:
    headers, body = {"idempotency-key": "one"}, NEW | {"kind": "openai", "api_key": "secret-1"}
    first = client.post("/platform/engines", json=body, headers=headers)
    assert client.post("/platform/engines", json=body, headers=headers).json() == first.json()
    other = client.post("/platform/engines", json=body | {"api_key": "secret-2"}, headers=headers)
    assert error(other) == (400, "invalid_request", "Idempotency-Key")
    assert "secret-1" not in str(stack.db.execute("select * from control.idempotent_answers").fetchall())


def test_a_host_that_does_not_exist_does_not_stop_the_router(client: httpx.Client, stack: Stack, hello: dict[str, Any]) -> None:
    for number, base_url in enumerate(["http://nowhere.invalid:80", "https://127.0.0.1:9", "http://[::1]:9", "http://1.2.3.999"]):
        assert client.post("/platform/engines", json=NEW | {"id": f"e-{number}", "base_url": base_url}).status_code == 200
    time.sleep(1.5)
    assert stack.post(hello).status_code == 200


def test_weight_bound_and_name_are_kept_and_cleared(client: httpx.Client) -> None:
    more = {"weight": 0, "requests_at_once": 8, "served_model": "gpt-5", "kind": "openai"}
    made = client.post("/platform/engines", json=NEW | more).json()
    assert {name: made[name] for name in more} == more
    assert (made["canary"], made["has_api_key"]) == (None, False)
    changed = client.post("/platform/engines/engine-b", json={"requests_at_once": None, "weight": 7}).json()
    assert (changed["requests_at_once"], changed["weight"], changed["served_model"]) == (None, 7, "gpt-5")
    for wrong in ({"weight": -1}, {"weight": 1001}, {"requests_at_once": 0}, {"canary_percent": 51}, {"kind": "other"}):
        assert error(client.post("/platform/engines/engine-b", json=wrong))[:2] == (400, "invalid_request")


def test_what_gpus_cost_is_kept_to_the_pico_dollar(client: httpx.Client, stack: Stack) -> None:
    made = client.post("/platform/engines", json=NEW | {"gpus": 8, "gpu_hour_usd": "2.499999999999"}).json()
    assert (made["gpus"], made["gpu_hour_usd"]) == (8, "2.499999999999")
    assert client.post("/platform/engines/engine-b", json={"weight": 5}).json()["gpu_hour_usd"] == "2.499999999999"
    changed = client.post("/platform/engines/engine-b", json={"gpus": 4, "gpu_hour_usd": "1000"}).json()
    assert (changed["gpus"], changed["gpu_hour_usd"]) == (4, "1000.00")
    for wrong, param in (("1000.01", "gpu_hour_usd"), ("-1", "gpu_hour_usd"), ("2,50", "gpu_hour_usd"), ("NaN", "gpu_hour_usd")):
        assert error(client.post("/platform/engines/engine-b", json={"gpu_hour_usd": wrong})) == (400, "invalid_request", param)
    assert error(client.post("/platform/engines/engine-b", json={"gpus": 1025}))[2] == "gpus"
    assert error(client.post("/platform/engines", json=NEW | {"id": "c", "gpus": -1}))[2] == "gpus"
    assert client.get("/platform/engines/engine-simulated").json()["gpu_hour_usd"] == "0.00"
    kept = "select after::jsonb ->> 'gpu_hour_usd' from control.audit_log where event_type = 'engine.updated' order by sequence"
    rows = stack.db.execute(kept).fetchall()
    stack.db.commit()
    assert rows == [("2.499999999999",), ("1000.00",)]


def test_a_providers_key_is_never_shown_and_is_sealed(client: httpx.Client, database_url: str) -> None:
    key = "sk-of-a-provider-0123456789"
    made = client.post("/platform/engines", json=NEW | {"kind": "openai", "api_key": key})
    assert made.json()["has_api_key"] is True
    shown = client.get("/platform/engines/engine-b").text + client.get("/organization/audit_logs").text + made.text
    assert key not in shown
    with psycopg.connect(database_url) as conn:
        row = conn.execute("select sealed_key from control.engines where name = 'engine-b'").fetchone()
        logs = conn.execute("select string_agg(after::text, '') from control.audit_log").fetchone()
    assert row is not None
    assert logs is not None
    assert key.encode() not in row[0]
    assert key not in logs[0]
    assert Sealer(["a sealing key of the tests"]).open(row[0], "engine-b") == key
    assert client.post("/platform/engines/engine-b", json={"weight": 5}).json()["has_api_key"] is True
    assert client.post("/platform/engines/engine-b", json={"api_key": None}).json()["has_api_key"] is False
    assert error(client.post("/platform/engines/engine-b", json={"api_key": "with\r\nline"})) == (
        400,
        "invalid_request",
        "api_key",
    )


def test_a_stopped_canary_goes_on_when_its_share_is_said_again(
    client: httpx.Client, stack: Stack, role_url: Callable[..., str]
) -> None:
    assert client.post("/platform/engines", json=NEW | {"canary_percent": 5}).json()["canary"]["stopped_at"] is None

    async def stop(version: int) -> bool:
        async with await psycopg.AsyncConnection.connect(role_url("inferhouse_router")) as conn:
            ids = {engine.name: engine.id for engine in await catalogue.list_engines(conn)}
            return await catalogue.stop_canary(conn, ids["engine-b"], version, "too slow")

    assert asyncio.run(stop(2)) is False
    assert asyncio.run(stop(1)) is True
    assert asyncio.run(stop(1)) is False
    canary = client.get("/platform/engines/engine-b").json()["canary"]
    assert (canary["percent"], canary["stopped_why"]) == (5, "too slow")
    assert client.post("/platform/engines/engine-b", json={"weight": 5}).json()["canary"]["stopped_why"] == "too slow"
    assert client.post("/platform/engines/engine-b", json={"canary_percent": 5}).json()["canary"]["stopped_why"] is None
    assert client.post("/platform/engines/engine-b", json={"canary_percent": None}).json()["canary"] is None
