"""Engines: `/v1/platform/engines` for those who run the platform, `/v1/organization/engines` as this router sees them."""

import re
from ipaddress import IPv6Address
from typing import Annotated, Any, Literal

from fastapi import Depends, Path, Query, Request, Response
from psycopg import AsyncConnection
from psycopg.errors import UniqueViolation
from pydantic import BaseModel, ConfigDict, Field, SecretStr

from router.inference.engine_set import EngineState
from router.inference.state import InferenceState
from router.management.access import Access, Needs
from router.management.changes import (
    AlreadyExists,
    IdempotencyKey,
    IfMatch,
    changing,
    check_version,
    creating,
    tell_version,
)
from router.management.fields import NO_CONTROL
from router.management.models import NAME as MODEL
from router.management.models import locked_model
from router.management.pages import Listed, Paged
from router.routes import routes
from warehouse.access import engines
from warehouse.access.engines import EngineRow
from warehouse.base.errors import InvalidRequest, NotFound
from warehouse.base.money import picousd, usd

router = routes("engines")
NAME = r"^[a-z0-9][a-z0-9-]{0,62}$"
HOST_CHARACTERS_MAX = 253
LAST_PORT = 65535
_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_PATH = r"(?:/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)*"
_URL = re.compile(rf"https?://(?P<host>{_LABEL}(?:\.{_LABEL})*|\[[0-9A-Fa-f:.]{{2,45}}\])(?::(?P<port>[0-9]{{1,5}}))?{_PATH}/?")
COLUMNS = (
    "kind", "base_url", "enabled", "weight", "requests_at_once", "served_model", "sealed_key", "canary_percent", "gpus",
    "gpu_hour_picousd",
)  # fmt: skip
CAN_CLEAR = frozenset({"requests_at_once", "served_model", "api_key", "canary_percent"})
EngineId = Annotated[str, Path(pattern=NAME)]
Kind = Literal["vllm", "simulated", "sglang", "openai"]
WEIGHT_MAX = 1000
CANARY_PERCENT_MAX = 50
KEY_CHARACTERS_MAX = 1000
GPUS_MAX = 1024
GPU_HOUR_PICOUSD_MAX = 10**15  # 1000 USD; the table's check has it too
Weight = Annotated[
    int, Field(ge=0, le=WEIGHT_MAX, strict=True, description="Relative to the model's other engines; 0 drains it.")
]
AtOnce = Annotated[int, Field(ge=1, le=2**31 - 1, strict=True, description="Requests of each worker; null: no bound of its own.")]
CanaryPercent = Annotated[
    int, Field(ge=1, le=CANARY_PERCENT_MAX, strict=True, description="Of the model's requests; null: it is no canary.")
]
ServedModel = Annotated[
    str, Field(min_length=1, max_length=200, pattern=NO_CONTROL, description="What the engine calls the model.")
]
ProviderKey = Annotated[
    SecretStr, Field(min_length=1, max_length=KEY_CHARACTERS_MAX, description="A hosted provider's key. Never shown again.")
]
Gpus = Annotated[int, Field(ge=0, le=GPUS_MAX, strict=True, description="GPUs that it runs on, all nodes together.")]
GpuHour = Annotated[
    str, Field(pattern=r"^[0-9]{1,4}(\.[0-9]{1,12})?$", description="USD that one of them costs an hour: `2.50`; from now on.")
]
BaseUrl = Annotated[
    str, Field(max_length=300, description="Where its /v1 is: http://10.0.0.7:8000, https://api.example.com/openai.")
]


class SeenEngine(BaseModel):
    """An enabled engine as this router sees it."""

    object: Literal["engine"] = "engine"
    name: str
    kind: str
    model: str
    healthy: bool
    since: int | None
    in_flight: int


class SeenEngines(BaseModel):
    """All of them; there are few."""

    object: Literal["list"] = "list"
    data: list[SeenEngine]


