"""The metered paths in the OpenAPI document: what is read of each body; what is not named there passes to the engine as it is."""

from typing import Any

import msgspec

from router.inference.shapes import SHAPES, Shape
from router.inference.shapes.requests import BODIES
from router.routes import error_schemas
from warehouse.base import requests

_REF = "#/components/schemas/{name}"
_SECURITY: list[dict[str, list[str]]] = [{"bearer": []}]
_OWN_ERRORS = {
    401: "No key in force.",
    403: "The key may not do this, or not from this network.",
    404: "No such model for this key, or its engine does not have this endpoint.",
    408: "The request was not whole in time.",
    409: "A request with this `Idempotency-Key` is under way, or was another one.",
    413: "The body is too large.",
    415: "The body's encoding or type is not known.",
    429: "A limit, a budget or the queue has no room; the message says which, `Retry-After` when to try again.",
    431: "The headers are too large.",
    500: "A fault of ours.",
    501: "What the request asks for the engine or its model cannot do.",
    502: "The engine's answer cannot be used, or it broke off.",
    503: "No engine takes requests now; try again after `Retry-After`.",
    504: "The engine took too long.",
}
_HEADERS = [
    {
        "name": "Idempotency-Key",
        "in": "header",
        "description": "A request that is sent again with the same key is answered as the first one was, and billed once.",
        "schema": {"type": "string", "minLength": 1, "maxLength": 255},
    },
    {
        "name": "x-inferhouse-tags",
        "in": "header",
        "description": "Tags of the row, `team=search,feature=answers`; they win over those of the body's `metadata`.",
        "schema": {"type": "string"},
    },
]
_REQUEST_ID = {"description": "The id of this request, in its rows and in log lines.", "schema": {"type": "string"}}


def add_inference(document: dict[str, Any]) -> dict[str, Any]:
    """The document with every metered path in it."""
    shown, components = msgspec.json.schema_components(list(BODIES.values()), ref_template=_REF)
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    schemas |= error_schemas()
    for name, schema in components.items():
        schemas[_named(name)] = _renamed(schema)
    schemas["AnthropicError"] = {
        "type": "object",
        "description": "An error as Anthropic's API has it.",
        "properties": {"type": {"const": "error"}, "error": {"type": "object"}, "request_id": {"type": ["string", "null"]}},
        "required": ["type", "error"],
    }
    document["components"].setdefault("securitySchemes", {}).setdefault("bearer", {"type": "http", "scheme": "bearer"})
    bodies = dict(zip(BODIES, shown, strict=True))
    for path, shape in SHAPES.items():
        document["paths"][path] = {"post": _operation(shape, _renamed(bodies[shape.parse]))}
    return document


def _operation(shape: Shape, body: dict[str, Any]) -> dict[str, Any]:
    streams = shape.make_tap is not None
    error = _REF.format(name="AnthropicError" if shape.path.startswith("/v1/messages") else "ErrorEnvelope")
    answers: dict[str, Any] = {
        "200": {
            "description": "The engine's answer, byte for byte; with `stream: true` as server-sent events."
            if streams
            else "The engine's answer, byte for byte.",
            "content": {"application/json": {"schema": {}}} | ({"text/event-stream": {}} if streams else {}),
        },
        "400": {
            "description": "The body cannot be used: as the router says it, or in the engine's own words.",
            "content": {"application/json": {"schema": {"type": "object"}}},
        },
    }
    for status, said in _OWN_ERRORS.items():
        answers[str(status)] = {"description": said, "content": {"application/json": {"schema": {"$ref": error}}}}
    for answer in answers.values():
        answer["headers"] = {requests.HEADER: _REQUEST_ID}
    return {
        "tags": ["inference"],
        "operationId": shape.path.strip("/").replace("/", "_"),
        "summary": shape.path,
        "description": f"Metered as `{shape.endpoint}`. docs/inference-api.md tells what is read; every other field passes.",
        "security": _SECURITY,
        "parameters": _HEADERS,
        "requestBody": {"required": True, "content": {"application/json": {"schema": body}}},
        "responses": answers,
    }


def _named(name: str) -> str:
    return name.lstrip("_") + "Body"


def _renamed(schema: Any) -> Any:
    """The same with the names of components as they are published."""
    if isinstance(schema, dict):
        return {
            key: _REF.format(name=_named(value.rpartition("/")[2])) if key == "$ref" else _renamed(value)
            for key, value in schema.items()
            if key != "title"
        }
    return [_renamed(value) for value in schema] if isinstance(schema, list) else schema
