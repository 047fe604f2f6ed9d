"""The router's ASGI application: the hot path first, everything else behind it on FastAPI."""

import contextlib
from collections.abc import AsyncIterator

from fastapi import FastAPI
from fastapi.telemetry import TelemetryConfig
from starlette.routing import Route

from router.edge import Asgi, Edge, Message, Receive, Scope, Send, add_error_handlers, traceparent
from router.inference.admission import parse_chat
from router.inference.endpoint import MeteredEndpoint
from router.inference.models import router as models_router
from router.inference.state import InferenceState
from router.management.app import include_management
from router.management.document import ERRORS, operation_id
from router.management.state import ManagementState
from router.metrics import RequestMetrics
from router.metrics import router as metrics_router
from router.settings import RouterSettings
from warehouse.base import requests, tracing

# FastAPI's own spans and logs have query strings and the text of exceptions; ours (router/edge.py) say what may be said.
NO_TELEMETRY = TelemetryConfig(tracing=False, metrics=False, logs=False, operation_spans=False, auto_configure=False)


class HotPaths:
    """ASGI middleware that answers the metered POST paths itself: a dictionary look-up instead of FastAPI's routing."""

    def __init__(self, app: Asgi, endpoints: dict[str, Asgi]) -> None:
        self._app, self._endpoints = app, endpoints

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "POST":
            endpoint = self._endpoints.get(scope["path"])
            if endpoint is not None:
                await (_traced(endpoint, scope, receive, send) if tracing.on() else endpoint(scope, receive, send))
                return
        await self._app(scope, receive, send)


async def _traced(endpoint: Asgi, scope: Scope, receive: Receive, send: Send) -> None:
    """One span for an inference request; the engine's own spans, where it makes some, become its children."""
    status = 0

    async def answer(message: Message) -> None:
        nonlocal status
        status = message.get("status", status)
        await send(message)

    with tracing.span(f"POST {scope['path']}", traceparent=traceparent(scope)) as span:
        if span.traceparent is not None:
            others = [header for header in scope["headers"] if header[0] != b"traceparent"]
            scope["headers"] = [*others, (b"traceparent", span.traceparent.encode())]
        try:
            await endpoint(scope, receive, answer)
        finally:
            span.set("http.response.status_code", status)
            span.set("inferhouse.request_id", str(requests.current()))


def create_app(settings: RouterSettings) -> Asgi:
    """Inference and management on one address, or the one that `serves` names."""
    api = create_api(settings)
    edge = Edge(api, api.state.requests)
    if not settings.serves_inference:
        return edge
    path = "/v1/chat/completions"
    endpoints: dict[str, Asgi] = {path: MeteredEndpoint(api.state.inference, path=path, parse=parse_chat)}
    # FastAPI knows them too, so that another method than POST is said to be that and not an unknown path.
    api.router.routes += [Route(path, endpoint, methods=["POST"]) for path, endpoint in endpoints.items()]
    return HotPaths(edge, endpoints)


def create_api(settings: RouterSettings) -> FastAPI:
    """Everything beside the hot path, without what surrounds it."""
    inference = InferenceState(settings)
    management = ManagementState(settings) if settings.serves_management else None

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with inference.running(), management.running() if management else contextlib.nullcontext():
            yield
        tracing.close()

    app = FastAPI(
        title="Inferhouse",
        version="0.1.0",
        lifespan=lifespan,
        docs_url="/docs",
        redoc_url=None,
        responses=ERRORS,
        generate_unique_id_function=operation_id,
        telemetry=NO_TELEMETRY,
    )
    app.state.inference, app.state.management, app.state.requests = inference, management, RequestMetrics()
    add_error_handlers(app)
    app.include_router(metrics_router)
    if settings.serves_inference:
        app.include_router(models_router, prefix="/v1")
    if settings.serves_management:
        include_management(app)
    return app
