"""The command reaches everything: each route of the management API is a row of its table, field by field."""

from typing import Any

import pytest

from router.app import create_api
from router.cli.operation import Operation
from router.cli.operations import OPERATIONS
from router.cli.programs import PROGRAMS
from router.management.app import operations
from router.settings import RouterSettings
from tests.architecture.test_routes import SETTINGS
from tests.architecture.tree import ROOT

PAGES = {"limit", "after", "page"}


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return create_api(RouterSettings.from_env(SETTINGS)).openapi()


def test_every_route_is_reached() -> None:
    reached = {(operation.method, "/v1" + operation.path) for operation in OPERATIONS}
    assert {(method, path) for method, path, _ in operations()} == reached


def test_nouns_and_verbs_are_used_once() -> None:
    names = [(operation.noun, operation.verb) for operation in OPERATIONS]
    assert sorted(names) == sorted(set(names))


@pytest.mark.parametrize("operation", OPERATIONS, ids=[f"{row.noun} {row.verb}" for row in OPERATIONS])
def test_every_field_is_there(operation: Operation, document: dict[str, Any]) -> None:
    described = document["paths"]["/v1" + operation.path][operation.method.lower()]
    schema = described.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema", {})
    names = [part["$ref"].rpartition("/")[2] for part in [schema, *schema.get("anyOf", [])] if "$ref" in part]
    body = {name for found in names for name in document["components"]["schemas"][found].get("properties", {})}
    if operation.path != "/platform/audit_logs/verify":  # its body is made by hand
        assert {field.name for field in operation.body} == body
    query = {parameter["name"] for parameter in described.get("parameters", []) if parameter["in"] == "query"} - PAGES
    assert {field.name for field in operation.query} <= query
    lists = {name for name in query if f"{name}[]" in query}  # a list may be sent in two ways
    missing = query - lists - {field.name for field in operation.query}
    assert {name for name in missing if not name.startswith("effective_at[")} == set()
    required = {field.name for field in operation.body if field.required}
    needed = {name for found in names for name in document["components"]["schemas"][found].get("required", [])}
    assert needed <= required | {"password"}


def test_every_program_is_there_and_documented() -> None:
    documented = (ROOT / "docs" / "cli.md").read_text()
    for program in PROGRAMS:
        place = ROOT / program.module.replace(".", "/")
        assert place.with_suffix(".py").is_file() or (place / "__main__.py").is_file(), program
        assert f"`{program.noun} {program.verb}".strip() in documented, program