class EngineHealth(BaseModel):
    """What this router's probes say. `unknown`: switched off, of a retired model, or not probed yet."""

    status: Literal["healthy", "unreachable", "unknown"]
    since: int | None
    in_flight: int
    breaker: Literal["closed", "open"] = Field(default="closed", description="Open: its calls failed; it is tried now and then.")

    @classmethod
    def of(cls, state: EngineState | None) -> "EngineHealth":
        """The health of an engine of this router."""
        if state is None or state.since is None:
            return cls(status="unknown", since=None, in_flight=0)
        status: Literal["healthy", "unreachable"] = "healthy" if state.healthy else "unreachable"
        breaker: Literal["closed", "open"] = "open" if state.breaker.is_open else "closed"
        return cls(status=status, since=int(state.since.timestamp()), in_flight=state.requests, breaker=breaker)


class Canary(BaseModel):
    """An engine on trial. `stopped_at`: when a router found it worse than the others; a change of the share starts it anew."""

    percent: int
    stopped_at: int | None
    stopped_why: str | None


class EngineShape(BaseModel):
    """An engine as platform admins see it."""

    object: Literal["platform.engine"] = "platform.engine"
    id: str
    kind: str
    base_url: str
    model: str
    enabled: bool
    weight: int
    requests_at_once: int | None
    served_model: str | None
    has_api_key: bool
    canary: Canary | None
    gpus: int
    gpu_hour_usd: str
    created_at: int
    version: int
    health: EngineHealth


class EngineBody(BaseModel):
    """A new engine. It need not answer yet: `health` says whether it does."""

    model_config = ConfigDict(extra="forbid")
    id: str = Field(pattern=NAME)
    kind: Kind
    base_url: BaseUrl
    model: str = Field(pattern=MODEL)
    weight: Weight = 100
    requests_at_once: AtOnce | None = None
    served_model: ServedModel | None = None
    api_key: ProviderKey | None = None
    canary_percent: CanaryPercent | None = None
    gpus: Gpus = 0
    gpu_hour_usd: GpuHour = "0"


class EngineChange(BaseModel):
    """What is left out stays, null takes away. `canary_percent`, said again, lets a canary that was stopped go on."""

    model_config = ConfigDict(extra="forbid")
    kind: Kind | None = None
    base_url: BaseUrl | None = None
    model: str | None = Field(default=None, pattern=MODEL)
    weight: Weight | None = None
    requests_at_once: AtOnce | None = None
    served_model: ServedModel | None = None
    api_key: ProviderKey | None = None
    canary_percent: CanaryPercent | None = None
    gpus: Gpus | None = None
    gpu_hour_usd: GpuHour | None = None


@router.get("/organization/engines", response_model=SeenEngines)
async def get_engines(request: Request, access: Annotated[Access, Depends(Needs("engines.read"))]) -> SeenEngines:
    """Every enabled engine with its model, whether it answers, and since when."""
    return SeenEngines(
        data=[
            SeenEngine(
                name=state.engine.name,
                kind=state.engine.kind,
                model=state.engine.model,
                healthy=state.healthy,
                since=int(state.since.timestamp()) if state.since else None,
                in_flight=state.requests,
            )
            for state in _inference(request).engines.states.values()
        ]
    )


@router.get("/platform/engines", response_model=Listed[EngineShape])
async def list_platform_engines(
    request: Request,
    access: Annotated[Access, Depends(Needs("engines.write"))],
    window: Paged,
    model: Annotated[str | None, Query(max_length=128)] = None,
    enabled: Annotated[bool | None, Query()] = None,
) -> Listed[EngineShape]:
    """Engines by name."""
    async with access.transaction() as conn:
        rows = await engines.page(conn, **await window.values(conn, "engines"), model=model, enabled=enabled)
    return window.page([_shape(request, row) for row in rows], [row.name for row in rows])


