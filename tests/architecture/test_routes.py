"""Every route of the management API says what it needs, what it answers, and what may go wrong."""

from collections import Counter
from typing import Any

import pytest
from fastapi import FastAPI

from router.app import create_api
from router.management.app import PUBLIC, SIGNED_IN, needs, operations
from router.management.document import PERMISSION, SCHEME
from router.routes import ERRORS
from router.settings import RouterSettings
from warehouse.identity.policy import policy

SETTINGS = {
    "ROUTER_DATABASE_URL": "postgresql://nowhere/none",
    "ROUTER_MANAGEMENT_DATABASE_URL": "postgresql://nowhere/none",
    "ROUTER_JOURNAL_DIR": "/nonexistent",
    "ROUTER_KEY_PEPPER": "a pepper of the tests",
    "ROUTER_SESSION_SECRET": "a secret of the tests",
}
OPERATIONS = list(operations())
NAMES = [f"{method} {path}" for method, path, _ in OPERATIONS]
WITHOUT_PERMISSION = PUBLIC | SIGNED_IN


@pytest.fixture(scope="module")
def api() -> FastAPI:
    return create_api(RouterSettings.from_env(SETTINGS))


@pytest.fixture(scope="module")
def document(api: FastAPI) -> dict[str, Any]:
    return api.openapi()


def _operations(document: dict[str, Any]) -> dict[tuple[str, str], dict[str, Any]]:
    return {
        (method.upper(), path): operation for path, methods in document["paths"].items() for method, operation in methods.items()
    }


def test_each_route_needs_one_permission_or_is_listed_as_needing_none() -> None:
    found = {(method, path): len(needs(route)) for method, path, route in OPERATIONS}
    wrong = {name: count for name, count in found.items() if count != (0 if name in WITHOUT_PERMISSION else 1)}
    assert wrong == {}


def test_what_is_listed_as_needing_no_permission_is_there(document: dict[str, Any]) -> None:
    assert set(_operations(document)) >= WITHOUT_PERMISSION
    assert not PUBLIC & SIGNED_IN


def test_each_permission_of_the_policy_is_needed_somewhere_or_asked_for_in_a_route(document: dict[str, Any]) -> None:
    """A permission that nothing needs is a promise that nothing keeps."""
    needed = {operation.get(PERMISSION) for operation in _operations(document).values()}
    assert needed - {None} <= policy().permissions


def test_every_route_is_in_the_document_below_v1(document: dict[str, Any]) -> None:
    described = _operations(document)
    assert {(method, path) for method, path, _ in OPERATIONS} <= set(described)
    assert [path for _, path, _ in OPERATIONS if not path.startswith("/v1/")] == []


@pytest.mark.parametrize("operation", OPERATIONS, ids=NAMES)
def test_a_route_says_what_it_answers(operation: tuple[str, str, Any], document: dict[str, Any]) -> None:
    method, path, route = operation
    said = _operations(document)[method, path]
    assert route.response_model is not None, "no response_model"
    success = next(answer for status, answer in said["responses"].items() if status.startswith("2"))
    schema = success["content"]["application/json"]["schema"]
    assert "$ref" in schema, f"a response_model that is a model of its own, not {schema}"
    assert {str(status) for status in ERRORS} <= set(said["responses"])
    assert said.get("tags"), "no tags"
    assert said.get("description"), "no docstring"
    assert all("x-request-id" in answer["headers"] for answer in said["responses"].values())


@pytest.mark.parametrize("operation", OPERATIONS, ids=NAMES)
def test_a_route_forbids_what_it_does_not_know(operation: tuple[str, str, Any], document: dict[str, Any]) -> None:
    method, path, _ = operation
    body = _operations(document)[method, path].get("requestBody")
    if body is None:
        return
    for schema in _schemas(body["content"]["application/json"]["schema"], document):
        assert schema.get("additionalProperties") is False, f"{schema.get('title')}: extra fields are let in"


def _schemas(schema: dict[str, Any], document: dict[str, Any]) -> list[dict[str, Any]]:
    """The object schemas that a body may be."""
    if "$ref" in schema:
        return _schemas(document["components"]["schemas"][schema["$ref"].rpartition("/")[2]], document)
    for choice in ("anyOf", "oneOf"):
        if choice in schema:
            return [found for part in schema[choice] for found in _schemas(part, document)]
    return [schema] if schema.get("type") == "object" else []


def test_operation_ids_are_short_and_used_once(document: dict[str, Any]) -> None:
    ids = [operation["operationId"] for operation in _operations(document).values()]
    assert [name for name, count in Counter(ids).items() if count > 1] == []
    assert [name for name in ids if not name.isidentifier()] == []


def test_what_is_not_public_says_how_to_identify(document: dict[str, Any]) -> None:
    assert document["components"]["securitySchemes"][SCHEME]["scheme"] == "bearer"
    open_to_all = {name for name, operation in _operations(document).items() if not operation.get("security")}
    assert open_to_all == PUBLIC
