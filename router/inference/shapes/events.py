"""Streams of named events: the Responses API and the Messages API. Neither has running counts before its end."""

import re

import msgspec

from router.inference.shapes.edit import read
from router.inference.shapes.tap import Tap, data_of
from router.inference.shapes.usage import MessagesUsage, Reading, Response, finish_label

_TYPE = re.compile(rb'"type"\s*:\s*"([a-z_.]+)"')
_NO_ERROR = re.compile(rb'\{"error"\s*:\s*null\s*[,}]')
_BROKEN = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class _ResponseEvent(msgspec.Struct):
    type: str
    response: Response | None = None


class _Message(msgspec.Struct):
    usage: MessagesUsage | None = None


class _Delta(msgspec.Struct):
    stop_reason: str | None = None


class _MessageEvent(msgspec.Struct):
    type: str
    message: _Message | None = None
    usage: MessagesUsage | None = None
    delta: _Delta | None = None


_RESPONSE_EVENT = msgspec.json.Decoder(_ResponseEvent)
_MESSAGE_EVENT = msgspec.json.Decoder(_MessageEvent)


def _kind(event: bytes) -> bytes:
    """The name of an event: of its first line, or where it has none, of the data's `type`."""
    if event.startswith(b"event: "):
        return event[7 : event.find(b"\n", 7)].rstrip(b"\r")
    for line in event.split(b"\n"):
        if line.startswith(b"event:"):
            return line[6:].strip()
    data = data_of(event)
    if data is None:
        return b""
    if data == b"[DONE]":
        return data
    if data.startswith(b'{"error"') and not _NO_ERROR.match(data):  # whose own type says which
        return b"error"
    found = _TYPE.search(data)
    return found.group(1) if found else b""


class _NamedTap(Tap):
    """What both have: errors."""

    __slots__ = ()

    def _note_told(self, event: bytes) -> None:
        self._note_error(event, None if self.pieces else data_of(event))


class ResponsesTap(_NamedTap):
    """`response.created` … `response.completed`, whose response has the usage."""

    __slots__ = ("_reading",)

    def __init__(self) -> None:
        super().__init__()
        self._reading = Reading()

    @property
    def reading(self) -> Reading:
        return self._reading

    def _event(self, event: bytes) -> bytes:
        if event.startswith(b"event: response.output_text.delta\n"):
            self.pieces += 1
            return event
        kind = _kind(event)
        if kind in (b"response.completed", b"response.incomplete", b"response.failed"):
            self._read(event)
            if kind == b"response.failed":
                self._note_told(event)
            return self._end(event)
        if kind.endswith(b".delta"):
            self.pieces += 1
        elif kind == b"error":
            self._note_told(event)
        elif kind == b"[DONE]":
            return self._end(event)
        return event

    def _read(self, event: bytes) -> None:
        try:
            response = read(_RESPONSE_EVENT, data_of(event) or b"").response
        except _BROKEN:
            return
        if response is not None:
            self._reading = response.reading()
            if response.is_broken:
                self._note_told(event)


class MessagesTap(_NamedTap):
    """`message_start` has the prompt's tokens, `message_delta` those of the answer so far, `message_stop` is the end."""

    __slots__ = ("_counted", "_finish", "_stated")

    def __init__(self) -> None:
        super().__init__()
        self._stated = MessagesUsage()
        self._counted = False
        """The engine has stated how long the answer is, and not only that it begins."""
        self._finish: str | None = None

    @property
    def reading(self) -> Reading:
        if self._counted or self.done:
            return Reading(self._stated.usage() if self._counted else None, self._finish)
        pieces = max(self.pieces, self._stated.output_tokens or 0)
        usage = self._stated.then(MessagesUsage(output_tokens=pieces)).usage()
        return Reading(usage, self._finish, estimated=usage is not None)

    def _event(self, event: bytes) -> bytes:
        if event.startswith(b"event: content_block_delta\n"):
            self.pieces += 1
            return event
        kind = _kind(event)
        if kind in (b"message_start", b"message_delta"):
            self._read(event)
        elif kind == b"content_block_delta":
            self.pieces += 1
        elif kind in (b"message_stop", b"[DONE]"):
            return self._end(event)
        elif kind == b"error":
            self._note_told(event)
        return event

    def _read(self, event: bytes) -> None:
        try:
            told = read(_MESSAGE_EVENT, data_of(event) or b"")
        except _BROKEN:
            return
        stated = told.message.usage if told.type == "message_start" and told.message else told.usage
        if stated is not None:
            self._stated = self._stated.then(stated)
            self._counted |= told.type == "message_delta" and stated.output_tokens is not None
        if told.delta is not None and told.delta.stop_reason is not None:
            self._finish = finish_label(told.delta.stop_reason)
