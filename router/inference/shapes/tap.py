"""Streams of server-sent events on their way to the client: usage is read, what was not asked for is cut out.

Engines are asked for usage in every chunk, so that a stream that breaks off has a running count. Events are passed on byte
for byte, however they were cut on their way here. A tap never raises anything but EngineFailed.
"""

import re
from collections.abc import Callable
from typing import Any

import msgspec

from router.inference.chunked import LINES, SIZE_LINES
from router.inference.shapes.edit import fields, read, without_field
from router.inference.shapes.engine_errors import status_in
from router.inference.shapes.usage import TOKENS_MAX, ChoicesUsage, Reading, Usage, finish_label
from warehouse.base.errors import EngineFailed

EVENT_BYTES_MAX = 4 * 1024 * 1024  # one server-sent event; a longer one is a fault of the engine
_END = re.compile(rb"\n\r?\n")
_LINE_END, _ARRAY, _ARRAY_END, _BRACE, _D = b"\n[]{d"
_USAGE = b',"usage":'  # 9 bytes
_AFTER_CHOICES = b'],"usage":'
_TOKEN = b'data: {"'
_BEGINS = {size: line + _TOKEN for size, line in LINES.items()}
_ERROR = b'"error":'  # of an object, as in a text its quotes are escaped
_UNFINISHED = b'"finish_reason":null'
_PIECE = re.compile(rb'"(?:content|text|arguments|reasoning|reasoning_content|refusal)"\s*:\s*"[^"]')
_FINISH = b'"finish_reason":"'  # 17 bytes
_INDEX = re.compile(rb'"index"\s*:\s*(\d{1,9})')
_NAMED_ERROR = b"event: error"
_ERRORS = (b'data: {"error"', _NAMED_ERROR)  # of data that cannot be read
_CHOICES_USAGE = msgspec.json.Decoder(ChoicesUsage)


class Tap:
    """What every stream has: events out of bytes. `_event` of each kind says what goes on for an event."""

    __slots__ = ("_partial", "_searched", "done", "engine_error", "error_event", "error_status", "pieces", "tail")

    def __init__(self) -> None:
        self._partial: bytearray | None = None
        self._searched = 0
        self.done = False
        """The engine has ended its stream as it should."""
        self.engine_error = False
        """The engine has told of an error inside the stream."""
        self.error_event = b""
        """The first event that does, as it came."""
        self.error_status: int | None = None
        """What it says of that error's status, where the error came instead of an answer."""
        self.tail = bytearray()
        """The end marker: held back until the row is on disk, so that the client does not have it before."""
        self.pieces = 0
        """Pieces of output in a stream without running counts."""

    @property
    def reading(self) -> Reading:
        """Usage and finish reason so far; usage that cannot be read counts as none."""
        raise NotImplementedError

    def feed(self, data: bytes) -> bytes:
        """The bytes to pass on for the bytes received. Raises: EngineFailed: an event without end."""
        # One event, which is how tokens come: JSON has no line ends of its own, so the first one is the event's.
        if self._partial is None and data.find(b"\n") == len(data) - 2 and data[-1] == _LINE_END and not self.done:
            return self._event(data)
        if self._partial is not None or b"\r" in data:
            return self._feed(data)
        events = data.split(b"\n\n")
        self._hold(events.pop())
        return b"".join([self._late(event + b"\n\n") if self.done else self._event(event + b"\n\n") for event in events])

    def tokens_to(self, write: Callable[[bytes], None]) -> Callable[[bytes], bool] | None:  # noqa: ARG002  # for those that can
        """What takes the engine's chunks straight to the client's `write` where one is a token and nothing else, in one step.

        It returns False for a chunk that is for `feed`, of which nothing was done then. None: all of this stream's are.
        """
        return None

    def close(self) -> None:
        """The answer is over, and whole as far as HTTP can tell: the end marker may lack its blank line.

        Some engines have no end marker: of some streams it is `done` now all the same.
        """
        rest = bytes(self._partial or b"")
        if not self.done and data_of(rest) == b"[DONE]":
            self._partial = None
            self._end(rest.rstrip(b"\r\n") + b"\n\n")

    def _hold(self, rest: bytes | bytearray) -> None:
        """Keep the beginning of an event. Raises: EngineFailed: it is too long."""
        if len(rest) > EVENT_BYTES_MAX:
            raise EngineFailed(f"the engine sent an event of more than {EVENT_BYTES_MAX} bytes")
        self._partial = bytearray(rest) if rest else None
        # The next search begins where an end that is cut in two may begin, not at the start of a long event again.
        self._searched = max(0, len(rest) - 2)

    def _event(self, event: bytes) -> bytes:
        """What goes on for one event, its blank line included."""
        raise NotImplementedError

    def _feed(self, data: bytes) -> bytes:
        buffer: bytes | bytearray = data
        if self._partial is not None:
            self._partial += data
            buffer = self._partial
        passed, begin = [], 0
        for found in _END.finditer(buffer, self._searched):
            event = bytes(buffer[begin : found.end()])
            begin = found.end()
            passed.append(self._late(event) if self.done else self._event(event))
        if begin or self._partial is None:
            self._hold(buffer[begin:])
        else:
            if len(self._partial) > EVENT_BYTES_MAX:
                raise EngineFailed(f"the engine sent an event of more than {EVENT_BYTES_MAX} bytes")
            self._searched = max(0, len(self._partial) - 2)
        return b"".join(passed)

    def _late(self, event: bytes) -> bytes:
        """After the end marker nothing is passed on before it."""
        self.tail += event
        if len(self.tail) > EVENT_BYTES_MAX:
            raise EngineFailed("the engine goes on after the end of its stream")
        return b""

    def _end(self, event: bytes) -> bytes:
        self.done, self.tail = True, bytearray(event)
        return b""

    def _note_error(self, event: bytes, error: bytes | None = None) -> None:
        """An event that tells of an error. Args: error: what it says of it in JSON, where nothing of an answer came before."""
        self.engine_error = True
        if not self.error_event:
            self.error_event, self.error_status = event, None if error is None else status_in(error)


