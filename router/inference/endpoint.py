"""One metered endpoint: admission, one or more exchanges with engines, and a row for what was refused before any."""

import asyncio
import contextlib
import logging
from collections.abc import Iterator
from datetime import timedelta

from router.inference.admission import MODEL_CHARACTERS_MAX, ClientGone, plain, tags_of_header
from router.inference.affinity import PREFIX_BYTES_MAX
from router.inference.auth import bearer
from router.inference.canary import Took
from router.inference.caps import check_caps, own_cap
from router.inference.encodings import plain_body
from router.inference.engine_set import HOSTED, EngineState
from router.inference.exchange import CLIENT_CLOSED_STATUS, EngineRefused, Exchange, answer_error
from router.inference.idempotency import Claim, Replay
from router.inference.queueing import QueueFull, QueueTimedOut
from router.inference.request import Request
from router.inference.reservations.estimate import TOKEN_BYTES, bounds, growth, most_output, tokens_with_media
from router.inference.responses import header_lines
from router.inference.retries import ATTEMPTS_MAX
from router.inference.routing import RETRY_AFTER_S, Plan
from router.inference.server import ClientCall
from router.inference.shapes import Shape
from router.inference.state import InferenceState
from router.inference.upstream import EngineConnection, EngineHungUp, EngineUnreachable, post_bytes
from warehouse.access.catalogue import Model
from warehouse.access.usage_rows import UsageEvent
from warehouse.base import requests, tracing
from warehouse.base.clock import monotonic_us, now
from warehouse.base.errors import EngineFailed, EngineTimedOut, EngineUnavailable, InferhouseError
from warehouse.base.ids import text_of
from warehouse.journal import JournalFailed, JournalFull

_LOG = logging.getLogger(__name__)
_PROMPTS = (b'"messages"', b'"prompt"', b'"input"')
_NO_ENGINE = EngineUnavailable, QueueFull, QueueTimedOut
_ID = b"{id}"
_FAULT = "a fault of the router, which is in its log under this request id"


