"""How to call any route of the OpenAPI document: ids for its path, and the smallest body that its schema takes."""

import re
from collections.abc import Mapping
from itertools import count
from typing import Any

_PARAMETER = re.compile(r"\{(\w+)(?::\w+)?\}")
_numbers = count(1)
# The least that can be asked for: what gives away more is asked about by further permissions inside of the route.
_LEAST = ("viewer", "member", "inference", "day", "hard", "simulated", "json", "1d")


class CannotCall(Exception):
    """The matrix does not know what to put there: teach it (matrix.py has the things, this module the values)."""


def parameters(path: str) -> list[str]:
    """Names of a path's parameters."""
    return _PARAMETER.findall(path)


def filled(path: str, things: Mapping[str, str]) -> str:
    """The path with an id for each parameter. Raises: CannotCall."""
    values = dict(things)
    if "/admin_api_keys" in path:
        values["key_id"] = things["admin_key_id"]
    if "/platform/api_keys" in path:
        values["key_id"] = things["platform_key_id"]
    if "/platform/aliases" in path:
        values["alias_id"] = things["platform_alias_id"]
    missing = [name for name in parameters(path) if name not in values]
    if missing:
        raise CannotCall(f"{path}: nothing is known for {', '.join(missing)}")
    return _PARAMETER.sub(lambda match: values[match[1]], path)


def query(operation: Mapping[str, Any], document: Mapping[str, Any]) -> dict[str, Any]:
    """The required parameters of the query."""
    return {
        parameter["name"]: sample(parameter["name"], parameter["schema"], document, {})
        for parameter in operation.get("parameters", ())
        if parameter["in"] == "query" and parameter.get("required")
    }


def body(operation: Mapping[str, Any], document: Mapping[str, Any], things: Mapping[str, Any]) -> Any:
    """A body that the schema takes, None where there is none."""
    content = operation.get("requestBody", {}).get("content", {})
    return sample("", content["application/json"]["schema"], document, things) if content else None


def sample(name: str, schema: Mapping[str, Any], document: Mapping[str, Any], things: Mapping[str, Any]) -> Any:  # noqa: PLR0911
    """A value of a schema. Args: name: of the field, which says more than its type.  things: ids by the name of a field."""
    if "$ref" in schema:
        return sample(name, document["components"]["schemas"][schema["$ref"].rpartition("/")[2]], document, things)
    for choice in ("anyOf", "oneOf", "allOf"):
        if choice in schema:
            chosen = next((part for part in schema[choice] if part.get("type") != "null"), schema[choice][0])
            return sample(name, chosen, document, things)
    if name in things:
        return things[name]
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return next((least for least in _LEAST if least in schema["enum"]), schema["enum"][0])
    match schema.get("type"):
        case "object" | None:
            wanted = schema.get("required") or list(schema.get("properties", {}))[: schema.get("minProperties", 0)]
            return {part: sample(part, schema["properties"][part], document, things) for part in wanted}
        case "array":
            items = schema.get("items", {"type": "string"})
            return [sample(name.removesuffix("s"), items, document, things) for _ in range(schema.get("minItems", 0))]
        case "boolean":
            return False
        case "integer" | "number":
            return max(schema.get("minimum", 1), schema.get("exclusiveMinimum", 0) + 1)
        case "string":
            return _text(name, schema)
    raise CannotCall(f"no value is known for {name}: {dict(schema)}")


def _text(name: str, schema: Mapping[str, Any]) -> str:
    number = next(_numbers)
    if "email" in name or schema.get("format") == "email":
        return f"new{number}@matrix.example"
    if schema.get("format") == "date-time":
        return "2030-01-01T00:00:00Z"
    if "examples" in schema:
        return str(schema["examples"][0])
    if name.endswith(("usd", "usd_per_million")):
        return "1"
    known = {
        "model": "simulated", "time_zone": "UTC", "currency": "USD", "base_url": "http://127.0.0.1:9", "kind": "simulated",
        "first_month": "2999-01",
    }  # fmt: skip
    if name in known:
        return known[name]
    return f"new-{number}".ljust(schema.get("minLength", 1), "x")[: schema.get("maxLength", 200)]
