"""One attempt on one engine: from its open record to its close record, with the answer in between.

The order is what makes rows exact (DESIGN 2.4): the open record is written before the engine has a byte of the request,
the close record is on the disk before the client has the last byte of the answer.
"""

from dataclasses import dataclass, field
from datetime import timedelta

from router.inference import charging
from router.inference.admission import ChatCall, ClientGone
from router.inference.engine_set import EngineState
from router.inference.metering import Reading, StreamTap, read_answer
from router.inference.responses import STREAM_HEADERS, Header, Send, error_event, send_json
from router.inference.state import InferenceState
from router.inference.upstream import AnswerHead, EngineConnection, EngineFull, EngineHungUp, EngineUnreachable
from router.inference.usage_sink import Attempt
from warehouse.access.catalogue import Price
from warehouse.access.usage_events import UsageEvent
from warehouse.base.clock import monotonic_us
from warehouse.base.errors import EngineFailed, EngineTimedOut, EngineUnavailable, InferhouseError

ENGINE_ERROR_BYTES_MAX = 64 * 1024
CLIENT_CLOSED_STATUS = 499  # nginx's number for a client that left; no standard has one
BUSY_RETRY_AFTER_S = 1


@dataclass(slots=True)
class Exchange:
    """One attempt. After `run` its row is closed, whether it returned or raised."""

    shared: InferenceState
    engine: EngineState
    connection: EngineConnection
    row: UsageEvent
    started_us: int
    price: Price | None
    send: Send
    answering: bool = False
    """The client has the status line: no other engine can be asked any more."""
    client_gone: bool = False
    attempt: Attempt = field(init=False)

    async def run(self, request: bytes, call: ChatCall) -> None:
        """Send the request to the engine and its answer to the client.

        Raises: EngineHungUp, EngineFailed, EngineTimedOut, EngineUnavailable (only while not `answering`), ClientGone,
            JournalFull and JournalFailed.
        """
        self.attempt = self.shared.sink.open(self.row)
        self.engine.pool.in_flight += 1
        # What holds if nothing else gets to speak: the task was cancelled because the process is stopping.
        status, http_status, error_code = "router_lost", 500, "router_stopped"
        try:
            head = await self._ask(request)
            if head.status != 200:
                await self._pass_error_on(head)
            elif call.stream:
                await self._stream(call)
            else:
                await self._whole()
        except ClientGone:
            status, http_status, error_code = "client_closed", CLIENT_CLOSED_STATUS, "client_closed"
            raise
        except InferhouseError as error:
            status = "timed_out" if isinstance(error, EngineTimedOut) else "engine_failed"
            http_status, error_code = error.status, error.code
            if not self.answering:
                raise
            self._close_row(status, http_status, error_code)
            await self._send_last(error_event(error, str(self.row.request_id)))
        finally:
            self.engine.pool.in_flight -= 1
            self.connection.close()
            self._close_row(status, http_status, error_code)

    def leave(self) -> None:
        """The client is gone: the engine's work ends with ClientGone."""
        self.client_gone = True
        self.connection.fail(ClientGone())

    async def _ask(self, request: bytes) -> AnswerHead:
        timeouts = self.engine.pool.timeouts
        self.row.overhead_us = monotonic_us() - self.started_us  # our own time before the engine has the request
        try:
            self.connection.send(request, timeouts)
            return await self.connection.answer_head()
        except EngineHungUp:
            # A kept-alive connection may be closed by the engine just as it is used: it has not seen the request.
            if not self.connection.reused or self.client_gone:
                raise
        try:
            self.connection = await self.engine.pool.acquire(fresh=True)
        except (EngineFull, EngineUnreachable) as error:
            raise EngineHungUp("the engine closed the connection, and there is no other to it") from error
        if self.client_gone:
            raise ClientGone
        self.connection.send(request, timeouts)
        return await self.connection.answer_head()

    async def _whole(self) -> None:
        body = await self._body(self.shared.settings.answer_bytes_max)
        reading = read_answer(body)
        self._read(reading, "engine")
        self._close_row("completed", 200)
        await self.shared.sink.journal.durable()
        await send_json(self.send, 200, body, self._headers())

    async def _stream(self, call: ChatCall) -> None:
        tap = StreamTap(wants_usage=call.wants_usage, wants_running_usage=call.wants_running_usage)
        between_s = self.engine.pool.timeouts.between_tokens_s
        try:
            while data := await self.connection.read(between_s):
                events = tap.feed(data)
                if not self.answering:
                    await self._start_stream()
                if events:
                    await self.send({"type": "http.response.body", "body": events, "more_body": True})
        finally:
            self._read(tap.reading, "engine" if tap.done else "running")
        if not tap.done:
            raise EngineHungUp("the engine ended the stream before its end")
        if tap.engine_error:
            self._close_row("engine_failed", 200, "engine_error_event")
        else:
            self._close_row("completed", 200)
        await self._send_last(tap.tail)

    async def _start_stream(self) -> None:
        self.answering = True
        self.row.ttft_us = monotonic_us() - self.started_us
        headers = [*STREAM_HEADERS, *self._headers()]
        await self.send({"type": "http.response.start", "status": 200, "headers": headers})

    async def _send_last(self, body: bytes) -> None:
        await self.shared.sink.journal.durable()
        await self.send({"type": "http.response.body", "body": body})

    async def _pass_error_on(self, head: AnswerHead) -> None:
        """A 4xx is the client's to mend and goes on as it is; a 5xx is ours to explain."""
        body = await self._body(ENGINE_ERROR_BYTES_MAX)
        retry_after = head.get(b"retry-after")
        if head.status == 503:
            wait_s = int(retry_after) if retry_after and retry_after.isdigit() else BUSY_RETRY_AFTER_S
            raise EngineUnavailable("the engine is not taking requests now", retry_after_s=wait_s)
        if not 400 <= head.status < 500:
            raise EngineFailed(f"the engine answered with status {head.status}")
        self._close_row("refused", head.status, f"engine_{head.status}")
        await self.shared.sink.journal.durable()
        headers = self._headers() if retry_after is None else [*self._headers(), (b"retry-after", retry_after)]
        await send_json(self.send, head.status, body, headers)

    async def _body(self, bytes_max: int) -> bytes:
        parts, size = [], 0
        while data := await self.connection.read(self.engine.pool.timeouts.first_token_s):
            parts.append(data)
            size += len(data)
            if size > bytes_max:
                raise EngineFailed(f"the engine's answer is larger than {bytes_max} bytes")
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def _headers(self) -> list[Header]:
        return [(b"x-request-id", str(self.row.request_id).encode())]

    def _read(self, reading: Reading, source: str) -> None:
        """Put the engine's counts into the row."""
        self.row.finish_reason = reading.finish_reason
        usage = reading.usage
        if usage is not None:
            self.row.token_source = source
            self.row.input_tokens, self.row.output_tokens = usage.prompt_tokens, usage.completion_tokens
            self.row.cached_input_tokens, self.row.reasoning_tokens = usage.cached_tokens, usage.reasoning_tokens

    def _close_row(self, status: str, http_status: int, error_code: str | None = None) -> None:
        """Close the row; the first call says how it ended, later ones do nothing."""
        if self.attempt.closed:
            return
        row = self.row
        row.status, row.http_status, row.error_code = status, http_status, error_code
        row.duration_us = monotonic_us() - self.started_us
        row.finished_at = row.started_at + timedelta(microseconds=row.duration_us)
        charging.apply(row, self.price)
        self.shared.sink.close(self.attempt)
        self.shared.count(row)
