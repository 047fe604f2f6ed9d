"""Ids of another tenant in a cursor, a filter, a body or a header open nothing, for whoever asks in his own organization."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.integration.router.conftest import Stack
from tests.integration.router.matrix import FOREIGN, PASSWORD, World
from tests.integration.router.matrix_calls import body, filled, parameters, query

_IDS = ("_id", "_ids", "_ids[]", "after", "before", "emails", "emails[]")


@pytest.fixture
def world(stack: Stack) -> World:
    return World(stack.db, stack.pepper)


@pytest.fixture
def owner(stack: Stack, world: World) -> Iterator[httpx.Client]:
    """The owner of the first tenant, who may do everything there."""
    role = next(role for role in world.roles if role.name == "owner")
    session = httpx.post(stack.base_url + "/sessions", json={"email": role.email, "password": PASSWORD}).json()
    headers = {"authorization": f"Bearer {session['token']}", "OpenAI-Organization": world.own.organization}
    with httpx.Client(base_url=stack.router.url, headers=headers, timeout=30) as client:
        yield client


@pytest.fixture
def document(stack: Stack) -> dict[str, Any]:
    found: dict[str, Any] = httpx.get(stack.router.url + "/openapi.json").json()
    return found


def _told(answer: httpx.Response, names: set[str], sent: str) -> list[str]:
    return [name for name in names if name in answer.text and name not in sent]


def test_a_foreign_id_in_a_cursor_or_a_filter_finds_nothing(owner: httpx.Client, world: World, document: dict[str, Any]) -> None:
    names, asked, wrong = world.names_of(world.foreign.org_id) | {FOREIGN}, 0, []
    foreign, own = world.foreign.things[0], world.own.things[0] | world.shared
    for path, methods in document["paths"].items():
        operation = methods.get("get")
        if operation is None or not path.startswith("/v1/organization/") or "limit" not in str(operation.get("parameters")):
            continue
        for parameter in operation["parameters"]:
            if parameter["in"] != "query" or not parameter["name"].endswith(_IDS):
                continue
            for value in foreign.values():
                asked += 1
                wanted = query(operation, document) | {parameter["name"]: value}
                answer = owner.get(filled(path, own), params=wanted)
                told = _told(answer, names, value)
                if told or answer.status_code >= 500:
                    wrong.append(f"{path}?{parameter['name']}={value}: {answer.status_code} {told}")
    print(f"{asked} cursors and filters")
    assert asked >= 50
    assert wrong == []


def test_a_foreign_id_in_a_body_changes_nothing_of_its_tenant(
    owner: httpx.Client, world: World, document: dict[str, Any], stack: Stack
) -> None:
    """Ids of another tenant for every field of a body that takes one: the foreign tenant has the same rows afterwards."""
    names, asked, wrong = world.names_of(world.foreign.org_id) | {FOREIGN}, 0, []
    foreign, own = world.foreign.things[0], world.own.things[0] | world.shared
    before = _rows_of(stack, world.foreign.org_id)
    for path, methods in document["paths"].items():
        operation = methods.get("post")
        if operation is None or not path.startswith("/v1/organization/") or set(parameters(path)) - own.keys():
            continue
        for field in _id_fields(operation, document) & foreign.keys():
            asked += 1
            sent = body(operation, document, own) | {field: foreign[field]}
            answer = owner.post(filled(path, own), json=sent)
            told = _told(answer, names, str(sent))
            if told or answer.status_code >= 500:
                wrong.append(f"{path} {sent}: {answer.status_code} {told}")
    assert asked >= 2
    assert wrong == []
    assert _rows_of(stack, world.foreign.org_id) == before


def _id_fields(operation: dict[str, Any], document: dict[str, Any]) -> set[str]:
    content = operation.get("requestBody", {}).get("content", {})
    reference = content.get("application/json", {}).get("schema", {}).get("$ref", "")
    schema = document["components"]["schemas"].get(reference.rpartition("/")[2], {})
    return {name for name in schema.get("properties", {}) if name.endswith("_id")}


def _rows_of(stack: Stack, org_id: int) -> dict[str, list[Any]]:
    tables = ("projects", "org_members", "project_members", "service_accounts", "api_keys", "invites", "budgets", "limits")
    found = {}
    for table in tables:
        statement = f"select to_jsonb(t) - 'last_used_at' from control.{table} as t where org_id = %s order by 1"
        found[table] = stack.db.execute(statement.encode(), [org_id]).fetchall()
    stack.db.commit()
    return found


def test_somebody_of_two_organizations_must_say_which_and_sees_only_that(stack: Stack, world: World) -> None:
    user_id, _, email = world.member("of two", world.own, "owner")
    world.insert("org_members", org_id=world.foreign.org_id, user_id=user_id, role="owner")
    stack.db.commit()
    session = httpx.post(stack.base_url + "/sessions", json={"email": email, "password": PASSWORD}).json()
    headers = {"authorization": f"Bearer {session['token']}"}
    url = stack.base_url + "/organization/projects"
    unnamed = httpx.get(url, headers=headers)
    assert (unnamed.status_code, unnamed.json()["error"]["param"]) == (400, "OpenAI-Organization")
    for home, other in ((world.own, world.foreign), (world.foreign, world.own)):
        seen = httpx.get(url, headers=headers | {"OpenAI-Organization": home.organization}).json()["data"]
        ids = {project["id"] for project in seen}
        assert ids == {things["project_id"] for things in home.things}
        assert not ids & {things["project_id"] for things in other.things}


def test_one_idempotency_key_in_two_tenants_makes_two_things(stack: Stack, world: World) -> None:
    made = []
    for home in (world.own, world.foreign):
        _, key = world.api_key("maker", "admin", ["admin"], org_id=home.org_id)
        stack.db.commit()
        headers = {"authorization": f"Bearer {key.reveal()}", "idempotency-key": "the same"}
        answer = httpx.post(stack.base_url + "/organization/projects", json={"name": "The same"}, headers=headers)
        assert answer.status_code == 200, answer.text
        made.append(answer.json()["id"])
    assert made[0] != made[1]
