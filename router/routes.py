"""How what FastAPI answers is declared: below `/v1`, with the errors that any operation may answer.

A route is made where it is declared, and is used as it is: `include_router` would make each a second time, which took as long
again as to import FastAPI.
"""

from typing import Any

from fastapi import APIRouter
from fastapi.openapi.constants import REF_TEMPLATE
from fastapi.routing import APIRoute
from pydantic import BaseModel, Field

PREFIX = "/v1"


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


_ERROR = {"application/json": {"schema": {"$ref": REF_TEMPLATE.format(model=ErrorEnvelope.__name__)}}}
ERRORS: dict[int | str, dict[str, Any]] = {
    # By name: for a model FastAPI would make a validator for each status of each route.
    status: {"content": _ERROR, "description": description}
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


def routes(tag: str, below: str = "", *, prefix: str = PREFIX) -> APIRouter:
    """Where the functions of one module are declared. Args: below: what all its paths begin with after the prefix."""
    return APIRouter(prefix=prefix + below, tags=[tag], responses=ERRORS, generate_unique_id_function=_operation_id)


def _operation_id(route: APIRoute) -> str:
    """The name of the function: short, unique (a test holds that), and the same when a path changes."""
    return route.name


def error_schemas() -> dict[str, Any]:
    """{name: schema} of what `ERRORS` names."""
    schema = ErrorEnvelope.model_json_schema(ref_template=REF_TEMPLATE)
    return {**schema.pop("$defs"), ErrorEnvelope.__name__: schema}
