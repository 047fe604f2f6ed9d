"""Routes of the simulated engine, and the life of a call: read, wait for a place, generate, end in exactly one way."""

import asyncio
import hashlib
import itertools
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

import orjson

from engines.simulated.calls import (
    Body,
    Call,
    Limits,
    chat_call,
    completion_call,
    read_body,
    responses_call,
    text_inputs,
)
from engines.simulated.errors import CallError, WrongField, envelope
from engines.simulated.faults import Fault, FaultDraw
from engines.simulated.ledger import Entry, Ledger
from engines.simulated.metrics import Metrics
from engines.simulated.responses import ResponsesShape
from engines.simulated.scheduler import Pace, Place, Scheduler
from engines.simulated.server import Reply, Request
from engines.simulated.settings import SimulatedSettings
from engines.simulated.shapes import ChatShape, CompletionShape, Head, Shape, Usage, embeddings, models
from engines.simulated.tokens import Answer, PrefixCache, digest_of, write

RETRY_AFTER_S = 1.0
DIE_AFTER_CHUNKS = 3
NOT_JSON = b'{"id": "broken", "choices": ['


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One way to ask for text."""

    name: str
    id_prefix: str
    read: Callable[[Body, Limits], Call]
    shape: Callable[[Head, Call], Shape]


ENDPOINTS = {
    "/v1/chat/completions": Endpoint("chat.completions", "chatcmpl-", chat_call, ChatShape),
    "/v1/completions": Endpoint("completions", "cmpl-", completion_call, CompletionShape),
    "/v1/responses": Endpoint("responses", "resp_", responses_call, ResponsesShape),
}


class BrokenOff(Exception):
    """A fault has closed the connection; nothing more can be said."""


class SimulatedEngine:
    """One engine: its model, its books and its routes."""

    def __init__(self, settings: SimulatedSettings) -> None:
        self._settings = settings
        self._created = int(time.time())
        self._fingerprint = (
            f"simulated-{hashlib.blake2b(settings.model_dump_json().encode(), digest_size=4).hexdigest()}"
        )
        self._limits = Limits(
            settings.model, settings.context_tokens_max, settings.output_tokens_max, settings.force_include_usage
        )
        self._metrics = Metrics(settings.model)
        self._ledger = Ledger(settings.ledger_max)
        self._cache = PrefixCache(settings.prefix_cache_blocks)
        self._scheduler = Scheduler(self._metrics, sequences_max=settings.sequences_max, queue_max=settings.queue_max)
        self._faults = FaultDraw(probability=settings.fault_probability, faults=settings.faults, seed=settings.seed)
        self._routes: Mapping[tuple[str, str], Callable[[Request, Reply], Awaitable[None]]] = {
            ("GET", "/health"): self._health,
            ("GET", "/metrics"): self._print_metrics,
            ("GET", "/v1/models"): self._models,
            ("GET", "/simulated/ledger"): self._report,
            ("POST", "/v1/embeddings"): partial(self._metered, "embeddings", self._embed),
            **{
                ("POST", path): partial(self._metered, endpoint.name, partial(self._generate, endpoint))
                for path, endpoint in ENDPOINTS.items()
            },
        }

    async def handle(self, request: Request, reply: Reply) -> None:
        """Answer one request."""
        route = self._routes.get((request.method, request.path))
        if route is not None:
            await route(request, reply)
            return
        known = any(path == request.path for _, path in self._routes)
        status, kind, message = (
            (405, "Method Not Allowed", "Method Not Allowed") if known else (404, "Not Found", "Not Found")
        )
        reply.whole(status, orjson.dumps(envelope(status, kind, message)))

    async def _health(self, request: Request, reply: Reply) -> None:
        reply.whole(200, b"")

    async def _print_metrics(self, request: Request, reply: Reply) -> None:
        text = self._metrics.text(self._settings.kv_cache_tokens)
        reply.whole(200, text.encode(), "text/plain; version=0.0.4; charset=utf-8")

    async def _models(self, request: Request, reply: Reply) -> None:
        reply.whole(200, orjson.dumps(models(self._limits.model, self._limits.context_tokens_max, self._created)))

    async def _report(self, request: Request, reply: Reply) -> None:
        reply.whole(200, orjson.dumps(self._ledger.report(request.query.get("request_id"))))

    async def _metered(
        self,
        name: str,
        answer: Callable[[Request, Reply, Entry, Fault | None], Awaitable[None]],
        request: Request,
        reply: Reply,
    ) -> None:
        """Run a call so that its entry ends exactly once, whatever happens."""
        entry = self._ledger.start(request.headers.get("x-request-id"), name)
        try:
            fault = self._fault(request, entry)
            if fault is not None:
                entry.fault = fault.name
                self._refuse(fault, reply)
            await answer(request, reply, entry, fault)
        except asyncio.CancelledError:
            entry.state, entry.finish_reason = "aborted", "abort"
            raise
        except CallError as error:
            entry.state, entry.status = "failed", error.status
            reply.whole(error.status, error.body, headers=error.headers)
        except BrokenOff:
            entry.state, entry.finish_reason = "failed", "error"
            reply.abort()
        else:
            entry.state = "finished"
        finally:
            if entry.finish_reason is not None:
                self._metrics.finished[entry.finish_reason] += 1

    def _fault(self, request: Request, entry: Entry) -> Fault | None:
        asked = request.headers.get("x-simulated-fault")
        if asked is None:
            return self._faults.draw(entry.sequence)
        try:
            return Fault.parse(asked)
        except ValueError as error:
            raise WrongField("x-simulated-fault", str(error)) from error

    def _refuse(self, fault: Fault, reply: Reply) -> None:
        """The faults that strike before the body is looked at."""
        if fault.name == "refuse":
            raise BrokenOff
        if fault.name in ("429", "500", "503"):
            status = int(fault.name)
            after = None if status == 500 else (RETRY_AFTER_S if fault.value is None else fault.value)
            raise CallError(status, "SimulatedError", f"simulated status {status}", retry_after_s=after)

    async def _generate(
        self, endpoint: Endpoint, request: Request, reply: Reply, entry: Entry, fault: Fault | None
    ) -> None:
        body = read_body(request.body, self._limits.model)
        call = endpoint.read(body, self._limits)
        entry.stream = call.stream
        digest = digest_of(self._settings.seed, request.body)
        head = Head(
            id=endpoint.id_prefix + request.headers.get("x-request-id", digest.hex()[:32]),
            created=int(time.time()),
            model=self._limits.model,
            fingerprint=self._fingerprint,
        )
        shape, answers = endpoint.shape(head, call), self._answers(call, digest)
        async with self._scheduler.place(entry, self._pace(digest)) as place:
            if fault is not None and fault.name == "stall-first":
                await place.stall(self._stall_s(fault))
            cached_tokens = sum(self._cache.match(prompt.text, prompt.tokens) for prompt in call.prompts)
            await place.prefill(call.prompt_tokens, cached_tokens)
            if call.stream:
                await self._stream(call, shape, answers, place, reply, entry, fault)
            else:
                await self._whole(shape, answers, place, reply, entry, fault)
        entry.finish_reason = answers[0].finish_reason

    def _answers(self, call: Call, digest: bytes) -> list[Answer]:
        return [
            write(
                hashlib.blake2b(digest, digest_size=32, salt=index.to_bytes(4, "big")).digest(),
                mean=self._settings.answer_tokens,
                tokens_max=call.tokens_max,
                tokens_min=call.tokens_min,
                ignore_end=call.ignore_end,
                stops=call.stops,
            )
            for index in range(len(call.prompts) * call.n)
        ]

    def _pace(self, digest: bytes) -> Pace:
        swing = digest[-1] / 127.5 - 1  # -1 to 1, the same for the same call
        first_ms = self._settings.ttft_ms * (1 + swing * self._settings.ttft_jitter)
        rate = self._settings.tokens_per_second
        return Pace(first_s=first_ms / 1000, between_s=1 / rate if rate else 0.0)

    def _stall_s(self, fault: Fault) -> float:
        return self._settings.stall_s if fault.value is None else fault.value

    async def _whole(
        self, shape: Shape, answers: list[Answer], place: Place, reply: Reply, entry: Entry, fault: Fault | None
    ) -> None:
        longest = max(len(answer.pieces) for answer in answers)
        # Token by token only with a pace: then those who leave early are charged for what was generated by then.
        step = 1 if self._settings.tokens_per_second else longest
        for done in range(0, longest, step):
            tokens = sum(max(0, min(len(answer.pieces) - done, step)) for answer in answers)
            await place.generate(tokens, steps=min(step, longest - done))
        data = orjson.dumps(shape.whole(answers, _usage(entry)))
        match fault:
            case Fault(name="die"):
                reply.promise(200, len(data), "application/json", None, data[: len(data) // 2])
                raise BrokenOff
            case Fault(name="wrong-json" | "malformed-sse"):
                reply.whole(200, NOT_JSON)
            case _:
                reply.whole(200, data)

    async def _stream(
        self,
        call: Call,
        shape: Shape,
        answers: list[Answer],
        place: Place,
        reply: Reply,
        entry: Entry,
        fault: Fault | None,
    ) -> None:
        die_after = (
            (DIE_AFTER_CHUNKS if fault.value is None else fault.value) if fault and fault.name == "die" else None
        )
        reply.start()
        if die_after == 0:
            raise BrokenOff
        for event in shape.opening():
            reply.event(shape.frame(event))
        for number, (index, begin) in enumerate(_turns(answers, self._settings.tokens_per_chunk), start=1):
            answer = answers[index]
            pieces = answer.pieces[begin : begin + self._settings.tokens_per_chunk]
            if number == 2 and fault is not None and fault.name == "stall-between":
                await place.stall(self._stall_s(fault))
            # Choices take turns; the clock moves on with the first of them.
            await place.generate(len(pieces), steps=len(pieces) if index == 0 else 0)
            total = begin + len(pieces)
            ended = answer if total == len(answer.pieces) else None
            frame = shape.frame(shape.piece(index, "".join(pieces), total, ended))
            reply.event(_spoil(frame, fault) if number == 2 else frame)
            if number == die_after:
                raise BrokenOff
            await reply.drain()
        if die_after is not None:
            raise BrokenOff
        for event in shape.closing(answers, _usage(entry)):
            reply.event(shape.frame(event))
        if shape.done:
            reply.event(shape.done)
        reply.end()

    async def _embed(self, request: Request, reply: Reply, entry: Entry, fault: Fault | None) -> None:
        body = read_body(request.body, self._limits.model)
        prompts = text_inputs(body, "input")
        as_base64 = body.get("encoding_format") == "base64"
        digest = digest_of(self._settings.seed, request.body)
        async with self._scheduler.place(entry, self._pace(digest)) as place:
            if fault is not None and fault.name.startswith("stall"):
                await place.stall(self._stall_s(fault))
            tokens = sum(prompt.tokens for prompt in prompts)
            await place.prefill(tokens, 0)
        head = Head("embd-" + entry.request_id, int(time.time()), self._limits.model, self._fingerprint)
        # From the text alone, so that equal texts have equal vectors in any batch.
        digests = [digest_of(self._settings.seed, prompt.text.encode()) for prompt in prompts]
        data = orjson.dumps(embeddings(head, digests, self._settings.embedding_dimensions, as_base64, tokens))
        entry.finish_reason = "stop"
        if fault is not None and fault.name == "die":
            reply.promise(200, len(data), "application/json", None, data[: len(data) // 2])
            raise BrokenOff
        reply.whole(200, NOT_JSON if fault is not None and "-" in fault.name and "stall" not in fault.name else data)


def _usage(entry: Entry) -> Usage:
    return Usage(entry.prompt_tokens, entry.completion_tokens, entry.cached_tokens)


def _turns(answers: list[Answer], step: int) -> Iterator[tuple[int, int]]:
    """(choice, first token) of each chunk: all choices side by side until the longest has ended."""
    longest = max(len(answer.pieces) for answer in answers)
    for begin, (index, answer) in itertools.product(range(0, longest, step), enumerate(answers)):
        if begin < len(answer.pieces):
            yield index, begin


def _spoil(frame: bytes, fault: Fault | None) -> bytes:
    match fault:
        case Fault(name="wrong-json"):
            return b"data: %b\n\n" % NOT_JSON
        case Fault(name="malformed-sse"):
            return frame.removeprefix(b"data: ").rstrip(b"\n")
        case _:
            return frame
