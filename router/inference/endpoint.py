"""One metered endpoint: admission, one or more exchanges with engines, and a row for what was refused before any."""

import asyncio
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from router.inference.admission import (
    END_USER_CHARACTERS_MAX,
    MODEL_CHARACTERS_MAX,
    ChatCall,
    ClientGone,
    Receive,
    plain,
    read_body,
    with_usage_asked,
)
from router.inference.auth import Caller
from router.inference.engine_set import EngineState
from router.inference.exchange import Exchange
from router.inference.responses import Header, Send, send_error
from router.inference.routing import pick
from router.inference.state import InferenceState
from router.inference.upstream import EngineConnection, EngineFull, EngineHungUp, EngineUnreachable, post_bytes
from warehouse.access.catalogue import Model
from warehouse.access.usage_events import UsageEvent
from warehouse.base import requests
from warehouse.base.clock import monotonic_us, now
from warehouse.base.errors import EngineUnavailable, InferhouseError, ModelNotFound

ATTEMPTS_MAX = 3
MODELS_NAMED_MAX = 20  # in the answer to an unknown model
RETRY_AFTER_S = 5  # an engine is probed every second, and one that restarts takes longer than that to load

Scope = MutableMapping[str, Any]


@dataclass(slots=True, eq=False)
class Request:
    """One request under way: who, when, and what is known of it so far."""

    caller: Caller
    id: UUID
    started_at: datetime
    started_us: int
    headers: dict[bytes, bytes]
    call: ChatCall | None = None
    attempts: int = 0
    tried: set[int] = field(default_factory=set)
    exchange: Exchange | None = None
    client_gone: bool = False

    def leave(self) -> None:
        """The client is gone, and with it the reason to go on."""
        self.client_gone = True
        if self.exchange is not None:
            self.exchange.leave()

    def row(self) -> UsageEvent:
        """The row of this attempt before anything has happened."""
        end_user = plain(self.call.user, END_USER_CHARACTERS_MAX) if self.call and self.call.user else None
        return UsageEvent(
            request_id=self.id,
            attempt=self.attempts,
            started_at=self.started_at,
            finished_at=self.started_at,
            org_id=self.caller.org_id,
            project_id=self.caller.project_id,
            api_key_id=self.caller.api_key_id,
            user_id=self.caller.user_id,
            service_account_id=self.caller.service_account_id,
            end_user=end_user,
            trace_id=_trace_id(self.headers.get(b"traceparent")),
            tags=None,
            endpoint="chat.completions",
            model_asked=None,
            model_id=None,
            engine_id=None,
            stream=bool(self.call and self.call.stream),
            status="refused",
            http_status=0,
            error_code=None,
            finish_reason=None,
            input_tokens=0,
            cached_input_tokens=0,
            output_tokens=0,
            reasoning_tokens=0,
            token_source="none",
            queue_us=None,
            ttft_us=None,
            duration_us=0,
            overhead_us=None,
            price_id=None,
            cost_picousd=None,
            charge_class="free_refused",
        )


