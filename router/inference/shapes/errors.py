"""Errors as the clients of each API expect them: OpenAI's envelope, or Anthropic's."""

import orjson

from warehouse.base import requests
from warehouse.base.errors import InferhouseError

# Source: the error types that Anthropic's API documents; of statuses without one of their own 5xx is `api_error`.
ANTHROPIC_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    409: "invalid_request_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
}

ANTHROPIC_ID_HEADERS = (requests.HEADER.encode(), b"request-id")
"""Ours, and the one that Anthropic's SDKs read."""


def openai_body(error: InferhouseError, request_id: str | None) -> bytes:
    """The body of an error in OpenAI's envelope."""
    return orjson.dumps(error.envelope(request_id))


def openai_event(error: InferhouseError, request_id: str | None) -> bytes:
    """An error inside a stream that has begun; OpenAI's SDKs raise it."""
    return b"data: %b\n\n" % openai_body(error, request_id)


def responses_event(error: InferhouseError, request_id: str | None) -> bytes:
    """The Responses API's own `error` event, with the envelope beside it, which is what OpenAI's SDKs raise."""
    told = {"type": "error", "code": error.code, "message": str(error), "param": error.param, **error.envelope(request_id)}
    return b"event: error\ndata: %b\n\n" % orjson.dumps(told)


def anthropic_body(error: InferhouseError, request_id: str | None) -> bytes:
    """The body of an error as Anthropic's API has it."""
    return anthropic_error(error.status, str(error), request_id)


def anthropic_error(status: int, message: str, request_id: str | None) -> bytes:
    """The same of its parts."""
    kind = ANTHROPIC_TYPES.get(status, "api_error" if status >= 500 else "invalid_request_error")
    return orjson.dumps({"type": "error", "error": {"type": kind, "message": message}, "request_id": request_id})


def anthropic_event(error: InferhouseError, request_id: str | None) -> bytes:
    """An error inside a stream that has begun."""
    return b"event: error\ndata: %b\n\n" % anthropic_body(error, request_id)
