"""Answers as ASGI messages."""

from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any

import orjson

from warehouse.base.errors import InferhouseError

Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Header = tuple[bytes, bytes]

_JSON = (b"content-type", b"application/json")
STREAM_HEADERS: list[Header] = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),  # proxies of nginx's kind would hold tokens back
]


async def send_json(send: Send, status: int, body: bytes, headers: Iterable[Header]) -> None:
    """A whole answer."""
    length = (b"content-length", b"%d" % len(body))
    await send({"type": "http.response.start", "status": status, "headers": [_JSON, length, *headers]})
    await send({"type": "http.response.body", "body": body})


async def send_error(send: Send, error: InferhouseError, request_id: str) -> None:
    """An error in OpenAI's envelope, with Retry-After where there is a time after which to try again."""
    headers = [(b"x-request-id", request_id.encode())]
    if error.retry_after_s is not None:
        headers.append((b"retry-after", b"%d" % error.retry_after_s))
    if error.status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    await send_json(send, error.status, orjson.dumps(error.envelope(request_id)), headers)


def error_event(error: InferhouseError, request_id: str) -> bytes:
    """An error inside a stream that has begun; OpenAI's SDKs raise it."""
    return b"data: %b\n\n" % orjson.dumps(error.envelope(request_id))
