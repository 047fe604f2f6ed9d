"""What surrounds every request beside the hot path: its id, its span, its time, its bounds, and one shape for what goes wrong."""

import logging
import re
import time
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any
from urllib.parse import unquote_to_bytes

import orjson
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from psycopg import DataError
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Route

from router import forms
from router.inference.responses import error_headers
from router.inference.shapes import SHAPES
from router.inference.shapes.errors import ANTHROPIC_ID_HEADERS, anthropic_error
from router.metrics import RequestMetrics
from warehouse.base import requests, tracing
from warehouse.base.errors import BodyTooLarge, InferhouseError, InvalidRequest

_LOG = logging.getLogger(__name__)
BODY_BYTES_MAX = 1024 * 1024  # of the management API: its largest honest body, an invite to many projects, has some kilobytes
PARAM_CHARACTERS_MAX = 200
MESSAGE_CHARACTERS_MAX = 1000

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Asgi = Callable[[Scope, Receive, Send], Awaitable[None]]
_FAULT = InferhouseError("a fault of ours; the router's log has it under this request id")

# Of two with the same end, the one that is below `/v1`.
_BY_LENGTH = sorted([*SHAPES, "/v1/models"], key=lambda path: (-len(path.removeprefix("/v1")), -len(path)))
_BASES = re.compile(r"(?:/(?:v1|api|openai|deployments/[^/]+|chat|completions|responses|messages|embeddings)?)*")
"""What clients are given for a base address that is none: a path with its end, Azure's, or too many slashes."""
_PARAMETER = re.compile(r"\{[^}]*\}")
_NO_BATCHES = ": batches are not taken here, so send each request by itself"
_INSTEAD = {
    "/v1/responses/input_tokens": ": tokens are counted at /tokenize and /v1/messages/count_tokens",
    "/v1/responses/compact": ": conversations are not shortened here, so send what matters of one as `input`",
    "/v1/responses/": ": stored responses cannot be read, cancelled or deleted here, so keep what you need of an answer",
    "/v1/messages/batches": _NO_BATCHES,
    "/v1/batches": _NO_BATCHES,
}
"""{beginning of paths: what is said of them}; the first counts."""


class Edge:
    """ASGI middleware around FastAPI. Its answer to whatever is sent is one of ours, with the request's id."""

    def __init__(self, app: Asgi, metrics: RequestMetrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id, started_s, status = str(requests.begin()).encode(), time.monotonic(), 0
        names = ANTHROPIC_ID_HEADERS if _is_anthropics(scope) else (requests.HEADER.encode(),)

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                others = [header for header in message["headers"] if header[0] not in names]
                message["headers"] = [*others, *((name, request_id) for name in names)]
            await send(message)

        with tracing.span(f"{scope['method']} management", traceparent=traceparent(scope)) as span:
            try:
                refusal = _refusal(scope)
                if refusal is None:
                    await self._app(scope, _bounded(receive, scope), answer)
                else:
                    await _envelope(scope, refusal)(scope, receive, answer)
            except Exception:  # noqa: BLE001 - the edge of the process
                _LOG.exception("a request of the management API failed")
                if not status:
                    await _envelope(scope, _FAULT)(scope, receive, answer)
            route = _route(scope)
            span.set("http.request.method", scope["method"])
            span.set("http.route", route)
            span.set("http.response.status_code", status)
            span.set("inferhouse.request_id", request_id.decode())
        self._metrics.add(scope["method"], route, status, time.monotonic() - started_s)


def traceparent(scope: Scope) -> str | None:
    """The W3C header of a request, looked for only where traces are made."""
    if not tracing.on():
        return None
    return next((value.decode("latin-1") for name, value in scope["headers"] if name == b"traceparent"), None)


def _route(scope: Scope) -> str:
    """The path as the API documents it, never as it was sent: that may hold anything."""
    return str(getattr(scope.get("route"), "path_format", "none"))


def _refusal(scope: Scope) -> InferhouseError | None:
    """What is wrong with a request whatever its route."""
    if "\0" in scope["path"] or b"\0" in unquote_to_bytes(scope["query_string"]):
        return InvalidRequest("there is a NUL byte in the path or the query, and in no name of ours")
    return None


def _bounded(receive: Receive, scope: Scope) -> Receive:
    """`receive` up to BODY_BYTES_MAX: nothing of a body that says it is longer, by who wants one, which no unknown path does.

    Raises: HTTPException, the only error that FastAPI lets out of the reading of a body.
    """
    length = next((value for name, value in scope["headers"] if name == b"content-length"), b"")
    size, stated = 0, int(length) if length.isdigit() else 0

    async def read() -> Message:
        nonlocal size
        message = {} if stated > BODY_BYTES_MAX else await receive()
        size += len(message.get("body", b""))
        if max(size, stated) > BODY_BYTES_MAX:
            raise HTTPException(413, f"the body is larger than {BODY_BYTES_MAX} bytes")
        return message

    return read


def add_error_handlers(app: FastAPI) -> None:
    """Every error in OpenAI's envelope."""
    app.add_exception_handler(InferhouseError, _own_error)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_exception_handler(DataError, _data_error)
    app.add_exception_handler(Exception, _unexpected)


def _envelope(scope: Scope, error: InferhouseError) -> Response:
    headers = {name.decode(): value.decode() for name, value in error_headers(error)}
    return _answer(scope, error.status, error.envelope(None)["error"], headers)


def _answer(scope: Scope, status: int, error: Mapping[str, Any], headers: Mapping[str, str] | None) -> Response:
    """An error as its client reads it. Args: error: as OpenAI's API has it."""
    id_ = str(requests.current_id())
    if _is_anthropics(scope):
        body = anthropic_error(status, error["message"], id_)
    else:
        body = orjson.dumps({"error": {**error, "request_id": id_}})
    return Response(body, status, headers, media_type="application/json")


def _is_anthropics(scope: Scope) -> bool:
    """Whether one of Anthropic's SDKs asks, all of which name a version of its API."""
    return any(name == b"anthropic-version" for name, _ in scope["headers"])


async def _own_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, InferhouseError)
    return _envelope(request.scope, error)


