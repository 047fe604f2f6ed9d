"""An answer on its way: token by token from its place to the client, with the fault that befalls it."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import orjson

from engines.simulated.errors import BrokenOff
from engines.simulated.faults import Fault
from engines.simulated.ledger import Entry
from engines.simulated.scheduler import Place
from engines.simulated.server import Reply
from engines.simulated.shapes import Shape, Usage
from engines.simulated.tokens import Answer

DIE_AFTER_CHUNKS = 3
SPOILT_CHUNK = 2  # the second: after the client has seen that all is well
NOT_JSON = b'{"id": "broken", "choices": ['


@dataclass(frozen=True, slots=True)
class Delivery:
    """One call that has a place. `stall_s` is how long a stall lasts that does not say."""

    shape: Shape
    answers: Sequence[Answer]
    entry: Entry
    reply: Reply
    fault: Fault | None
    stall_s: float

    async def whole(self, place: Place, *, tokens_per_step: int | None) -> None:
        """Generate everything, then answer in one piece. Without `tokens_per_step`, in a single step.

        Raises: BrokenOff: the fault has ended it.
        """
        longest = max(len(answer.pieces) for answer in self.answers)
        step = tokens_per_step or longest
        for done in range(0, longest, step):
            tokens = sum(max(0, min(len(answer.pieces) - done, step)) for answer in self.answers)
            await place.generate(tokens, steps=min(step, longest - done))
        send_whole(self.reply, orjson.dumps(self.shape.whole(self.answers, self._usage())), self.fault)

    async def stream(self, place: Place, *, tokens_per_chunk: int) -> None:
        """Generate and send chunk by chunk.

        Raises: BrokenOff: the fault has ended it.
        """
        die_after = self._die_after()
        self.reply.start()
        if die_after == 0:
            raise BrokenOff
        for event in self.shape.opening():
            self._send(self.shape.frame(event))
        for number, (index, begin) in enumerate(_turns(self.answers, tokens_per_chunk), start=1):
            if number == SPOILT_CHUNK and self.fault is not None and self.fault.name == "stall-between":
                await place.stall(self.fault.seconds(self.stall_s))
            answer = self.answers[index]
            pieces = answer.pieces[begin : begin + tokens_per_chunk]
            # Choices take turns; the clock moves on with the first of them.
            await place.generate(len(pieces), steps=len(pieces) if index == 0 else 0)
            total = begin + len(pieces)
            ended = answer if total == len(answer.pieces) else None
            frame = self.shape.frame(self.shape.piece(index, "".join(pieces), total, ended))
            self._send(self._spoilt(frame) if number == SPOILT_CHUNK else frame)
            if number == die_after:
                raise BrokenOff
            await self.reply.drain()
        if die_after is not None:
            raise BrokenOff
        for event in self.shape.closing(self.answers, self._usage()):
            self._send(self.shape.frame(event))
        if self.shape.done:
            self._send(self.shape.done)
        self.reply.end()

    def _send(self, frame: bytes) -> None:
        match self.fault:
            case Fault(name="comments"):
                frame = b": still here\n\n" + frame
            case Fault(name="crlf"):
                frame = frame.replace(b"\n", b"\r\n")
            case _:
                pass
        self.reply.event(frame)

    def _die_after(self) -> float | None:
        if self.fault is None or self.fault.name != "die":
            return None
        return DIE_AFTER_CHUNKS if self.fault.value is None else self.fault.value

    def _spoilt(self, frame: bytes) -> bytes:
        match self.fault:
            case Fault(name="wrong-json"):
                return b"data: %b\n\n" % NOT_JSON
            case Fault(name="malformed-sse"):
                return frame.removeprefix(b"data: ").rstrip(b"\n")
            case _:
                return frame

    def _usage(self) -> Usage:
        entry = self.entry
        return Usage(entry.prompt_tokens, entry.completion_tokens, entry.cached_tokens, entry.created_cache_tokens)


def send_whole(reply: Reply, data: bytes, fault: Fault | None) -> None:
    """Answer with `data`, or with what the fault leaves of it.

    Raises: BrokenOff: the fault was to die in the middle.
    """
    match fault:
        case Fault(name="die"):
            reply.promise(200, len(data), "application/json", None, data[: len(data) // 2])
            raise BrokenOff
        case Fault(name="wrong-json" | "malformed-sse"):
            reply.whole(200, NOT_JSON)
        case _:
            reply.whole(200, data)


def _turns(answers: Sequence[Answer], step: int) -> Iterator[tuple[int, int]]:
    """(choice, first token) of each chunk: all choices side by side until the longest has ended."""
    longest = max(len(answer.pieces) for answer in answers)
    for begin, (index, answer) in itertools.product(range(0, longest, step), enumerate(answers)):
        if begin < len(answer.pieces):
            yield index, begin
