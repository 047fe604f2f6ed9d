"""What the OpenAPI document says of every operation beside its own shapes: errors, request id, who may call it."""

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from pydantic import BaseModel, Field

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


class Fault(BaseModel):
    """OpenAI's error, with the id of the request."""

    message: str = Field(description="For people: what happened, who may do it, what to do.")
    type: str
    param: str | None = Field(description="The field or header that is wrong, where it is one.")
    code: str = Field(description="For programs; docs/errors.md lists them.")
    request_id: str


class ErrorEnvelope(BaseModel):
    """The body of every answer that is no success."""

    error: Fault


ERRORS: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorEnvelope, "description": description}
    for status, description in {
        400: "A body, a parameter or a header cannot be used as sent; `param` names it.",
        401: "No session and no key in force.",
        403: "The caller is known and may not do this; the message says who may.",
        404: "It does not exist, or not for this caller.",
        409: "There is one already, or what is there forbids it.",
        412: "It has changed since the version of `If-Match`.",
        413: "The body is too large.",
        429: "Too many tries; `Retry-After` says when to go on.",
        503: "The database cannot be reached, or this process does not do this; try again after `Retry-After`.",
    }.items()
}
"""What any operation may answer."""


def operation_id(route: APIRoute) -> str:
    """The name of the function: short, unique (a test holds that), and the same when a path changes."""
    return route.name


def document(app: FastAPI, permissions: dict[tuple[str, str], str], public: frozenset[tuple[str, str]]) -> dict[str, Any]:
    """The OpenAPI document.

    Args: permissions: {(method, path): permission} of the operations that need one.  public: those for everybody.
    """
    made = get_openapi(title=app.title, version=app.version, description=_DESCRIPTION, routes=app.routes)
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
