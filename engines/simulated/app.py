"""Routes of the simulated engine, and the life of a call: read, wait for a place, generate, end in exactly one way."""

import asyncio
import hashlib
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus

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
from engines.simulated.delivery import Delivery, send_whole
from engines.simulated.errors import BrokenOff, CallError, UnsupportedMediaType, WrongField
from engines.simulated.faults import Fault, FaultDraw
from engines.simulated.ledger import EndState, Entry, Ledger
from engines.simulated.messages import MessagesShape, count_tokens_call, messages_call
from engines.simulated.metrics import Metrics
from engines.simulated.responses import ResponsesShape
from engines.simulated.scheduler import Pace, Scheduler
from engines.simulated.scoring import (
    Pair,
    pairs_tokens,
    rerank_answer,
    rerank_pairs,
    score_answer,
    score_pairs,
    text_of,
    token_ids,
)
from engines.simulated.server import Reply, Request
from engines.simulated.settings import SimulatedSettings
from engines.simulated.shapes import ChatShape, CompletionShape, Head, Shape, embeddings, models
from engines.simulated.tokens import Answer, PrefixCache, digest_of, write

RETRY_AFTER_S = 1.0


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
    "/v1/messages": Endpoint("messages", "msg_", messages_call, MessagesShape),
}


class SimulatedEngine:
    """One engine: its model, its books and its routes."""

    def __init__(self, settings: SimulatedSettings) -> None:
        self._settings = settings
        self._created = int(time.time())
        self._fingerprint = f"simulated-{hashlib.blake2b(settings.model_dump_json().encode(), digest_size=4).hexdigest()}"
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
            ("POST", "/tokenize"): partial(self._metered, "tokenize", self._tokenize),
            ("POST", "/detokenize"): partial(self._metered, "detokenize", self._detokenize),
            ("POST", "/v1/messages/count_tokens"): partial(self._metered, "tokenize", self._count_tokens),
            **{
                ("POST", path): partial(self._metered, "rerank", self._rerank) for path in ("/rerank", "/v1/rerank", "/v2/rerank")
            },
            **{("POST", path): partial(self._metered, "score", self._score) for path in ("/score", "/v1/score")},
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
        status = HTTPStatus.METHOD_NOT_ALLOWED if known else HTTPStatus.NOT_FOUND
        reply.whole(status.value, orjson.dumps({"detail": status.phrase}))

    async def _health(self, _: Request, reply: Reply) -> None:
        reply.whole(200, b"")

    async def _print_metrics(self, _: Request, reply: Reply) -> None:
        text = self._metrics.text(self._settings.kv_cache_tokens)
        reply.whole(200, text.encode(), "text/plain; version=0.0.4; charset=utf-8")

    async def _models(self, _: Request, reply: Reply) -> None:
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
        state: EndState = "failed"
        try:
            fault = self._fault(request, entry)
            if fault is not None:
                entry.fault = fault.name
                self._refuse(fault)
            if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
                raise UnsupportedMediaType
            await answer(request, reply, entry, fault)
            state = "finished"
        except asyncio.CancelledError:
            state, entry.finish_reason = "aborted", "abort"
            raise
        except CallError as error:
            entry.status = error.status
            reply.whole(error.status, error.body, headers=error.headers)
        except BrokenOff:
            entry.finish_reason = "error"
            reply.abort()
        finally:
            self._ledger.end(entry, state)
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

    def _refuse(self, fault: Fault) -> None:
        """The faults that strike before the body is looked at."""
        if fault.name == "refuse":
            raise BrokenOff
        if fault.name in ("429", "500", "503"):
            status = int(fault.name)
            after = None if status == 500 else fault.seconds(RETRY_AFTER_S)
            raise CallError(status, "SimulatedError", f"simulated status {status}", retry_after_s=after)

    async def _generate(self, endpoint: Endpoint, request: Request, reply: Reply, entry: Entry, fault: Fault | None) -> None:
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
        answers = self._answers(call, digest)
        delivery = Delivery(endpoint.shape(head, call), answers, entry, reply, fault, self._settings.stall_s)
        async with self._scheduler.place(entry, self._pace(digest)) as place:
            if fault is not None and fault.name == "stall-first":
                await place.stall(fault.seconds(self._settings.stall_s))
            found = [self._cache.match(prompt.text, prompt.tokens) for prompt in call.prompts]
            cached_tokens, entry.created_cache_tokens = (sum(column) for column in zip(*found, strict=True))
            await place.prefill(call.prompt_tokens, cached_tokens)
            if call.stream:
                await delivery.stream(place, tokens_per_chunk=self._settings.tokens_per_chunk)
            else:
                # Token by token only at a pace: then whoever leaves early has had what was generated by then.
                await delivery.whole(place, tokens_per_step=1 if self._settings.tokens_per_second else None)
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

    async def _embed(self, request: Request, reply: Reply, entry: Entry, fault: Fault | None) -> None:
        body = read_body(request.body, self._limits.model)
        prompts = text_inputs(body, "input")
        as_base64 = body.get("encoding_format") == "base64"
        tokens = sum(prompt.tokens for prompt in prompts)
        await self._pool(tokens, request, entry, fault)
        head = self._pooled_head("embd-", entry)
        # From the text alone, so that equal texts have equal vectors in any batch.
        digests = [digest_of(self._settings.seed, prompt.text.encode()) for prompt in prompts]
        data = orjson.dumps(embeddings(head, digests, self._settings.embedding_dimensions, as_base64, tokens))
        send_whole(reply, data, fault)
        entry.finish_reason = "stop"

    async def _rerank(self, request: Request, reply: Reply, entry: Entry, fault: Fault | None) -> None:
        body = read_body(request.body, self._limits.model)
        top_n = body.get("top_n", 0)
        if type(top_n) is not int or top_n < 0:
            raise WrongField("top_n", "Input should be a valid integer")
        pairs = rerank_pairs(body)
        head = await self._scored(pairs, "rerank-", request, entry, fault)
        send_whole(reply, orjson.dumps(rerank_answer(head, pairs, self._settings.seed, top_n)), fault)
        entry.finish_reason = "stop"

    async def _score(self, request: Request, reply: Reply, entry: Entry, fault: Fault | None) -> None:
        pairs = score_pairs(read_body(request.body, self._limits.model))
        head = await self._scored(pairs, "score-", request, entry, fault)
        send_whole(reply, orjson.dumps(score_answer(head, pairs, self._settings.seed)), fault)
        entry.finish_reason = "stop"

    async def _scored(self, pairs: Sequence[Pair], id_prefix: str, request: Request, entry: Entry, fault: Fault | None) -> Head:
        await self._pool(pairs_tokens(pairs), request, entry, fault)
        return self._pooled_head(id_prefix, entry)

    async def _pool(self, tokens: int, request: Request, entry: Entry, fault: Fault | None) -> None:
        """The work of a call that has no output."""
        async with self._scheduler.place(entry, self._pace(digest_of(self._settings.seed, request.body))) as place:
            if fault is not None and fault.name.startswith("stall"):
                await place.stall(fault.seconds(self._settings.stall_s))
            await place.prefill(tokens, 0)

    def _pooled_head(self, id_prefix: str, entry: Entry) -> Head:
        return Head(id_prefix + entry.request_id, int(time.time()), self._limits.model, self._fingerprint)

    async def _tokenize(self, request: Request, reply: Reply, entry: Entry, fault: Fault | None) -> None:
        body = read_body(request.body, self._limits.model)
        ids = token_ids(body, self._limits)
        await self._stalled(fault)
        entry.counted_tokens = len(ids)
        texts = [text_of({"tokens": [token]})[0] for token in ids] if body.get("return_token_strs") else None
        told = {"count": len(ids), "max_model_len": self._limits.context_tokens_max, "tokens": ids, "token_strs": texts}
        send_whole(reply, orjson.dumps(told), fault)

    async def _detokenize(self, request: Request, reply: Reply, entry: Entry, fault: Fault | None) -> None:
        text, entry.counted_tokens = text_of(read_body(request.body, self._limits.model))
        await self._stalled(fault)
        send_whole(reply, orjson.dumps({"prompt": text}), fault)

    async def _count_tokens(self, request: Request, reply: Reply, entry: Entry, fault: Fault | None) -> None:
        call = count_tokens_call(read_body(request.body, self._limits.model), self._limits)
        await self._stalled(fault)
        tokens = entry.counted_tokens = call.prompt_tokens
        told = {"input_tokens": tokens, "context_management": {"original_input_tokens": tokens}}
        send_whole(reply, orjson.dumps(told), fault)

    async def _stalled(self, fault: Fault | None) -> None:
        """Counting needs no place among the sequences."""
        if fault is not None and fault.name.startswith("stall"):
            await asyncio.sleep(fault.seconds(self._settings.stall_s))
