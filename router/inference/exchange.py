"""One attempt on one engine: from its open record to its close record, with the answer in between.

The order is what makes rows exact (DESIGN 2.4): the open record is written before the engine has a byte of the request,
the close record is on the disk before the client has the last byte of the answer.
"""

import asyncio
import math
import time
from collections.abc import Sequence
from datetime import timedelta
from functools import partial

import msgspec

from router.inference import charging
from router.inference.admission import ClientGone
from router.inference.auth import Caller
from router.inference.engine_set import HOSTED, SILENT_S, EngineState
from router.inference.idempotency import Claim
from router.inference.reservations.account import Hold
from router.inference.reservations.reservations import Reservations
from router.inference.responses import NO_RETRY, error_headers, header_lines, may_retry
from router.inference.retries import BUSY, NOT_IMPLEMENTED, OURS, RETRIABLE, lacks_model, retry_after_s
from router.inference.routing import Outcome
from router.inference.server import ClientCall
from router.inference.shapes import Call, Reading, Shape, Tap
from router.inference.shapes.engine_errors import status_in
from router.inference.shapes.tap import data_of, has_data, is_object
from router.inference.state import InferenceState
from router.inference.upstream import (
    AnswerHead,
    ClientTooSlow,
    EngineConnection,
    EngineHungUp,
    EngineUnreachable,
    Timeouts,
)
from router.inference.usage_sink import Attempt
from warehouse.access.catalogue import Model, Price
from warehouse.access.usage_rows import UsageEvent
from warehouse.base import tracing
from warehouse.base.clock import monotonic_us, now
from warehouse.base.errors import EngineFailed, EngineTimedOut, EngineUnavailable, InferhouseError, InvalidRequest, NotFound
from warehouse.base.money import usd
from warehouse.journal.journal import JournalFailed

ENGINE_ERROR_BYTES_MAX = 64 * 1024
RECORDED_S_MAX = 3.0  # for which an answer whose row the disk has refused waits for the database to have it
CLIENT_CLOSED_STATUS = 499  # nginx's number for a client that left; no standard has one
END_S_MAX = 1.0  # between the end marker of a stream and the end of the answer, which frees the connection for the next one
NOT_SERVED = frozenset({404, 405})
TOO_LONG = (b"context_length_exceeded", b"maximum context length")  # OpenAI's code, and the words of vLLM and SGLang
OUT_OF_CREDIT = b"insufficient_quota"  # the account behind the router's key, and not too many requests
RACED_US_MAX = 500_000  # for the word of a closed connection to come back from afar; who closes it later has read the request
KEEPALIVE = b": the answer is being made\n\n"


class EngineRefused(InferhouseError):
    """The engine answered with an error of its own, which another one, or the same one later, may not have."""

    status, code = 502, "engine_failed"

    def __init__(self, head: AnswerHead, body: bytes, *, is_hosted: bool = False, said: str | None = None) -> None:
        self.engine_status, self.body = head.status, body
        if is_hosted and head.status == 429 and OUT_OF_CREDIT in body:  # OpenAI's word for what is 402 elsewhere
            self.engine_status = 402
        self.is_ours = self.engine_status in OURS or lacks_model(self.engine_status, body)
        self.engine_retry_after_s = retry_after_s(head.get(b"retry-after"), now())
        wait_s = None if self.engine_retry_after_s is None else max(math.ceil(self.engine_retry_after_s), 1)
        super().__init__(said or f"the engine answered with status {head.status}", retry_after_s=wait_s)

    @property
    def is_word(self) -> bool:
        """It is for the client; a redirect, or an answer that must be empty, is no answer to a POST of ours."""
        return (400 <= self.engine_status < 500 and not self.is_ours) or self.engine_status == NOT_IMPLEMENTED

    @property
    def is_final(self) -> bool:
        """It is about the request, and no other attempt is answered differently."""
        return self.engine_status not in RETRIABLE and self.is_word and not self.is_too_long

    @property
    def counts_as(self) -> int:
        """The status by which it is judged: what is ours to mend comes by several, and so does what is no answer to anybody."""
        if self.is_ours:
            return 401
        return self.engine_status if self.engine_status in RETRIABLE or self.is_word else self.status

    @property
    def is_too_long(self) -> bool:
        """The prompt is more than the model's context: a model with more of it may answer."""
        return self.engine_status == 400 and any(sign in self.body for sign in TOO_LONG)

    def row(self) -> tuple[str, int, str]:
        """(status, HTTP status, error code) of the attempt: what the client is told of it if there is no other."""
        if self.engine_status == EngineUnavailable.status:
            return "engine_failed", EngineUnavailable.status, EngineUnavailable.code
        if self.is_word:
            return "refused", self.engine_status, f"engine_{self.engine_status}"
        return "engine_failed", self.status, f"engine_{self.engine_status}" if self.is_ours else self.code