@router.post("/platform/engines", response_model=EngineShape)
async def create_engine(
    body: EngineBody,
    request: Request,
    access: Annotated[Access, Depends(Needs("engines.write"))],
    idempotency_key: IdempotencyKey = None,
) -> EngineShape | dict[str, Any]:
    """A new engine; routers use it at once. Raises: AlreadyExists, NotFound (the model), InvalidRequest (the address)."""
    base_url, gpu_hour_picousd = _checked(body.base_url), _picousd(body.gpu_hour_usd)
    async with creating(access, request, body, idempotency_key) as creation:
        if creation.known is not None:
            return creation.known
        model = await locked_model(creation.conn, body.model, param="model")
        try:
            row = await engines.add(
                creation.conn,
                body.id,
                kind=body.kind,
                base_url=base_url,
                model_id=model.id,
                weight=body.weight,
                requests_at_once=body.requests_at_once,
                served_model=body.served_model,
                sealed_key=_sealed(request, body.id, body.api_key),
                canary_percent=body.canary_percent,
                gpus=body.gpus,
                gpu_hour_picousd=gpu_hour_picousd,
            )
        except UniqueViolation as error:
            raise AlreadyExists(f"there is an engine {body.id!r}", param="id") from error
        shape = _shape(request, row)
        await creation.changing.record("engine.created", row.name, after=_kept(row))
        await creation.keep(shape)
        return shape


@router.get("/platform/engines/{engine_id}", response_model=EngineShape)
async def get_engine(
    engine_id: EngineId, request: Request, response: Response, access: Annotated[Access, Depends(Needs("engines.write"))]
) -> EngineShape:
    """One engine."""
    async with access.transaction() as conn:
        row = _there(await engines.find(conn, engine_id))
    tell_version(response, row.version)
    return _shape(request, row)


@router.post("/platform/engines/{engine_id}", response_model=EngineShape)
async def update_engine(
    engine_id: EngineId,
    body: EngineChange,
    *,
    request: Request,
    response: Response,
    access: Annotated[Access, Depends(Needs("engines.write"))],
    if_match: IfMatch = None,
) -> EngineShape:
    """Change an engine; calls under way to its old address run to their end."""
    values = {name: getattr(body, name) for name in body.model_fields_set}
    values = {name: value for name, value in values.items() if value is not None or name in CAN_CLEAR}
    if body.base_url is not None:
        values["base_url"] = _checked(body.base_url)
    if "gpu_hour_usd" in values:
        values["gpu_hour_picousd"] = _picousd(values.pop("gpu_hour_usd"))
    if "api_key" in values:
        values["sealed_key"] = _sealed(request, engine_id, values.pop("api_key"))
    async with changing(access) as change:
        before = _there(await engines.lock(change.conn, engine_id))
        check_version(if_match, before.version)
        row = await _change(change.conn, before, **values)
        await change.record("engine.updated", row.name, before=_kept(before), after=_kept(row))
    tell_version(response, row.version)
    return _shape(request, row)


@router.post("/platform/engines/{engine_id}/enable", response_model=EngineShape)
async def enable_engine(
    engine_id: EngineId,
    request: Request,
    response: Response,
    access: Annotated[Access, Depends(Needs("engines.write"))],
    if_match: IfMatch = None,
) -> EngineShape:
    """Send requests to this engine again. Twice changes nothing."""
    return await _switch(access, engine_id, request, response, if_match, enabled=True)


@router.post("/platform/engines/{engine_id}/disable", response_model=EngineShape)
async def disable_engine(
    engine_id: EngineId,
    request: Request,
    response: Response,
    access: Annotated[Access, Depends(Needs("engines.write"))],
    if_match: IfMatch = None,
) -> EngineShape:
    """Send no new requests to this engine; calls under way run to their end. Twice changes nothing."""
    return await _switch(access, engine_id, request, response, if_match, enabled=False)


async def _switch(
    access: Access, engine_id: str, request: Request, response: Response, if_match: str | None, *, enabled: bool
) -> EngineShape:
    async with changing(access) as change:
        before = _there(await engines.lock(change.conn, engine_id))
        check_version(if_match, before.version)
        row = before
        if before.enabled != enabled:
            row = await _change(change.conn, before, enabled=enabled)
            event = "engine.enabled" if enabled else "engine.disabled"
            await change.record(event, row.name, before=_kept(before), after=_kept(row))
    tell_version(response, row.version)
    return _shape(request, row)


