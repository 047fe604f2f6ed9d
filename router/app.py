"""The router's ASGI application: the hot path first, everything else behind it on FastAPI."""

import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.routing import Route

from router.inference.admission import Receive, parse_chat
from router.inference.endpoint import MeteredEndpoint, Scope
from router.inference.models import router as models_router
from router.inference.responses import Send
from router.inference.state import InferenceState
from router.management.app import include_management
from router.management.state import ManagementState
from router.metrics import router as metrics_router
from router.settings import RouterSettings
from warehouse.base.errors import InferhouseError
from warehouse.base.ids import uuid7

Asgi = Callable[[Scope, Receive, Send], Awaitable[None]]


class HotPaths:
    """ASGI middleware that answers the metered POST paths itself: a dictionary look-up instead of FastAPI's routing."""

    def __init__(self, app: Asgi, endpoints: dict[str, Asgi]) -> None:
        self._app, self._endpoints = app, endpoints

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "POST":
            endpoint = self._endpoints.get(scope["path"])
            if endpoint is not None:
                await endpoint(scope, receive, send)
                return
        await self._app(scope, receive, send)


def create_app(settings: RouterSettings) -> Asgi:
    """Inference and management on one address."""
    inference, management = InferenceState(settings), ManagementState(settings)

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with inference.running(), management.running():
            yield

    app = FastAPI(title="Inferhouse", version="0.1.0", lifespan=lifespan, docs_url="/docs", redoc_url=None)
    app.state.inference, app.state.management = inference, management
    app.add_exception_handler(InferhouseError, _own_error)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.include_router(metrics_router)
    app.include_router(models_router, prefix="/v1")
    include_management(app)
    path = "/v1/chat/completions"
    endpoints: dict[str, Asgi] = {path: MeteredEndpoint(inference, path=path, parse=parse_chat)}
    # FastAPI knows them too, so that another method than POST is said to be that and not an unknown path.
    app.router.routes += [Route(path, endpoint, methods=["POST"]) for path, endpoint in endpoints.items()]
    return HotPaths(app, endpoints)


async def _own_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, InferhouseError)
    request_id = str(uuid7())
    headers = {"x-request-id": request_id}
    if error.retry_after_s is not None:
        headers["retry-after"] = str(error.retry_after_s)
    return JSONResponse(dict(error.envelope(request_id)), error.status, headers)


async def _http_error(request: Request, error: Exception) -> JSONResponse:
    """Unknown paths and methods, in the same envelope as everything else."""
    assert isinstance(error, HTTPException)
    message = {
        404: f"there is nothing at {request.url.path}",
        405: f"{request.method} is not possible at {request.url.path}",
    }.get(error.status_code, str(error.detail))
    request_id = str(uuid7())
    body = {"message": message, "type": "invalid_request_error", "param": None, "code": f"http_{error.status_code}"}
    headers = {**(error.headers or {}), "x-request-id": request_id}
    return JSONResponse({"error": body | {"request_id": request_id}}, error.status_code, headers)


async def _validation_error(request: Request, error: Exception) -> JSONResponse:
    """A body or query that does not fit, naming the first field."""
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    param = ".".join(str(part) for part in first["loc"][1:]) or None
    request_id = str(uuid7())
    body = {"message": first["msg"], "type": "invalid_request_error", "param": param, "code": "invalid_request"}
    return JSONResponse({"error": body | {"request_id": request_id}}, 400, {"x-request-id": request_id})