class ChoicesTap(Tap):
    """Chat and text completions: chunks with `choices`, usage in each and in a last one without choices, then `[DONE]`."""

    __slots__ = (
        "_choices",
        "_choices_per_prompt",
        "_finish",
        "_is_simple",
        "_of_choices",
        "_usage",
        "_wants_running_usage",
        "_wants_usage",
    )

    def __init__(self, *, wants_usage: bool, wants_running_usage: bool, choices: int = 1, prompts: int = 1) -> None:
        super().__init__()
        self._choices, self._choices_per_prompt = choices, max(1, choices // prompts)
        self._of_choices: dict[int, bytes] = {}
        self._wants_usage, self._wants_running_usage = wants_usage, wants_running_usage
        self._is_simple = choices == 1 and not wants_running_usage
        self._usage: bytes | None = None
        self._finish: bytes | None = None

    @property
    def reading(self) -> Reading:
        finish = None if self._finish is None else finish_label(self._finish.decode("latin-1"))
        return Reading(self._sum() if self._of_choices else _usage_in(self._usage), finish)

    def tokens_to(self, write: Callable[[bytes], None]) -> Callable[[bytes], bool] | None:
        if not self._is_simple:
            return None

        def take(chunk: bytes) -> bool:
            # Each line of this runs for every token that anybody is sent: one step, instead of five functions for the same.
            # To find takes half as long as `in`, which tries an integer first; so does what takes one argument.
            size = len(chunk)
            begin = _BEGINS.get(size)
            if (
                begin is None
                or not chunk.startswith(begin)
                or chunk.find(b"\n", len(begin)) != size - 4  # one event
                or chunk.find(_FINISH) >= 0
                or chunk.find(_ERROR) >= 0
                or self._partial is not None
                or self.done
            ):
                return False
            before, found, after = chunk.rpartition(_AFTER_CHOICES)
            if found:  # as vLLM sends it: the usage ends the event, and is right after the array of choices, which is not empty
                usage = after.removesuffix(b"}\n\n\r\n")
                end = len(usage)
                if end + 5 != len(after) or usage.find(b"}") != end - 1 or after[0] != _BRACE or before[-1] == _ARRAY:
                    return False
                self._usage = usage
                event = before[len(begin) - len(_TOKEN) :]
                write(SIZE_LINES[len(event) + 4] + event + b"]}\n\n\r\n")
                return True
            # Of an engine that has no running counts.
            if b'usage"' in chunk or _UNFINISHED not in chunk or not chunk.endswith(b"}\n\n\r\n"):
                return False
            self._note_piece(chunk)
            write(chunk)
            return True

        return take

    def close(self) -> None:
        """A choice that has a reason to be finished is whole; of several, only the end marker says that all are."""
        super().close()
        self.done = self.done or (self._finish is not None and self._choices == 1 and self._partial is None)

    def _sum(self) -> Usage | None:
        """Running counts are those of one choice and its prompt: together they are what the engine has done so far."""
        tokens, cached, reasoning = 0, 0, 0
        prompts: dict[int, int] = {}
        for index, stated in self._of_choices.items():
            usage = _usage_in(stated)
            if usage is not None:
                tokens += usage.completion_tokens
                reasoning += usage.reasoning_tokens
                if index // self._choices_per_prompt not in prompts:
                    cached += usage.cached_tokens
                prompts[index // self._choices_per_prompt] = usage.prompt_tokens
        prompt = sum(prompts.values())
        if not prompts or max(prompt, tokens) > TOKENS_MAX:
            return None
        return Usage(prompt, tokens, min(cached, prompt), reasoning)

    def _state(self, usage: bytes, event: bytes) -> None:
        """Keep what is stated, unread until somebody asks."""
        self._usage = usage
        if self._choices > 1:
            found = _INDEX.search(event)
            if found is None:  # the usage chunk: of all together
                self._of_choices.clear()
            elif (index := int(found.group(1))) < self._choices:
                self._of_choices[index] = usage

    def _event(self, event: bytes) -> bytes:
        usage = event.rfind(_USAGE)
        if usage < 0 and event.startswith(_TOKEN) and b'usage"' not in event and _ERROR not in event:
            return self._without_usage(event)
        # After the array of choices, as every engine that we know writes it; else it is looked for with care.
        if usage < 0 or event[usage - 1] != _ARRAY_END or event[0] != _D or _ERROR in event:
            return self._slow(event)
        start = usage + 9
        end = event.find(b"}", start) + 1
        if event.find(b"{", start + 1, end) >= 0 or event[start] != _BRACE:
            end = _object_end(event, start)
        if end <= 0 or event[end] not in b",}":
            return self._slow(event)
        if event[start] == _BRACE:
            self._state(event[start:end], event)
        else:
            self._note_piece(event)
        finish = event.find(_FINISH)
        if finish > 0:
            finish += 17
            self._finish = event[finish : event.find(b'"', finish)]
        if self._wants_running_usage:
            return event
        # The usage chunk, after the last token.
        if event[usage - 2] == _ARRAY and event[start] == _BRACE and event.endswith(b'"choices":[]', 0, usage):
            return event if self._wants_usage else b""
        return event[:usage] + event[end:]

    def _without_usage(self, event: bytes) -> bytes:
        """A chunk of an engine that has no running counts."""
        finish = event.find(_FINISH)
        if finish > 0:
            start = finish + 17
            self._finish = event[start : event.find(b'"', start)]
        elif _UNFINISHED not in event:
            return self._slow(event)
        self._note_piece(event)
        return event

    def _note_piece(self, event: bytes) -> None:
        """Output that nothing is counted of, yet or ever: if the stream breaks off, its pieces are all that is known of it."""
        if _PIECE.search(event):
            self.pieces += 1

    def _slow(self, event: bytes) -> bytes:
        """An event that is not written as vLLM writes them."""
        data = data_of(event)
        if data == b"[DONE]":
            return self._end(event)
        if data is None or b'"' not in data or not is_object(data):
            if event.startswith(_ERRORS):
                self._note_error(event)
            return event
        values: dict[str, bytes] = {name: data[begin:end] for name, begin, end in fields(data)}
        is_error = event.startswith(_NAMED_ERROR) or values.get("error", b"null") != b"null"
        if is_error:
            self._note_error(event, None if self._usage or self.pieces else values.get("error", data))
        self._note_finish(values.get("choices", b""))
        stated = values.get("usage", b"null")
        if stated.startswith(b"{"):
            self._state(stated, values.get("choices", b""))
        else:
            self._note_piece(data)
        if "usage" not in values or self._wants_running_usage or is_error:  # what tells of an error passes as it is
            return event
        if values.get("choices", b"")[1:-1].strip() == b"" and "choices" in values and stated != b"null":
            return event if self._wants_usage else b""
        at, left = event.find(data), without_field(data, "usage")
        return _with_data(event, left) if at < 0 else event[:at] + left + event[at + len(data) :]

    def _note_finish(self, choices: bytes) -> None:
        try:
            for choice in read(_FINISHES, choices or b"[]"):
                if choice.finish_reason is not None:
                    self._finish = choice.finish_reason.encode("latin-1", "replace")
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return


class _Finish(msgspec.Struct):
    finish_reason: str | None = None


_FINISHES = msgspec.json.Decoder(list[_Finish])
_OBJECT: "msgspec.json.Decoder[Any]" = msgspec.json.Decoder(dict[str, msgspec.Raw])


def _usage_in(stated: bytes | None) -> Usage | None:
    """None where it is not stated, or cannot be read."""
    try:
        return None if stated is None else read(_CHOICES_USAGE, stated).usage()
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return None


def data_of(event: bytes) -> bytes | None:
    """The data of an event: of its only data line, or of several together; None without any."""
    lines = [line for line in event.replace(b"\r\n", b"\n").split(b"\n") if line.startswith(b"data:")]
    if not lines:
        return None
    return b"\n".join(line[5:].removeprefix(b" ") for line in lines).strip(b" ")


def has_data(events: bytes) -> bool:
    """Whether there is an event that a client is told of, and not only comments and what else it passes over."""
    return events.startswith(b"data:") or b"\ndata:" in events


def _with_data(event: bytes, data: bytes) -> bytes:
    """An event whose data stood in several lines, with other data."""
    others = [line for line in event.splitlines() if line and not line.startswith(b"data:")]
    return b"\n".join([*others, *(b"data: " + line for line in data.split(b"\n"))]) + b"\n\n"


def is_object(data: bytes) -> bool:
    """Whether it is an object of JSON."""
    try:
        read(_OBJECT, data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return True


def _object_end(event: bytes, start: int) -> int:
    """Where the object of numbers and objects, or the null, that starts here ends; -1: it is neither."""
    if event[start] != _BRACE:
        return start + 4 if event.startswith(b"null", start) else -1
    end = event.find(b"}", start) + 1
    closed = 1
    while end > 0 and event.count(b"{", start, end) > closed:
        end = event.find(b"}", end) + 1
        closed += 1
    return end or -1