async def _http_error(request: Request, error: Exception) -> Response:
    """Unknown paths and methods, in the same envelope as everything else."""
    assert isinstance(error, HTTPException)
    if error.status_code == 413:
        return _envelope(request.scope, BodyTooLarge(str(error.detail)))
    if error.status_code == 400:
        return _envelope(request.scope, InvalidRequest("the body cannot be read: send JSON in UTF-8, not nested too deeply"))
    path = request.scope["path"]  # not of `request.url`, which ends before a `?` that was sent as %3F
    message = {
        404: f"there is nothing at {_plain(path)}{_hint(path)}",
        405: f"{_plain(request.method)} is not possible at {_plain(path)}",
    }.get(error.status_code, str(error.detail))
    body = {"message": message, "type": "invalid_request_error", "param": None, "code": f"http_{error.status_code}"}
    headers = {"allow": _methods(request.app, path)} if error.status_code == 405 else error.headers
    return _answer(request.scope, error.status_code, body, headers)


def _hint(path: str) -> str:
    """What most who ask for an unknown path have meant."""
    asked = path.rstrip("/")
    for known in _BY_LENGTH:
        tail = known.removeprefix("/v1")
        if asked.endswith(tail) and _BASES.fullmatch(asked, 0, len(asked) - len(tail)):
            return f": did you mean {known}?"
    return next((words for beginning, words in _INSTEAD.items() if path.startswith(beginning)), "")


def _methods(app: FastAPI, path: str) -> str:
    """Every method of a path, for `Allow`: the framework names those of one of its routes only.

    Of routes that fit, those that say most of it count: the name of a model may have slashes, and so be `x/restore`.
    """
    routes = [route for route in app.routes if isinstance(route, Route) and route.path_regex.match(path)]
    most = max((_stated(route) for route in routes), default=0)
    return ", ".join(sorted({method for route in routes if _stated(route) == most for method in route.methods or ()}))


def _stated(route: Route) -> int:
    """How many characters of its paths a route states."""
    return len(_PARAMETER.sub("", route.path))


async def _validation_error(request: Request, error: Exception) -> Response:
    """A body or query that does not fit, naming the first field. What was sent is not repeated: it may be a password."""
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    param, message = ".".join(str(part) for part in first["loc"][1:]), first["msg"]
    if first["type"] == "string_pattern_mismatch":
        message = forms.WORDS.get(first["ctx"]["pattern"], "this is not written as it has to be; the API's document says how")
    elif first["type"] == "value_error":
        message = str(first["ctx"]["error"])  # a check of ours, in its own words
    elif first["type"] == "json_invalid":
        param, message = "", f"the body is no JSON: at character {first['loc'][-1]}, {first['ctx']['error']}"
    elif not param and first["loc"][:1] == ("body",):
        message = "the body is no JSON object: send one, with content-type application/json"
    return _envelope(request.scope, InvalidRequest(_plain(message), param=_plain(param)[:PARAM_CHARACTERS_MAX] or None))


async def _data_error(request: Request, error: Exception) -> Response:
    """A value that a column cannot hold and that no rule of the API has refused."""
    _LOG.warning("the database refused a value", extra={"error": type(error).__name__, "route": _route(request.scope)})
    return _envelope(request.scope, InvalidRequest("a value is too large or has characters that cannot be stored, such as NUL"))


async def _unexpected(request: Request, error: Exception) -> Response:
    """A fault of ours; what is raised goes on to the log."""
    return _envelope(request.scope, _FAULT)


def _plain(text: str) -> str:
    """Text that JSON in UTF-8 can hold, not longer than anybody reads."""
    return text.encode("utf-8", "replace").decode()[:MESSAGE_CHARACTERS_MAX]