class EndpointNotServed(NotFound):
    """The engine of this model does not have the endpoint, for example embeddings of a model that generates."""

    code = "endpoint_not_served"


def answer_error(client: ClientCall, shape: Shape, error: InferhouseError, request_id: str) -> None:
    """An error as the clients of this endpoint expect it."""
    if client.status:  # a stream that has only had comments so far
        client.end(shape.error_event(error, request_id))
        return
    lines = client.id_line + header_lines(error_headers(error)) + error.lines
    client.answer(error.status, shape.error_body(error, request_id), lines)


class Exchange(msgspec.Struct, eq=False):
    """One attempt. After `run` its row is closed, whether it returned or raised."""

    shared: InferenceState
    shape: Shape
    call: Call
    engine: EngineState
    connection: EngineConnection
    row: UsageEvent
    started_us: int
    model: Model
    prices: Sequence[Price]
    client: ClientCall
    caller: Caller
    claim: Claim | None
    hold: Hold | None
    timeouts: Timeouts
    waited_us: int
    """Of the time until now, what was not the router's own."""
    outcome: Outcome = "gone"
    """What it says of the engine."""
    answering: bool = False
    """The client has something of the engine's answer: no other engine can be asked any more."""
    client_gone: bool = False
    sent_us: int = 0
    attempt: Attempt | None = None

    async def run(self, request: bytes) -> None:
        """Send the request to the engine and its answer to the client.

        Raises: EngineHungUp, EngineFailed, EngineTimedOut, EngineRefused (only while not `answering`), ClientGone,
            JournalFull and JournalFailed.
        """
        attempt = self.attempt = self._begin()
        # What holds if nothing else gets to speak: the task was cancelled because the process is stopping.
        status, http_status, error_code = "router_lost", 500, "router_stopped"
        try:
            self.sent_us = monotonic_us()
            used_us = self.sent_us - self.started_us
            self.row.overhead_us = used_us - self.waited_us
            if self.call.stream:
                self.shared.keepalive.streams[self] = None
            try:
                self.connection.send(request, self.timeouts, used_us / 1e6)
                head = await self.connection.answer_head()
            except EngineHungUp:
                head = await self._ask_anew(request)
            if head.status != 200:
                await self._refused(head, await self._error_body())
            elif self.call.stream and (tap := self.shape.tap(self.call, is_strict=self._is_hosted)) is not None:
                await self._stream(head, tap)
            else:
                await self._whole(head)
        except (ClientGone, ClientTooSlow) as error:
            status, http_status = "client_closed", CLIENT_CLOSED_STATUS
            error_code = "client_too_slow" if isinstance(error, ClientTooSlow) else "client_closed"
            self.client.abort()  # who is too slow is still there
            if self._has_waited_in_vain():
                self.outcome = "failed"
            raise ClientGone from error
        except EngineRefused as error:
            self.outcome = "busy" if error.engine_status in BUSY else "ok" if error.is_too_long else "failed"
            status, http_status, error_code = error.row()
            raise
        except InferhouseError as error:
            # Once the row is closed the engine had done its part, and the disk of the journal has not.
            self.outcome = self.outcome if attempt.row else "failed"
            status = "timed_out" if isinstance(error, EngineTimedOut) else "engine_failed"
            http_status, error_code = error.status, error.code
            if not self.answering:
                raise
            self._close_row(status, http_status, error_code)
            await self._end_stream(self.shape.error_event(error, str(self.row.request_id)))
        finally:
            if self.call.stream:
                self.shared.keepalive.streams.pop(self, None)
                self.client.source = None
            self.connection.close()
            self._close_row(status, http_status, error_code)

    @property
    def _is_hosted(self) -> bool:
        return self.engine.engine.kind == HOSTED

    def _begin(self) -> Attempt:
        """The open record. Raises: JournalFull, JournalFailed."""
        sink = self.shared.sink
        try:
            return sink.begin(self.row) if self.row.queue_us is None else sink.open(self.row)
        except BaseException:
            self.connection.close()  # it has carried nothing, and counts among the engine's until it is given back
            raise

    def pulse(self) -> None:
        """Tell a client that has heard nothing for long that its answer is still being made."""
        if self.connection.has_spoken():
            return
        if self.client.status:
            self.client.write(KEEPALIVE)
        else:
            self.client.begin_stream(self._stream_headers(), KEEPALIVE)

    def leave(self) -> None:
        """The client is gone: the engine's work ends with ClientGone."""
        self.client_gone = True
        self.connection.fail(ClientGone())

    def _has_waited_in_vain(self) -> bool:
        """Whether the client had nothing for long, and nobody else had anything of this engine either, whose probes may be well.

        It would look free as soon as its clients have left, and so get ever more of them.
        """
        waited_s = (monotonic_us() - self.sent_us) / 1e6
        return not self.answering and waited_s >= SILENT_S and self.engine.is_silent(time.monotonic())

    async def _ask_anew(self, request: bytes) -> AnswerHead:
        """A kept-alive connection may be closed by the engine just as it is used: it has not seen the request.

        An engine that closes it later, or within its answer, has: that attempt has failed, and has its row.
        """
        connection = self.connection
        is_raced = connection.reused and connection.is_unanswered and monotonic_us() - self.sent_us < RACED_US_MAX
        if not is_raced or self.client_gone:
            raise EngineHungUp("the engine closed the connection before its answer")
        try:
            self.connection = await self.engine.pool.acquire(fresh=True)
        except EngineUnreachable as error:
            raise EngineHungUp("the engine closed the connection, and there is no other to it") from error
        if self.client_gone:
            raise ClientGone
        self.connection.send(request, self.timeouts, (monotonic_us() - self.started_us) / 1e6)
        return await self.connection.answer_head()

    async def _whole(self, head: AnswerHead) -> None:
        answered_us = monotonic_us()
        bytes_max = self.shared.settings.answer_bytes_max
        body = self.connection.whole(bytes_max) or await self._body(bytes_max)
        try:
            reading = self.shape.read(body, self.call)
        except EngineFailed as failure:
            await self._no_answer(head, body, failure)
            return
        self._read(reading, "engine")
        self.outcome = "ok"
        self._close_row("completed", 200)
        others_us = answered_us - self.sent_us + self.waited_us
        journal = self.shared.sink.journal
        if self.claim is None and not tracing.on():  # as nearly always: it goes out with the sync, without a turn of this task
            journal.when_durable(partial(self._answer, body, others_us))
            return
        await self._durable()
        if self.claim is not None:
            await self._settle_claim(self.claim, body)
        self._answer(body, others_us, None)

    def _answer(self, body: bytes, others_us: int, failure: JournalFailed | None) -> None:
        """The whole answer, once its row is on the disk. Args: others_us: of its time, what was not the router's own."""
        if failure is None:
            self.client.answer(200, body, self._headers() + self._account(monotonic_us() - self.started_us - others_us))
        else:
            self.shared.keep(asyncio.create_task(self._answer_once_recorded(body, others_us, failure), name="answer"))

    async def _answer_once_recorded(self, body: bytes, others_us: int, failure: JournalFailed) -> None:
        try:
            await self._recorded(failure)
        except JournalFailed as error:
            answer_error(self.client, self.shape, error, str(self.row.request_id))
        else:
            self._answer(body, others_us, None)

    async def _durable(self) -> None:
        """Wait until the row cannot be lost. Raises: JournalFailed."""
        try:
            await self.shared.sink.journal.durable()
        except JournalFailed as failure:
            await self._recorded(failure)

    async def _recorded(self, failure: JournalFailed) -> None:
        """The disk has refused a row that is charged: in the database it is as safe. Raises: JournalFailed: that is away, too."""
        try:
            async with asyncio.timeout(RECORDED_S_MAX):
                await self.shared.sink.recorded()
        except TimeoutError:
            raise failure from None

    async def _stream(self, head: AnswerHead, tap: Tap) -> None:
        if not head.is_stream:
            said = await self._error_body() if head.is_json else b""
            await self._no_answer(head, said, EngineFailed("the engine's answer is no stream of events"))
            return
        client = self.client

        def pass_on(data: bytes) -> None:
            events = tap.feed(data)
            if tap.done:
                self.connection.end_within(END_S_MAX)
            if not self.answering:
                self._begin_answer(tap, events)
            elif events:
                client.write(events)

        try:
            await self.connection.relay(pass_on, self.timeouts.between_tokens_s)
            tap.close()
            if tap.done and not self.answering:
                self._begin_answer(tap, b"")
        except (EngineFailed, EngineTimedOut):
            # Where it is done, all that the client and the bill need is there; and an error that was passed on is an end, too.
            if not tap.done and not (tap.engine_error and self.answering):
                raise
        finally:
            self._read(tap.reading, "engine" if tap.done else "running")
            if self.row.token_source == "none" and tap.pieces and not tap.done:  # cut, and its engine counts at the end only
                self.row.output_tokens, self.row.token_source = tap.pieces, "estimate"
            if tap.engine_error and self.answering:  # who leaves then leaves because of it
                self._close_on_error(tap)
        if not tap.engine_error:
            if not tap.done:
                raise EngineHungUp("the engine ended the stream before its end")
            self.outcome = "ok"
            self._close_row("completed", 200)
        await self._end_stream(bytes(tap.tail))

    def _begin_answer(self, tap: Tap, events: bytes) -> None:
        """Pass on what the answer begins with, its first event; an error in the place of an answer is none.

        Comments before it are dropped: the client has the router's own where it is due, and another engine can be asked.
        Raises: EngineRefused.
        """
        if tap.error_event and not has_data(events.partition(tap.error_event)[0]):
            refused = self._refusal_of(tap)
            if not refused.is_final:
                raise refused
        elif not tap.done and not has_data(events):
            self.connection.note_unheard()
            return
        client = self.client
        self.answering = True
        self.row.ttft_us = monotonic_us() - self.started_us
        self.shared.dispatcher.answered(self.engine)
        client.source = self.connection
        if client.write_chunk is not None:
            self.connection.take_chunk = tap.tokens_to(client.write_chunk)
        if not client.status:
            client.begin_stream(self._stream_headers(), events)
        elif events:
            client.write(events)

    def _refusal_of(self, tap: Tap) -> EngineRefused:
        """An error inside the stream, as if the engine had answered with the status that it speaks of, or else with 500."""
        head, said = AnswerHead(tap.error_status or 500), "the engine's stream began with an error"
        return EngineRefused(head, data_of(tap.error_event) or b"", is_hosted=self._is_hosted, said=said)

    def _close_on_error(self, tap: Tap) -> None:
        """An error inside the stream. vLLM looks at some parameters, such as a grammar, only when its stream has begun: then the
        error is about the request, and a failure of the engine would keep others from it."""
        refused = self._refusal_of(tap)
        if tap.error_status is not None and (refused.is_final or refused.is_too_long):
            self.outcome = "ok"
            self._close_row("refused", 200, f"engine_{tap.error_status}")
        else:
            self.outcome = "failed"
            self._close_row("engine_failed", 200, "engine_error_event")

    async def _end_stream(self, last: bytes) -> None:
        await self._durable()
        if self.claim is not None:
            await self._settle_claim(self.claim, None)
        self.client.end(last)

    async def _settle_claim(self, claim: Claim, answer: bytes | None) -> None:
        """The idempotency key is used up, or free, before the client has all: it may send the request again at once."""
        if self.row.charge_class == "charged":
            await self.shared.idempotency.finish(claim, model_id=self.row.model_id, answer=answer)
        else:
            await self.shared.idempotency.release(claim)

    async def _no_answer(self, head: AnswerHead, body: bytes, failure: EngineFailed) -> None:
        """The status is good, and what came with it is none: an error, of which some providers say the status in the body only.

        Raises: EngineRefused, or the failure where it is no such error.
        """
        status = status_in(body)
        if status is None:
            raise failure
        await self._refused(AnswerHead(status, head.headers), body)

    async def _refused(self, head: AnswerHead, body: bytes) -> None:
        """Pass on what is the client's to mend. Raises: EngineRefused: what another attempt may mend."""
        refused = EngineRefused(head, body, is_hosted=self._is_hosted)
        if not refused.is_final:
            raise refused
        self.outcome = "ok"
        if head.status in NOT_SERVED and b'"error"' not in body:  # no word of an API, but of the framework behind it
            unknown = EndpointNotServed(
                f"{self.model.name!r} has no {self.shape.path}: its engine does not answer it", param="model"
            )
            body = self.shape.error_body(unknown, str(self.row.request_id))
        self._close_row("refused", head.status, f"engine_{head.status}")
        await self.shared.sink.journal.durable()
        if self.claim is not None:
            await self._settle_claim(self.claim, None)
        self.pass_on_refusal(head.status, body, head.get(b"retry-after"))

    def pass_on_refusal(self, status: int, body: bytes, retry_after: bytes | None) -> None:
        """The engine's own error, as it is, where it is one that an SDK can read."""
        if not is_object(body):  # of a proxy in front of the engine, mostly
            said = InvalidRequest(f"the engine refused the request with status {status}, and said nothing that can be passed on")
            body = self.shape.error_body(said, str(self.row.request_id))
        if self.client.status:  # a stream that has only had comments so far
            self.client.end(self.shape.error_event_of(body))
            return
        headers = self._headers()
        if not may_retry(status, retry_after_s(retry_after, now())):
            headers += header_lines([NO_RETRY])
        if retry_after is not None:
            headers += header_lines([(b"retry-after", retry_after)])
        self.client.answer(status, body, headers)

    async def _body(self, bytes_max: int) -> bytes:
        parts, size = [], 0
        while data := await self.connection.read(self.timeouts.first_token_s):
            parts.append(data)
            size += len(data)
            if size > bytes_max:
                raise EngineFailed(f"the engine's answer is larger than {bytes_max} bytes")
        return parts[0] if len(parts) == 1 else b"".join(parts)

    async def _error_body(self) -> bytes:
        """What the engine says of a failure, or the beginning of it: some repeat the whole prompt, and are well all the same."""
        body = b""
        while len(body) <= ENGINE_ERROR_BYTES_MAX and (data := await self.connection.read(self.timeouts.first_token_s)):
            body += data
        return body[:ENGINE_ERROR_BYTES_MAX]

    def _headers(self) -> bytes:
        """Which request this is, which model answers it, at the how-manieth attempt, and what its limits have left."""
        return b"%bx-inferhouse-model: %b\r\nx-inferhouse-attempts: %d\r\n%b" % (
            self.client.id_line, self.model.name.encode(), self.row.attempt, Reservations.headers(self.hold)
        )  # fmt: skip

    def _stream_headers(self) -> bytes:
        """The same, and what the router took until the engine had the request; the cost is known when it is too late for it."""
        overhead_us = self.row.overhead_us or 0
        return b"%bx-inferhouse-overhead-ms: %d.%03d\r\n" % (self._headers(), overhead_us // 1000, overhead_us % 1000)

    def _account(self, overhead_us: int) -> bytes:
        """What the answer cost, where it has a price, and how long the router itself took, the sync of the row included."""
        cost = b"" if self.row.cost_picousd is None else b"x-inferhouse-cost-usd: %b\r\n" % usd(self.row.cost_picousd).encode()
        return b"%bx-inferhouse-overhead-ms: %d.%03d\r\n" % (cost, overhead_us // 1000, overhead_us % 1000)

    def _read(self, reading: Reading, source: str) -> None:
        """Put the engine's counts into the row."""
        row = self.row
        row.finish_reason = reading.finish_reason
        usage = reading.usage
        if usage is not None:
            row.token_source = "estimate" if reading.estimated else source
            row.input_tokens, row.output_tokens = usage.prompt_tokens, usage.completion_tokens
            row.cached_input_tokens, row.reasoning_tokens = usage.cached_tokens, usage.reasoning_tokens

    def _close_row(self, status: str, http_status: int, error_code: str | None = None) -> None:
        """Close the row; the first call says how it ended, later ones do nothing."""
        attempt = self.attempt
        if attempt is None or attempt.row:
            return
        row = self.row
        row.status, row.http_status, row.error_code = status, http_status, error_code
        row.duration_us = monotonic_us() - self.started_us
        row.finished_at = row.started_at + timedelta(0, 0, row.duration_us)
        charging.apply(row, self.prices)
        self.shared.reservations.settle_row(self.hold, self.caller, row)
        self.shared.sink.close(attempt)
        self.shared.count(row)