async def _change(conn: AsyncConnection, before: EngineRow, **values: Any) -> EngineRow:
    """The engine with other values by the names of its columns; `model` by its name."""
    found = await locked_model(conn, values.pop("model", before.model), param="model")
    said = {name: getattr(before, name) for name in COLUMNS} | values
    return await engines.change(conn, before.name, canary_said="canary_percent" in values, model_id=found.id, **said)


def _sealed(request: Request, engine_id: str, key: SecretStr | None) -> bytes | None:
    """A provider's key as it is stored. Raises: InvalidRequest: it is no header's value, or nothing can be sealed here."""
    if key is None:
        return None
    value = key.get_secret_value()
    if not value.isascii() or not value.isprintable() or " " in value:
        raise InvalidRequest("a key is printable ASCII without spaces", param="api_key")
    sealer = _inference(request).settings.sealer
    if sealer is None:
        raise InvalidRequest("this installation can keep no keys: whoever runs it sets ROUTER_SEALING_KEY", param="api_key")
    return sealer.seal(value, engine_id)


def _picousd(gpu_hour_usd: str) -> int:
    """Raises: InvalidRequest: it is more than a GPU can cost."""
    cost = picousd(gpu_hour_usd)
    if cost > GPU_HOUR_PICOUSD_MAX:
        raise InvalidRequest(f"a GPU costs at most {usd(GPU_HOUR_PICOUSD_MAX)} USD an hour", param="gpu_hour_usd")
    return cost


def _checked(base_url: str) -> str:
    """The address without a final slash, and without the /v1 that OpenAI's SDKs have in theirs: it is in every path.

    Raises: InvalidRequest: it is not scheme, host, port and path, and nothing else.
    """
    match = _URL.fullmatch(base_url)
    if match is None or not _is_host(match["host"]) or not 0 < int(match["port"] or 1) <= LAST_PORT:
        raise InvalidRequest(
            "an engine's address is http or https, a host, a port, and the path before /v1 where there is one; no user, no query",
            param="base_url",
        )
    return base_url.removesuffix("/").removesuffix("/v1")


def _is_host(host: str) -> bool:
    """Whether routers can read it: one that they cannot would stop them all."""
    if not host.startswith("["):
        return len(host) <= HOST_CHARACTERS_MAX
    try:
        IPv6Address(host[1:-1])
    except ValueError:
        return False
    return True


def _kept(row: EngineRow) -> dict[str, Any]:
    """What the audit log keeps of an engine."""
    kept = ("kind", "base_url", "model", "enabled", "weight", "requests_at_once", "served_model", "canary_percent", "gpus")
    said = {"id": row.name, "has_api_key": row.sealed_key is not None, "gpu_hour_usd": usd(row.gpu_hour_picousd)}
    return said | {name: getattr(row, name) for name in kept}


def _inference(request: Request) -> InferenceState:
    state = request.app.state.inference
    assert isinstance(state, InferenceState)
    return state


def _shape(request: Request, row: EngineRow) -> EngineShape:
    return EngineShape(
        id=row.name,
        kind=row.kind,
        base_url=row.base_url,
        model=row.model,
        enabled=row.enabled,
        weight=row.weight,
        requests_at_once=row.requests_at_once,
        served_model=row.served_model,
        has_api_key=row.sealed_key is not None,
        canary=_canary(row),
        gpus=row.gpus,
        gpu_hour_usd=usd(row.gpu_hour_picousd),
        created_at=int(row.created_at.timestamp()),
        version=row.version,
        health=EngineHealth.of(_inference(request).engines.states.get(row.id) if row.enabled else None),
    )


def _canary(row: EngineRow) -> Canary | None:
    if row.canary_percent is None:
        return None
    stopped_at = int(row.canary_stopped_at.timestamp()) if row.canary_stopped_at else None
    return Canary(percent=row.canary_percent, stopped_at=stopped_at, stopped_why=row.canary_stopped_why)


def _there(row: EngineRow | None) -> EngineRow:
    if row is None:
        raise NotFound("there is no such engine; GET /v1/platform/engines lists them", param="engine_id")
    return row
