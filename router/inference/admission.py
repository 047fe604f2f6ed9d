"""What the router reads of a request before any engine sees it: its size, and the few fields we route and bill by."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import msgspec

from warehouse.base.errors import BodyTooLarge, InvalidRequest
from warehouse.base.logging import redact

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
END_USER_CHARACTERS_MAX = 128
MODEL_CHARACTERS_MAX = 128


def plain(text: str, characters_max: int) -> str:
    """What a caller named, as it is repeated and recorded: not longer than that, and without a key that was sent by mistake."""
    return (redact(text) if "-ih-" in text else text)[:characters_max]


class ClientGone(Exception):
    """The client left. Nobody is there to be told."""


class StreamOptions(msgspec.Struct):
    """What the client wants to see of usage in a stream."""

    include_usage: bool | None = None
    continuous_usage_stats: bool | None = None


class Message(msgspec.Struct):
    """Only what every message must have; the rest is the engine's business."""

    role: str


class ChatCall(msgspec.Struct):
    """The fields of a chat completion that we route and bill by; every other field passes through unseen."""

    model: str
    messages: list[Message]
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    user: str | None = None

    @property
    def wants_usage(self) -> bool:
        """Whether the client asked for the usage chunk of a stream."""
        return bool(self.stream_options and self.stream_options.include_usage)

    @property
    def wants_running_usage(self) -> bool:
        """Whether the client asked for usage in every chunk; as in vLLM, only together with `include_usage`."""
        return bool(self.wants_usage and self.stream_options and self.stream_options.continuous_usage_stats)


_DECODER = msgspec.json.Decoder(ChatCall)


async def read_body(receive: Receive, content_length: bytes | None, bytes_max: int) -> bytes:
    """The whole body. Raises: BodyTooLarge (before reading more than `bytes_max`), ClientGone."""
    if content_length is not None and content_length.isdigit() and int(content_length) > bytes_max:
        raise BodyTooLarge(f"the body is larger than {bytes_max} bytes")
    message = await receive()
    body: bytes = message.get("body", b"")
    if message["type"] == "http.request" and not message.get("more_body") and len(body) <= bytes_max:
        return body
    parts, size = [body], len(body)
    while True:
        if message["type"] == "http.disconnect":
            raise ClientGone
        if size > bytes_max:
            raise BodyTooLarge(f"the body is larger than {bytes_max} bytes")
        if not message.get("more_body"):
            return b"".join(parts)
        message = await receive()
        parts.append(message.get("body", b""))
        size += len(parts[-1])


def parse_chat(body: bytes) -> ChatCall:
    """The call in a body. Raises: InvalidRequest: no JSON object, or a field has the wrong type; `param` names it."""
    try:
        call = _DECODER.decode(body)
    except msgspec.ValidationError as error:
        raise _invalid(str(error)) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidRequest(f"the body is not valid JSON: {error}") from error
    if not call.messages:
        raise InvalidRequest("`messages` is empty: send at least one", param="messages")
    if not call.model:
        raise InvalidRequest("`model` is empty", param="model")
    return call


def with_usage_asked(body: bytes, call: ChatCall) -> bytes:
    """The body of a stream, asking the engine for usage at the end and in every chunk. Other bytes stay as they are."""
    if call.stream_options is None and b'"stream_options"' not in body:
        end = body.rindex(b"}")
        return body[:end] + b',"stream_options":{"include_usage":true,"continuous_usage_stats":true}' + body[end:]
    fields = msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    fields["stream_options"] = msgspec.Raw(b'{"include_usage":true,"continuous_usage_stats":true}')
    return msgspec.json.encode(fields)


def _invalid(message: str) -> InvalidRequest:
    """msgspec's message names the place: "Expected `str`, got `int` - at `$.model`", "… missing required field `model`"."""
    _, at, path = message.rpartition(" - at `$")
    param = path.strip("`").lstrip(".") if at else ""
    if "missing required field" in message:
        name = message.split("`")[1]
        param = f"{param}.{name}" if param else name
    return InvalidRequest(f"the body is not a chat completion request: {message}", param=param or None)