class MeteredEndpoint:
    """The endpoint of one inference path."""

    def __init__(self, shared: InferenceState, shape: Shape) -> None:
        self._shared, self._shape, self._path = shared, shape, shape.path.encode()
        self._id_line = header_lines((name, _ID) for name in shape.id_headers)
        self.body_bytes_max = shared.settings.body_bytes_max
        self.serve = self._traced if tracing.on() else self._answer
        """Answers one request. Raises nothing that a client has caused."""

    async def _traced(self, client: ClientCall) -> None:
        """One span for a request; the engine's own spans, where it makes some, become its children."""
        traceparent = client.headers.get(b"traceparent", b"").decode("latin-1") or None
        with tracing.span(f"POST {self._shape.path}", traceparent=traceparent) as span:
            if span.traceparent is not None:
                client.headers = {**client.headers, b"traceparent": span.traceparent.encode()}
            try:
                await self._answer(client)
            finally:
                span.set("http.response.status_code", client.status)
                span.set("inferhouse.request_id", str(requests.current()))

    async def _answer(self, client: ClientCall) -> None:
        id_, started_at, started_us = requests.begin(), now(), monotonic_us()
        client.id_line = self._id_line.replace(_ID, text_of(id_))
        try:
            authorization = client.headers.get(b"authorization") or bearer(client.headers.get(b"x-api-key"))
            keys = self._shared.keys
            caller = keys.known(authorization)
            if caller is None:
                with self._shared.sink.expecting(id_, started_at):
                    caller = await keys.caller(authorization, client.address_scope())
        except InferhouseError as error:
            self._shared.refused[error.code] += 1  # whose row it would be is not known
            answer_error(client, self._shape, error, str(id_))
            return
        life = self._shared.reservations.number_of(caller.org_id)
        request = Request(self._shape.endpoint, client, caller, life, id_, started_at, started_us)
        client.on_gone = request.leave
        try:
            body = self._admit(request)
            idempotency_key = client.headers.get(b"idempotency-key")
            if idempotency_key is None or not await self._is_replayed(request, idempotency_key, body):
                await self._ask_engines(request, body)
        except ClientGone:
            if not request.attempts:
                await self._record_departure(request)
        except InferhouseError as error:
            if not request.attempts:
                error = await self._record_refusal(request, error)
            await self._settle_claim(request)  # who is told may send the request again at once
            answer_error(client, self._shape, error, str(id_))
        except asyncio.CancelledError:
            if not request.attempts:
                self._record_stop(request)
            raise
        except Exception:  # noqa: BLE001 - the edge of the process
            _LOG.exception("a request of the inference API failed")
            answer_error(client, self._shape, InferhouseError(_FAULT), str(id_))
        finally:
            if request.hold is not None or request.claim is not None:
                await self._let_go(request)

    def _admit(self, request: Request) -> bytes:
        """The body as plain JSON, read into `request.call`. Raises: InferhouseError: what is wrong with it.  ClientGone."""
        client = request.client
        if client.disconnected:
            raise ClientGone
        if client.refusal is not None:
            raise client.refusal
        body, encoding = client.body, client.headers.get(b"content-encoding")
        if encoding is not None:
            body = plain_body(body, encoding, self.body_bytes_max)
        request.call = self._shape.parse(body)
        request.tags = request.call.tags
        header = client.headers.get(b"x-inferhouse-tags")
        if header is not None:
            request.tags = tags_of_header(header, request.tags)
        if request.caller.is_capped:
            check_caps(request.call, self._shape, request.caller)
        return body

    async def _ask_engines(self, request: Request, body: bytes) -> None:
        """One engine after another, until one has begun to answer. Raises: what the last one did, or EngineUnavailable."""
        shared, call = self._shared, request.call
        assert call is not None
        prefix = _beginning(body) if len(shared.engines.states) > 1 else b""
        plan = shared.dispatcher.plan(call.model, request.caller, call.session, prefix)
        tokens = tokens_with_media(body, call.media) if call.media else len(body) // TOKEN_BYTES
        refusal: InferhouseError | None = None
        while True:
            try:
                model = plan.model
                await self._reserve(request, model, body)
                engine = shared.dispatcher.pick(plan, request.tried)
                connection = engine.pool.kept() if engine is not None else None
                if engine is None or connection is None:
                    engine, connection = await self._connect(request, plan, tokens, engine)
                else:
                    shared.dispatcher.started(engine, tokens)
                if plan.model is not model:
                    model = plan.model
                    if not await self._holds_for(request, plan, engine, connection, tokens=tokens, body=body):
                        continue
                if request.client_gone:  # while the engine was connected to, or what is kept was looked for
                    self._give_back(engine, connection, tokens)
                    raise ClientGone
            except InferhouseError as error:
                if not isinstance(refusal, EngineRefused) or (refusal.is_too_long and isinstance(error, _NO_ENGINE)):
                    raise  # what only the model that stood in is too small for is not too long
                break  # what the engine has said tells the client more than why there is no other attempt
            exchange = self._exchange(request, engine, connection, model)
            message = self._message(request, engine, body)
            refusal = None
            try:
                await exchange.run(message)
            except InferhouseError as error:
                refusal = error
            finally:
                self._ended(request, plan, exchange, tokens, refusal)
            if refusal is None:
                return
            if not await self._may_retry(request, plan, refusal):
                break
        await self._give_up(request, exchange, refusal)

    def _ended(self, request: Request, plan: Plan, exchange: Exchange, tokens: int, refusal: InferhouseError | None) -> None:
        """What an attempt says of its engine, and leaves for the next one."""
        engine = exchange.engine
        request.exchange = None
        request.charged |= exchange.row.charge_class == "charged"
        request.tried.add(engine.id)
        pause_s = refusal.engine_retry_after_s if isinstance(refusal, EngineRefused) else None
        took = None if engine.trial is None else Took.of(exchange.row, exchange.sent_us - request.started_us)
        self._shared.dispatcher.ended(engine, tokens, outcome=exchange.outcome, took=took, retry_after_s=pause_s, plan=plan)
        if refusal is not None:
            request.waited_us += monotonic_us() - (exchange.sent_us or monotonic_us())

    async def _holds_for(
        self, request: Request, plan: Plan, engine: EngineState, connection: EngineConnection, *, tokens: int, body: bytes
    ) -> bool:
        """Hold for the plan's present model, whose engine was found before. False: it was changed while a budget was waited for.

        Raises: as `_reserve`. Then, and where it was changed, the engine is not asked.
        """
        serves = False
        try:
            await self._reserve(request, plan.model, body)
            serves = _serves(engine, plan)
        finally:
            if not serves:
                self._give_back(engine, connection, tokens)
        return serves

    def _give_back(self, engine: EngineState, connection: EngineConnection, tokens: int) -> None:
        """An engine that is not asked after all."""
        connection.close()
        self._shared.dispatcher.ended(engine, tokens, outcome="gone")

    def _exchange(self, request: Request, engine: EngineState, connection: EngineConnection, model: Model) -> Exchange:
        """The next attempt."""
        shared, call = self._shared, request.call
        assert call is not None
        request.attempts += 1
        row = request.row()
        row.model_id, row.engine_id = model.id, engine.id
        row.model_asked = None if model.name == call.model else plain(call.model, MODEL_CHARACTERS_MAX)
        request.exchange = Exchange(
            shared, self._shape, call, engine, connection, row, request.started_us, model, request.prices, request.client,
            request.caller, request.claim, request.hold, engine.pool.timeouts, request.waited_us,
        )  # fmt: skip
        return request.exchange

    async def _reserve(self, request: Request, model: Model, body: bytes) -> None:
        """Price the request and hold the most that it can use of this model. Raises: as `Reservations.reserve`, ClientGone."""
        call, shared, hold, org_id = request.call, self._shared, request.hold, request.caller.org_id
        assert call is not None
        # Once for each model: a version that is made while an attempt fails may be dearer than what is held.
        if request.priced_model_id != model.id:
            request.priced_model_id = model.id
            request.prices = shared.catalogue.prices_for(model.id, org_id, request.started_at, request.endpoint, request.tags)
        if hold is not None and hold.model_id == model.id and not hold.settled:
            return
        if call.output_tokens_max is None:
            request.output_tokens_max = own_cap(call, request.caller, len(body), model)
        if hold is None and shared.reservations.is_free(org_id):
            return
        if hold is not None:
            shared.reservations.move(hold)
            request.hold = None
        body_bytes = len(body)
        if not body.isascii() and (call.unread or body_bytes < model.context_tokens_max * call.prompts):
            body_bytes += growth(body)
        cap = request.output_tokens_max if call.output_tokens_max is None else call.output_tokens_max
        most = bounds(call, body_bytes, model, request.prices, cap)
        if cap is None and most.input_tokens + model.output_tokens_max <= model.context_tokens_max:
            cap = model.output_tokens_max
            most = bounds(call, body_bytes, model, request.prices, cap)
        if hold is None:
            request.hold = shared.reservations.at_once(request.caller, model.id, request.started_at, most)
        if request.hold is None:
            with self._waiting(request, is_own=True):
                request.hold = await shared.reservations.reserve(
                    request.caller, model.id, request.started_at, most, moved=hold, left_s=self._left_s(request)
                )
        # Without a rule that counts on it, what the client did not ask for is the engine's to decide.
        if request.hold is not None and call.output_tokens_max is None:
            request.output_tokens_max = cap

    @contextlib.contextmanager
    def _waiting(self, request: Request, *, is_own: bool = False) -> Iterator[None]:
        """As `Request.waiting`; the request will have a row. Raises: ClientGone, and EngineTimedOut after it."""
        with self._shared.sink.expecting(request.id, request.started_at), request.waiting(is_own=is_own):
            yield
        self._check_time(request)

    def _check_time(self, request: Request) -> None:
        """After a wait: an engine that has no time to answer in would be taken for a slow one. Raises: EngineTimedOut."""
        if self._left_s(request) <= 0:
            raise EngineTimedOut("the request had used up its time before an engine could have it")

    def _left_s(self, request: Request) -> float:
        """Of the time that the whole request may take; below 0 where it is over."""
        return self._shared.timeouts.total_s - (monotonic_us() - request.started_us) / 1e6

    def _message(self, request: Request, engine: EngineState, body: bytes) -> bytes:
        """The request as the engine gets it."""
        assert request.call is not None
        served = engine.engine.served_model or engine.engine.model
        name = None if served == request.call.model else served
        prepared = self._shape.prepare(
            body, request.call, model=name, output_tokens_max=request.output_tokens_max, is_strict=engine.engine.kind == HOSTED
        )
        return post_bytes(engine.pool, self._path, _headers(request, engine), prepared)

    async def _may_retry(self, request: Request, plan: Plan, error: InferhouseError) -> bool:
        """Whether another attempt is made, after the pause that the engine asked for."""
        refused = error if isinstance(error, EngineRefused) else None
        if refused is None and not isinstance(error, EngineFailed | EngineTimedOut):
            return False
        if refused is not None and refused.is_too_long:
            return self._goes_to_larger(request, plan) and not request.client_gone
        if self._left_s(request) <= 0:
            return False
        retry = self._shared.dispatcher.retry(
            plan,
            request.tried,
            attempts=request.attempts,
            status=None if isinstance(error, EngineHungUp) else refused.counts_as if refused else error.status,
            retry_after_s=refused.engine_retry_after_s if refused else None,
        )
        if retry is None or retry.pause_s >= self._left_s(request):
            return False
        if retry.same:
            request.tried.clear()
        if retry.pause_s:
            with self._waiting(request):
                await asyncio.sleep(retry.pause_s)
        if request.client_gone:
            raise ClientGone
        return True

    @staticmethod
    def _goes_to_larger(request: Request, plan: Plan) -> bool:
        """Whether a model with more context is asked. Raises: EngineUnavailable: one failed, and this one stood in for it."""
        larger = plan.larger()
        if larger and request.attempts >= ATTEMPTS_MAX and plan.has_passed(larger[0]):
            said = f"the prompt is too long for {plan.model.name!r}, and {larger[0].model.name!r} could not answer; try again"
            raise EngineUnavailable(said, retry_after_s=RETRY_AFTER_S)
        if not larger or request.attempts >= ATTEMPTS_MAX:
            return False
        plan.go_to(larger)
        return True

    async def _give_up(self, request: Request, exchange: Exchange, error: InferhouseError) -> None:
        """Tell the client of the last failure. Raises: EngineUnavailable, EngineFailed, or the failure itself."""
        if not isinstance(error, EngineRefused):
            raise error
        wait_s = error.retry_after_s
        if error.engine_status == 503:
            raise EngineUnavailable("the engine is not taking requests now", retry_after_s=wait_s or 1) from error
        if error.is_word:
            await self._settle_claim(request)
            exchange.pass_on_refusal(error.engine_status, error.body, None if wait_s is None else b"%d" % wait_s)
            return
        raise EngineFailed(str(error), retry_after_s=wait_s) from error

    async def _connect(
        self, request: Request, plan: Plan, tokens: int, picked: EngineState | None
    ) -> tuple[EngineState, EngineConnection]:
        """A connection to an engine, where there is none that is open and free: the one that was picked, or another one.

        Raises: EngineUnavailable, EngineTimedOut, QueueFull, QueueTimedOut, ClientGone.
        """
        dispatcher = self._shared.dispatcher
        while True:
            engine = picked or await self._waited_for(request, plan, tokens)
            dispatcher.started(engine, tokens)
            connection = engine.pool.kept()
            if connection is not None:
                return engine, connection
            try:
                with self._waiting(request):
                    connection = await engine.pool.acquire()
            except EngineUnreachable as error:
                engine.failed(refused=True, why=str(error))
                dispatcher.ended(engine, tokens, outcome="failed")
                self._check_time(request)
                request.tried.add(engine.id)
            except BaseException:
                if connection is not None:  # its time was up with that
                    connection.close()
                dispatcher.ended(engine, tokens, outcome="gone")
                raise
            else:
                if _serves(engine, plan):
                    return engine, connection
                self._give_back(engine, connection, tokens)
            picked = dispatcher.pick(plan, request.tried)

    async def _waited_for(self, request: Request, plan: Plan, tokens: int) -> EngineState:
        """The engine of another model in the plan, or the turn in the queue. Raises: as `_connect`."""
        dispatcher, began_us, call = self._shared.dispatcher, monotonic_us(), request.call
        assert call is not None
        cap = request.output_tokens_max if call.output_tokens_max is None else call.output_tokens_max
        turn_tokens = tokens + most_output(call, plan.model, cap)
        with self._waiting(request):
            engine = await dispatcher.engine_for(
                plan, request.caller, turn_tokens, request.tried, request.caller.queue_weight, left_s=self._left_s(request)
            )
        request.queue_us = (request.queue_us or 0) + monotonic_us() - began_us
        return engine

    async def _is_replayed(self, request: Request, idempotency_key: bytes, body: bytes) -> bool:
        """Send again what there was, or take the right to go on. Raises: as `Idempotency.claim`, JournalFull, JournalFailed."""
        with self._shared.sink.expecting(request.id, request.started_at):
            found = await self._shared.idempotency.claim(
                request.caller, idempotency_key, self._path + b"\0" + body, request.id, request.started_at
            )
        if isinstance(found, Claim):
            request.claim = found
            if request.client_gone:
                raise ClientGone
            return False
        await self._send_again(request, found)
        return True

    async def _let_go(self, request: Request) -> None:
        """Nothing is held for the request any more, and its idempotency key is used up or free."""
        if request.hold is not None:
            self._shared.reservations.settle(request.hold)
        await self._settle_claim(request)

    async def _settle_claim(self, request: Request) -> None:
        """The idempotency key, where there is one, is used up, or free; once."""
        claim = request.claim
        if claim is None or claim.done:
            return
        if request.charged:
            await self._shared.idempotency.finish(claim, model_id=None, answer=None)
        else:
            await self._shared.idempotency.release(claim)

    async def _send_again(self, request: Request, replay: Replay) -> None:
        """The answer of an earlier request, and a row that says so and costs nothing. Raises: JournalFull, JournalFailed."""
        row = request.row()
        row.status, row.charge_class, row.error_code, row.http_status = "completed", "free_replayed", None, 200
        row.model_id = replay.model_id
        await self._record(request, row)
        headers = b"%bidempotent-replayed: true\r\nx-inferhouse-original-request-id: %b\r\nx-inferhouse-cost-usd: 0\r\n" % (
            request.client.id_line, str(replay.request_id).encode()
        )  # fmt: skip
        request.client.answer(200, replay.answer, headers)

    async def _record_refusal(self, request: Request, error: InferhouseError) -> InferhouseError:
        """The row of a request that no engine has seen; returns what the client is told."""
        row = request.row()
        row.status, row.charge_class = "refused", "free_refused"
        row.error_code, row.http_status = error.code, error.status
        row.model_asked = plain(request.call.model, MODEL_CHARACTERS_MAX) if request.call else None
        try:
            await self._record(request, row)
        except InferhouseError as full:
            return full
        return error

    async def _record_departure(self, request: Request) -> None:
        """The row of a request whose client left before any engine took it; there is nobody to be told where it has none."""
        row = request.row()
        row.status, row.charge_class = "client_closed", "free_refused"
        row.error_code, row.http_status = "client_closed", CLIENT_CLOSED_STATUS
        row.model_asked = plain(request.call.model, MODEL_CHARACTERS_MAX) if request.call else None
        with contextlib.suppress(JournalFull, JournalFailed):
            await self._record(request, row)

    def _record_stop(self, request: Request) -> None:
        """The row of a request that waited when the router was stopped; nothing is awaited in a task that is cancelled."""
        row = request.row()
        row.status, row.charge_class = "router_lost", "free_router_lost"
        row.error_code, row.http_status = "router_stopped", 500
        row.model_asked = plain(request.call.model, MODEL_CHARACTERS_MAX) if request.call else None
        with contextlib.suppress(JournalFull, JournalFailed):
            self._close(request, row)
            self._shared.count(row)

    async def _record(self, request: Request, row: UsageEvent) -> None:
        """A row that no engine had a part in, on the disk. Raises: JournalFull, JournalFailed."""
        self._close(request, row)
        request.attempts += 1  # who is stopped while the disk writes has its row
        await self._shared.sink.journal.durable()
        self._shared.count(row)

    def _close(self, request: Request, row: UsageEvent) -> None:
        row.duration_us = monotonic_us() - request.started_us
        row.finished_at = row.started_at + timedelta(0, 0, row.duration_us)
        self._shared.sink.close(self._shared.sink.open(row))


def _serves(engine: EngineState, plan: Plan) -> bool:
    """Whether an engine is still one of the plan's present model: it may have been drained, taken out, moved, or got another."""
    return bool(engine.weight) and engine in plan.order[plan.at].engines


def _beginning(body: bytes) -> bytes:
    """The first bytes of the prompt: requests that share them are best served by the engine that has them in its cache."""
    for field in _PROMPTS:
        at = body.find(field)
        if at >= 0:
            return body[at : at + PREFIX_BYTES_MAX]
    return b""


def _headers(request: Request, state: EngineState) -> bytes:
    """What an engine is told beside the body. The client's key never leaves the router."""
    lines = request.client.id_line + state.headers
    headers = request.client.headers
    if trace := headers.get(b"traceparent"):
        lines += b"traceparent: %b\r\n" % trace
    if state.engine.kind == "simulated":  # faults on request, for tests and demonstrations
        lines += header_lines((name, value) for name, value in headers.items() if name.startswith(b"x-simulated-"))
    return lines
