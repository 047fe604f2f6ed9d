"""The router's application: the metered paths, and everything else behind them on FastAPI."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from functools import cache

import orjson
from fastapi import FastAPI
from fastapi.telemetry import TelemetryConfig
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from router import siblings
from router.edge import Asgi, Edge, Receive, Scope, Send, add_error_handlers
from router.inference.endpoint import MeteredEndpoint
from router.inference.models import router as models_router
from router.inference.openapi import add_inference
from router.inference.shapes import SHAPES
from router.inference.state import InferenceState
from router.management.app import include_management
from router.management.state import ManagementState
from router.metrics import RequestMetrics, text_of_this_worker
from router.metrics import router as metrics_router
from router.settings import RouterSettings
from warehouse.base import tracing
from warehouse.base.errors import NotReady

# FastAPI's own spans and logs have query strings and the text of exceptions; ours (router/edge.py) say what may be said.
NO_TELEMETRY = TelemetryConfig(tracing=False, metrics=False, logs=False, operation_spans=False, auto_configure=False)


class App:
    """The ASGI application, and the metered paths, which `router.inference.server` answers without ASGI."""

    def __init__(self, asgi: Asgi, endpoints: Mapping[bytes, MeteredEndpoint], settings: RouterSettings) -> None:
        self._asgi, self.endpoints = asgi, endpoints
        self.receive_s_max, self.stall_s_max = settings.receive_s_max, settings.stall_s_max

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._asgi(scope, receive, send)


def create_app(settings: RouterSettings) -> App:
    """Inference and management on one address, or the one that `serves` names."""
    api = create_api(settings)
    edge = Edge(api, api.state.requests)
    if not settings.serves_inference:
        return App(edge, {}, settings)
    described = api.openapi
    api.openapi = cache(lambda: add_inference(described()))  # type: ignore[method-assign]  # FastAPI's documented way
    endpoints = {path.encode(): MeteredEndpoint(api.state.inference, shape) for path, shape in SHAPES.items()}
    # FastAPI knows them too, so that another method than POST is said to be that and not an unknown path.
    api.router.routes += [Route(path.decode(), _elsewhere, methods=["POST"]) for path in endpoints]
    return App(edge, endpoints, settings)


async def _elsewhere(request: Request) -> Response:
    """Only another server than the router's own brings a metered request here. Raises: NotReady."""
    raise NotReady("the inference API is served by `python -m router` only")


def create_api(settings: RouterSettings) -> FastAPI:
    """Everything beside the hot path, without what surrounds it."""
    inference = InferenceState(settings)
    management = ManagementState(settings) if settings.serves_management else None

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        telling = siblings.answering(lambda: text_of_this_worker(app)) if siblings.has_any() else contextlib.nullcontext()
        async with telling, inference.running(), management.running() if management else contextlib.nullcontext():
            yield
        tracing.close()

    app = FastAPI(
        title="Inferhouse",
        version="0.1.0",
        lifespan=lifespan,
        docs_url="/docs",
        redoc_url=None,
        redirect_slashes=False,  # to where we take ourselves to be: without TLS, where a proxy in front has it
        telemetry=NO_TELEMETRY,
    )
    app.state.inference, app.state.management, app.state.requests = inference, management, RequestMetrics()
    add_error_handlers(app)
    app.router.routes += metrics_router.routes
    if settings.serves_inference:
        app.router.routes += models_router.routes
    if settings.serves_management:
        include_management(app)
    _describe_aside(app)
    return app


def _describe_aside(app: FastAPI) -> None:
    """`/openapi.json` is made once and beside the event loop: it takes a second, and anybody may ask for it."""
    making: list[asyncio.Task[bytes]] = []

    async def described(_: Request) -> Response:
        if not making:
            making.append(asyncio.create_task(asyncio.to_thread(lambda: orjson.dumps(app.openapi()))))
        return Response(await asyncio.shield(making[0]), media_type="application/json")

    app.router.routes = [
        Route(path, described, include_in_schema=False) if (path := getattr(route, "path", "")) == app.openapi_url else route
        for route in app.router.routes
    ]
