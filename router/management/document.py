"""What the OpenAPI document says of every operation beside its own shapes: errors, request id, who may call it."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from router.routes import error_schemas
from warehouse.base import requests
from warehouse.identity.policy import policy

SCHEME = "bearer"
PERMISSION = "x-permission"
_REQUEST_ID = {
    "description": "The id of this request: its log lines and audit entries have it too.",
    "schema": {"type": "string"},
}
_RETRY_AFTER = {"description": "Seconds after which to try again.", "schema": {"type": "integer"}}
_DESCRIPTION = """Organizations, projects, people, keys, prices, usage and the audit log, in the shapes of OpenAI's
organization API. Sign in with `POST /v1/sessions`, or use an admin key; send either as `Authorization: Bearer …`."""


def document(app: FastAPI, permissions: dict[tuple[str, str], str], public: frozenset[tuple[str, str]]) -> dict[str, Any]:
    """The OpenAPI document.

    Args: permissions: {(method, path): permission} of the operations that need one.  public: those for everybody.
    """
    made = get_openapi(title=app.title, version=app.version, description=_DESCRIPTION, routes=app.routes)
    made["components"]["schemas"] |= error_schemas()
    made["components"].setdefault("securitySchemes", {})[SCHEME] = {
        "type": "http",
        "scheme": "bearer",
        "description": "The token of a session, or a key.",
    }
    for path, methods in made["paths"].items():
        for method, operation in methods.items():
            name = (method.upper(), path)
            if name not in public:
                operation["security"] = [{SCHEME: []}]
            if name in permissions:
                _tell_permission(operation, permissions[name])
            _tell_headers(operation)
            for parameter in operation.get("parameters", ()):
                parameter["schema"] = _without_null(parameter["schema"])
            operation["responses"].pop("422", None)  # FastAPI's own; ours is 400
    for unused in ("HTTPValidationError", "ValidationError"):
        made["components"]["schemas"].pop(unused, None)
    return made


def _tell_permission(operation: dict[str, Any], permission: str) -> None:
    who = policy().who_may(permission)
    operation[PERMISSION] = permission
    operation["description"] = f"{operation.get('description', '')}\n\nNeeds `{permission}`: {who}.".strip()


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema of a parameter that may be left out: no path, query or header can say null."""
    choices: list[dict[str, Any]] = [choice for choice in schema.get("anyOf", ()) if choice != {"type": "null"}]
    if len(choices) != 1:
        return schema
    return choices[0] | {name: value for name, value in schema.items() if name != "anyOf"}


def _tell_headers(operation: dict[str, Any]) -> None:
    for status, answer in operation["responses"].items():
        headers = answer.setdefault("headers", {})
        headers[requests.HEADER] = _REQUEST_ID
        if status in {"429", "503"}:
            headers["retry-after"] = _RETRY_AFTER
