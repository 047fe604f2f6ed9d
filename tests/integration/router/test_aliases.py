"""Aliases: names that stand for models, of everybody or of one organization; routers follow at once."""

import asyncio
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import psycopg
import pytest

from router.cli.operations import find
from router.cli.values import of
from router.inference.catalogue import Catalogue
from router.management.aliases import ALIASES_MAX
from tests.integration.router.callers import add_user, demo, error, events, owner, signed_in
from tests.integration.router.conftest import Stack

STAGES = [[{"model": "simulated", "weight": 3}]]
PATHS = ["/organization/aliases", "/platform/aliases"]


@pytest.fixture
def client(stack: Stack) -> Iterator[httpx.Client]:
    with owner(stack) as client:
        yield client


@pytest.mark.parametrize("path", PATHS)
def test_an_alias_is_made_changed_and_deleted(path: str, client: httpx.Client, stack: Stack) -> None:
    made = client.post(path, json={"name": "chat", "stages": STAGES}, headers={"idempotency-key": "one"}).json()
    again = client.post(path, json={"name": "chat", "stages": STAGES}, headers={"idempotency-key": "one"})
    assert again.json() == made
    assert error(client.post(path, json={"name": "chat", "stages": STAGES})) == (409, "already_exists", "name")
    one = f"{path}/{made['id']}"
    assert client.get(path).json()["data"] == [made]
    other = [[{"model": "simulated", "weight": 1}], [{"model": "simulated", "weight": 2}]]
    changed = client.post(one, json={"stages": other}, headers={"if-match": '"1"'})
    assert (changed.json()["stages"], changed.headers["etag"]) == (other, '"2"')
    assert error(client.post(one, json={"stages": other}, headers={"if-match": '"1"'}))[0] == 412
    assert client.delete(one).json()["deleted"] is True
    assert error(client.get(one)) == (404, "not_found", "alias_id")
    assert client.post(path, json={"name": "chat", "stages": STAGES}).status_code == 200
    assert events(stack) == ["alias.created", "alias.updated", "alias.deleted", "alias.created"]


@pytest.mark.parametrize(
    ("stages", "refused"),
    [
        ([[{"model": "nothing", "weight": 1}]], (404, "not_found", "stages")),
        ([[{"model": "simulated", "weight": 0}]], (400, "invalid_request", "stages")),
        ([[{"model": "simulated"}, {"model": "simulated"}]], (400, "invalid_request", "stages")),
        (STAGES * 6, (400, "invalid_request", "stages")),
        ([], (400, "invalid_request", "stages")),
        ([[]], (400, "invalid_request", "stages.0")),
        ([[{"model": "simulated", "weight": -1}]], (400, "invalid_request", "stages.0.0.weight")),
    ],
)
def test_stages_that_lead_nowhere_are_refused(stages: Any, refused: Any, client: httpx.Client) -> None:
    found = error(client.post("/organization/aliases", json={"name": "chat", "stages": stages}))
    assert found[:2] == refused[:2]
    assert str(found[2]).startswith("stages")


def test_aliases_of_an_organization_are_bounded(client: httpx.Client, stack: Stack) -> None:
    stack.db.execute(
        "insert into control.model_aliases (public_id, org_id, name, stages)"
        " select 'alias_' || lpad(n::text, 12, '0'), o.id, 'a' || n, '[[{\"model\": \"simulated\", \"weight\": 1}]]'"
        " from control.organizations as o, generate_series(1, %s) as n",
        [ALIASES_MAX - 1],
    )
    stack.db.commit()
    path, stages = "/organization/aliases", [[{"model": "simulated"}]]
    assert client.post(path, json={"name": "last", "stages": stages}).status_code == 200
    assert error(client.post(path, json={"name": "more", "stages": stages})) == (409, "conflict", None)
    assert client.post("/platform/aliases", json={"name": "more", "stages": stages}).status_code == 200


def test_no_alias_ends_in_itself(client: httpx.Client) -> None:
    assert client.post("/organization/aliases", json={"name": "a", "stages": STAGES}).status_code == 200
    circle = [[{"model": "a", "weight": 1}]]
    assert error(client.post("/organization/aliases", json={"name": "b", "stages": circle})) == (404, "not_found", "stages")
    assert error(client.post("/organization/aliases", json={"name": "a", "stages": circle}))[0] == 404


@pytest.mark.parametrize("path", PATHS)
def test_models_and_aliases_have_names_of_their_own(path: str, client: httpx.Client) -> None:
    assert error(client.post(path, json={"name": "simulated", "stages": STAGES})) == (409, "already_exists", "name")
    assert client.post(path, json={"name": "new/model", "stages": STAGES}).status_code == 200
    model = {"id": "new/model", "context_tokens_max": 10, "output_tokens_max": 10}
    assert error(client.post("/platform/models", json=model)) == (409, "already_exists", "id")


def test_only_admins_make_names_of_their_organization(stack: Stack) -> None:
    with signed_in(stack, add_user(stack, demo(stack).org_id, "member")) as client:
        assert client.get("/organization/aliases").json()["data"] == []
        refused = client.post("/organization/aliases", json={"name": "chat", "stages": STAGES})
        assert error(refused)[:2] == (403, "not_allowed")
    with signed_in(stack, add_user(stack, demo(stack).org_id, "admin")) as client:
        assert client.post("/organization/aliases", json={"name": "chat", "stages": STAGES}).status_code == 200
        assert error(client.get("/platform/aliases"))[:2] == (403, "not_allowed")


def test_a_change_is_announced_to_routers(client: httpx.Client, database_url: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as conn:
        conn.execute("listen control_changed")
        client.post("/organization/aliases", json={"name": "chat", "stages": STAGES})
        assert "model_aliases" in [notice.payload for notice in conn.notifies(timeout=5, stop_after=1)]


def test_the_command_reads_stages() -> None:
    field = next(field for field in find("alias", "create").body if field.name == "stages")
    assert of(field, ["a=3,b/c:d=1", "e"]) == [
        [{"model": "a", "weight": 3}, {"model": "b/c:d", "weight": 1}],
        [{"model": "e", "weight": 1}],
    ]
    for wrong in (["a=x"], ["a=1,"], ["=1"]):
        with pytest.raises(ValueError, match="wanted"):
            of(field, wrong)


def test_a_router_reads_everybodys_aliases_and_those_of_each_organization(
    client: httpx.Client, stack: Stack, role_url: Callable[..., str]
) -> None:
    other = demo(stack).org_id + 1
    client.post("/platform/aliases", json={"name": "chat", "stages": STAGES})
    client.post("/organization/aliases", json={"name": "own", "stages": STAGES})
    client.post("/platform/engines/engine-simulated", json={"weight": 7, "requests_at_once": 3})

    async def read() -> Catalogue:
        async with await psycopg.AsyncConnection.connect(role_url("inferhouse_router")) as conn:
            return await Catalogue.load(conn)

    catalogue = asyncio.run(read())
    assert catalogue.names_of(demo(stack).org_id) == ["simulated", "chat", "own"]
    assert catalogue.names_of(other) == ["simulated", "chat"]
    assert catalogue.alias(other, "own") is None
    (engine,) = catalogue.engines["simulated"]
    assert (engine.weight, engine.requests_at_once, engine.canary_percent) == (7, 3, None)