class MeteredEndpoint:
    """The ASGI endpoint of one inference path."""

    def __init__(self, shared: InferenceState, *, path: str, parse: Callable[[bytes], ChatCall]) -> None:
        self._shared, self._path, self._parse = shared, path.encode(), parse

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        id_, started_at, started_us = requests.begin(), now(), monotonic_us()
        headers: dict[bytes, bytes] = dict(scope["headers"])
        try:
            caller = await self._shared.keys.caller(headers.get(b"authorization"), scope)
        except InferhouseError as error:
            self._shared.refused[error.code] += 1  # whose row it would be is not known
            await send_error(send, error, str(id_))
            return
        request = Request(caller, id_, started_at, started_us, headers)
        try:
            await self._serve(request, receive, send)
        except ClientGone:
            return
        except InferhouseError as error:
            if not request.attempts:
                error = await self._record_refusal(request, error)
            await send_error(send, error, str(id_))

    async def _serve(self, request: Request, receive: Receive, send: Send) -> None:
        settings = self._shared.settings
        body = await read_body(receive, request.headers.get(b"content-length"), settings.body_bytes_max)
        request.call = call = self._parse(body)
        model = self._admitted_model(request.caller, call.model)
        if call.stream:
            body = with_usage_asked(body, call)
        watch = asyncio.ensure_future(receive())  # returns when the client leaves
        watch.add_done_callback(lambda _: request.leave())
        try:
            await self._ask_engines(request, call, model, body, send)
        finally:
            watch.cancel()

    async def _ask_engines(self, request: Request, call: ChatCall, model: Model, body: bytes, send: Send) -> None:
        """One engine after another, until one has begun to answer. Raises: what the last one did, or EngineUnavailable."""
        price = self._shared.catalogue.price(model.id, request.caller.org_id, request.started_at)
        while True:
            engine, connection = await self._connect(request, model)
            request.attempts += 1
            row = request.row()
            row.model_id, row.engine_id = model.id, engine.engine.id
            exchange = Exchange(self._shared, engine, connection, row, request.started_us, price, send)
            request.exchange = exchange
            message = post_bytes(engine.pool, self._path, _headers(request, engine), body)
            try:
                await exchange.run(message, call)
            except EngineHungUp:
                engine.failed()
                request.tried.add(engine.engine.id)
                if request.attempts >= ATTEMPTS_MAX or not self._another(request, model):
                    raise
            else:
                return
            finally:
                request.exchange = None

    def _admitted_model(self, caller: Caller, name: str) -> Model:
        catalogue = self._shared.catalogue
        model = catalogue.models.get(name)
        if model is not None and name in catalogue.engines and caller.may_use(name):
            return model
        usable = [known for known in catalogue.models if known in catalogue.engines and caller.may_use(known)]
        named = ", ".join(usable[:MODELS_NAMED_MAX]) or "none"
        asked = plain(name, MODEL_CHARACTERS_MAX)
        raise ModelNotFound(f"there is no model {asked!r} for this key; it may use: {named}", param="model")

    async def _connect(self, request: Request, model: Model) -> tuple[EngineState, EngineConnection]:
        """A connection to an engine that has the model. Raises: EngineUnavailable, ClientGone."""
        full = False
        while True:
            state = self._another(request, model)
            if state is None:
                why = f"every engine of {model.name!r} is full" if full else f"no healthy engine serves {model.name!r}"
                raise EngineUnavailable(f"{why} now; try again in {RETRY_AFTER_S} s", retry_after_s=RETRY_AFTER_S)
            try:
                connection = await state.pool.acquire()
            except EngineFull:
                full = True
                request.tried.add(state.engine.id)
                continue
            except EngineUnreachable:
                state.failed(refused=True)
                request.tried.add(state.engine.id)
                continue
            if request.client_gone:
                connection.close()
                raise ClientGone
            return state, connection

    def _another(self, request: Request, model: Model) -> EngineState | None:
        engines, known = self._shared.engines, self._shared.catalogue.engines.get(model.name, ())
        engine = pick(known, engines.in_flight, engines.healthy, request.tried)
        return None if engine is None else engines.states[engine.id]

    async def _record_refusal(self, request: Request, error: InferhouseError) -> InferhouseError:
        """The row of a request that no engine has seen; returns what the client is told."""
        row = request.row()
        row.error_code, row.http_status, row.cost_picousd = error.code, error.status, 0
        row.model_asked = plain(request.call.model, MODEL_CHARACTERS_MAX) if request.call else None
        row.duration_us = monotonic_us() - request.started_us
        row.finished_at = row.started_at + timedelta(microseconds=row.duration_us)
        try:
            self._shared.sink.close(self._shared.sink.open(row))
            await self._shared.sink.journal.durable()
        except InferhouseError as full:
            return full
        self._shared.count(row)
        return error


def _headers(request: Request, state: EngineState) -> list[Header]:
    """What an engine is told beside the body. The client's key never leaves the router."""
    headers = [(b"x-request-id", str(request.id).encode())]
    if trace := request.headers.get(b"traceparent"):
        headers.append((b"traceparent", trace))
    if state.engine.kind == "simulated":  # faults on request, for tests and demonstrations
        headers += [(name, value) for name, value in request.headers.items() if name.startswith(b"x-simulated-")]
    return headers


def _trace_id(traceparent: bytes | None) -> UUID | None:
    """The trace id of a W3C `traceparent` header (version-traceid-parentid-flags), None where there is none."""
    if traceparent is None or len(traceparent) < 55:
        return None
    try:
        return UUID(hex=traceparent[3:35].decode())
    except ValueError:
        return None
