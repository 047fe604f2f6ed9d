"""Usage out of answers: token counts as the engine states them, never our own count of anything.

A stream is passed on event by event. Engines are asked for usage in every chunk, so that a stream that is cut has a
running count; what the client did not ask for is taken out again, by cutting bytes, not by writing the JSON anew.
"""

from dataclasses import dataclass
from typing import Annotated

import msgspec

from warehouse.base.errors import EngineFailed

EVENT_BYTES_MAX = 4 * 1024 * 1024  # one server-sent event; a longer one is a fault of the engine
_DONE = b"data: [DONE]"
_USAGE = b',"usage":'
_FINISH = b'"finish_reason":"'
_KNOWN_FINISH = frozenset({"stop", "length", "tool_calls", "content_filter", "abort", "error"})


# What the columns hold; an engine that states less or more states nonsense.
_Tokens = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]


class _PromptDetails(msgspec.Struct):
    cached_tokens: _Tokens | None = None


class _CompletionDetails(msgspec.Struct):
    reasoning_tokens: _Tokens | None = None


class Usage(msgspec.Struct):
    """An engine's usage object. Cached tokens are part of the prompt's, reasoning tokens of the completion's."""

    prompt_tokens: _Tokens = 0
    completion_tokens: _Tokens = 0
    prompt_tokens_details: _PromptDetails | None = None
    completion_tokens_details: _CompletionDetails | None = None

    @property
    def cached_tokens(self) -> int:
        """Prompt tokens that the engine had in its cache."""
        details = self.prompt_tokens_details
        return min(details.cached_tokens or 0, self.prompt_tokens) if details else 0

    @property
    def reasoning_tokens(self) -> int:
        """Completion tokens spent on reasoning."""
        details = self.completion_tokens_details
        return min(details.reasoning_tokens or 0, self.completion_tokens) if details else 0


class _Choice(msgspec.Struct):
    finish_reason: str | None = None


class _Answer(msgspec.Struct):
    usage: Usage
    choices: list[_Choice] = []


@dataclass(slots=True)
class Reading:
    """What has been read of an answer so far."""

    usage: Usage | None = None
    finish_reason: str | None = None


_ANSWER = msgspec.json.Decoder(_Answer)
_USAGE_OBJECT = msgspec.json.Decoder(Usage)


def read_answer(body: bytes) -> Reading:
    """The usage and finish reason of a whole answer.

    Raises: EngineFailed: it is no JSON, or states no usage: what cannot be billed is not passed on as if it could.
    """
    try:
        answer = _ANSWER.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise EngineFailed("the engine's answer is not valid JSON with usage") from error
    return Reading(answer.usage, finish_label(answer.choices[0].finish_reason) if answer.choices else None)


def finish_label(reason: str | None) -> str | None:
    """The label that rows use: the reason itself where it is one of OpenAI's or vLLM's, else `other`."""
    return reason if reason is None or reason in _KNOWN_FINISH else "other"


class StreamTap:
    """Reads usage from a stream of server-sent events while it passes.

    `feed` returns what goes to the client. The closing `[DONE]` is held back in `tail`: the row is on disk before the
    client has the last byte.
    """

    def __init__(self, *, wants_usage: bool, wants_running_usage: bool) -> None:
        self._wants_usage, self._wants_running_usage = wants_usage, wants_running_usage
        self._partial = b""
        self._usage: bytes | None = None
        self.finish: bytes | None = None
        self.done = False
        self.engine_error = False
        self.tail = b""

    def feed(self, data: bytes) -> bytes:
        """The bytes to pass on for the bytes received. Raises: EngineFailed: an event without end."""
        if self._partial:
            data = self._partial + data
        end = data.rfind(b"\n\n") + 2
        if end < 2:
            self._hold(data)
            return b""
        self._hold(data[end:])
        events = data[: end - 2].split(b"\n\n")
        if len(events) == 1:
            return self._event(events[0])
        return b"".join(map(self._event, events))

    @property
    def reading(self) -> Reading:
        """Usage and finish reason so far; usage that cannot be read counts as none."""
        finish = None if self.finish is None else finish_label(self.finish.decode("latin-1"))
        if self._usage is None:
            return Reading(None, finish)
        try:
            return Reading(_USAGE_OBJECT.decode(self._usage), finish)
        except msgspec.DecodeError:
            return Reading(None, finish)

    def _hold(self, rest: bytes) -> None:
        if len(rest) > EVENT_BYTES_MAX:
            raise EngineFailed(f"the engine sent an event of more than {EVENT_BYTES_MAX} bytes")
        self._partial = rest

    def _event(self, event: bytes) -> bytes:
        if event.startswith(_DONE):
            self.done, self.tail = True, event + b"\n\n"
            return b""
        finish = event.find(_FINISH)
        if finish >= 0:
            start = finish + len(_FINISH)
            self.finish = event[start : event.find(b'"', start)]
        usage = event.rfind(_USAGE)
        if usage < 0:
            if event.startswith((b'data: {"error"', b"event: error")):
                self.engine_error = True
            return event + b"\n\n"
        start = usage + len(_USAGE)
        end = _value_end(event, start)
        if event[start:end] != b"null":
            self._usage = event[start:end]
        if self._wants_running_usage:
            return event + b"\n\n"
        if b'"choices":[]' in event:  # the usage chunk, after the last token
            return event + b"\n\n" if self._wants_usage else b""
        return event[:usage] + event[end:] + b"\n\n"


def _value_end(event: bytes, start: int) -> int:
    """Where the JSON value that starts here ends: an object of numbers and objects, or a literal."""
    if event[start : start + 1] != b"{":
        ends = [at for at in (event.find(b",", start), event.find(b"}", start)) if at >= 0]
        return min(ends, default=len(event))
    depth = 0
    position = start
    while position < len(event):
        byte = event[position]
        depth += (byte == 0x7B) - (byte == 0x7D)
        position += 1
        if not depth:
            break
    return position
