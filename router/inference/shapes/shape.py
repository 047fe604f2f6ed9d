"""One endpoint's shape: how its requests are read and prepared for an engine, and how its answers are metered."""

from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from router.inference.shapes import errors
from router.inference.shapes.call import Call
from router.inference.shapes.edit import with_field
from router.inference.shapes.tap import Tap
from router.inference.shapes.usage import Reader, Reading
from warehouse.base import requests
from warehouse.base.errors import InferhouseError

_OPTIONS = b'{"include_usage":true,"continuous_usage_stats":true}'
_OPTIONS_TAIL = b',"stream_options":' + _OPTIONS
_STRICT_OPTIONS = b'{"include_usage":true}'
_STRICT_TAIL = b',"stream_options":' + _STRICT_OPTIONS


class _Model(msgspec.Struct):
    model: str


_MODEL = msgspec.json.Decoder(_Model)
ErrorText = Callable[[InferhouseError, str | None], bytes]


@dataclass(frozen=True, slots=True)
class Shape:
    """An endpoint. Everything here is pure: no I/O, no clock, no state."""

    endpoint: str
    """The label of its rows."""
    path: str
    parse: Callable[[bytes], Call]
    """Body -> call. Raises: InvalidRequest, whose `param` names the field."""
    reader: Reader
    make_tap: Callable[[Call], Tap] | None = None
    cap: str | None = None
    """The field that bounds the output, where there is output."""
    has_options: bool = False
    """It knows `stream_options`."""
    error_body: ErrorText = errors.openai_body
    error_event: ErrorText = errors.openai_event
    id_headers: tuple[bytes, ...] = (requests.HEADER.encode(),)
    """What the request's id is called in answers."""

    def prepare(
        self, body: bytes, call: Call, *, model: str | None = None, output_tokens_max: int | None = None, is_strict: bool = False
    ) -> bytes:
        """The engine's body: usage is asked for, the model renamed, the output capped if the client has not capped it.

        All other bytes stay.
        Args: model: None, or the engine's name for it.  output_tokens_max: per choice.  is_strict: the engine refuses what
            OpenAI's API does not have, such as usage in every chunk.
        """
        tail = b""
        if call.stream and self.has_options and not (call.wants_usage and (is_strict or call.wants_running_usage)):
            if call.names_options:
                body = with_field(body, "stream_options", _asking_once if is_strict else _asking)
            else:
                tail = _STRICT_TAIL if is_strict else _OPTIONS_TAIL
        if output_tokens_max is not None and self.cap is not None:
            body, tail = self._capped(body, call, output_tokens_max, tail)
        if model is not None and model != call.model:
            body = _renamed(body, model)
        if not tail:
            return body
        end = body.rindex(b"}")
        return body[:end] + tail + body[end:]

    def read(self, body: bytes, call: Call | None = None) -> Reading:
        """Usage and finish reason of a whole answer; detokenize needs the call, its answers say no count.

        Raises: EngineFailed: no JSON, or without sound usage.
        """
        return self.reader(body, call.messages if call is not None else 0)

    def error_event_of(self, body: bytes) -> bytes:
        """An engine's own error inside a stream that has begun; its lines, where there are several, stay one datum."""
        name = b"" if self.error_event is errors.openai_event else b"event: error\n"
        return name + b"".join(b"data: %b\n" % line for line in body.splitlines()) + b"\n"

    def tap(self, call: Call, *, is_strict: bool = False) -> Tap | None:
        """What an answer is passed through where it is a stream. Args: is_strict: as above."""
        if not call.stream or self.make_tap is None:
            return None
        if is_strict and call.wants_usage:  # it was asked for what the client wants and no more: some have no chunk of its own
            call = msgspec.structs.replace(call, wants_running_usage=True)
        return self.make_tap(call)

    def _capped(self, body: bytes, call: Call, tokens_max: int, tail: bytes) -> tuple[bytes, bytes]:
        if call.output_tokens_max is not None:
            return body, tail
        assert self.cap is not None
        value = b"%d" % tokens_max
        if call.names_cap:
            return with_field(body, self.cap, lambda _: value), tail
        return body, tail + b',"%b":%b' % (self.cap.encode(), value)


def _asking(options: bytes | None) -> bytes:
    """The client's options, with usage asked for and everything else as it was."""
    if options is None or not options.startswith(b"{"):
        return _OPTIONS
    for name in ("include_usage", "continuous_usage_stats"):
        options = with_field(options, name, lambda _: b"true")
    return options


def _asking_once(options: bytes | None) -> bytes:
    """The same for usage at the end only."""
    if options is None or not options.startswith(b"{"):
        return _STRICT_OPTIONS
    return with_field(options, "include_usage", lambda _: b"true")


def _renamed(body: bytes, model: str) -> bytes:
    name = msgspec.json.encode(model)
    at = body.rfind(b'"model"')
    if at >= 0 and body.find(b'"model"') == at:
        # The only place that can be it. Whether it is one, and not a text or a field further down, the decoder says.
        begin = body.find(b'"', at + 7)
        end = body.find(b'"', begin + 1) + 1
        if begin >= 0 and end > 0 and body[at + 7 : begin].strip(b" \t\r\n") == b":":
            changed = body[:begin] + name + body[end:]
            try:
                if _MODEL.decode(changed).model == model:
                    return changed
            except msgspec.DecodeError:
                pass  # an escaped quote in the name: below, with more care
    return with_field(body, "model", lambda _: name)
