"""Models: `/v1/platform/models` for those who run the platform, `/v1/organization/models` with an organization's prices."""

from typing import Annotated, Any, Literal

from fastapi import Depends, Path, Query, Request, Response
from psycopg import AsyncConnection
from psycopg.errors import UniqueViolation
from pydantic import BaseModel, ConfigDict, Field

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
from router.management.pages import Listed, Paged
from router.routes import routes
from warehouse.access import aliases, models, prices
from warehouse.access.models import ModelRow, OfferedModel
from warehouse.access.prices import PriceVersion
from warehouse.base.errors import InvalidRequest, NotFound
from warehouse.base.money import usd, usd_per_million

router = routes("models")
NAME = r"^[A-Za-z0-9][A-Za-z0-9._:/-]{0,127}$"
VERBS = ("/retire", "/restore")  # ends of paths: a model's own name must not end so
Tokens = Annotated[int, Field(ge=1, le=2**31 - 1, strict=True)]
Template = Annotated[
    int,
    Field(
        ge=0, le=2**31 - 1, strict=True, description="At most that the chat template adds: part of the bound of a call's cost."
    ),
]
ModelId = Annotated[str, Path(pattern=NAME, description="The model's name; it may have slashes.")]


class ModelShape(BaseModel):
    """A model as platform admins see it; its id is the name that requests use. Limits in tokens."""

    object: Literal["platform.model"] = "platform.model"
    id: str
    context_tokens_max: int
    output_tokens_max: int
    template_tokens_per_call: int
    template_tokens_per_message: int
    template_tokens_for_tools: int
    media_tokens_max: int | None = Field(description="Of an image, a sound or a film; null: as many as the context has.")
    created_at: int
    retired_at: int | None
    status: Literal["active", "retired"]
    version: int

    @classmethod
    def of(cls, row: ModelRow) -> "ModelShape":
        """The shape of a row."""
        return cls(
            id=row.name,
            **{name: getattr(row, name) for name in models.LIMITS},
            created_at=int(row.created_at.timestamp()),
            retired_at=int(row.retired_at.timestamp()) if row.retired_at else None,
            status="retired" if row.retired_at else "active",
            version=row.version,
        )


class ModelBody(BaseModel):
    """A new model. It is served once an engine has it, and charged once it has a price."""

    model_config = ConfigDict(extra="forbid")
    id: str = Field(pattern=NAME)
    context_tokens_max: Tokens
    output_tokens_max: Tokens
    template_tokens_per_call: Template = 256
    template_tokens_per_message: Template = 16
    template_tokens_for_tools: Template = 512
    media_tokens_max: Template | None = None


class ModelChange(BaseModel):
    """Other limits; what is left out stays. Null is for `media_tokens_max` only."""

    model_config = ConfigDict(extra="forbid")
    context_tokens_max: Tokens | None = None
    output_tokens_max: Tokens | None = None
    template_tokens_per_call: Template | None = None
    template_tokens_per_message: Template | None = None
    template_tokens_for_tools: Template | None = None
    media_tokens_max: Template | None = None


class PriceInForce(BaseModel):
    """USD per million tokens and per request, exact decimals."""

    id: str
    source: Literal["list", "organization"]
    input_usd_per_million: str
    cached_input_usd_per_million: str
    output_usd_per_million: str
    reasoning_usd_per_million: str | None = Field(description="Null: as any other output token.")
    request_usd: str
    effective_from: int
    effective_until: int | None


class ConditionalPrice(PriceInForce):
    """For requests that meet all of its conditions."""

    endpoint: str | None
    input_tokens_from: int
    input_tokens_until: int | None
    tags: dict[str, str]


class OfferedShape(BaseModel):
    """A model in service, and what it costs this organization now."""

    object: Literal["organization.model"] = "organization.model"
    id: str
    context_tokens_max: int
    output_tokens_max: int
    created_at: int
    price: PriceInForce | None = Field(description="Null: none is in force, so its usage cannot be billed yet.")
    conditional_prices: list[ConditionalPrice] = Field(
        description="The first whose conditions a request meets takes the place of `price`."
    )

    @classmethod
    def of(cls, row: OfferedModel, conditional: list[PriceVersion]) -> "OfferedShape":
        """The shape of a row, with those of the versions that are of this model."""
        return cls(
            id=row.name,
            context_tokens_max=row.context_tokens_max,
            output_tokens_max=row.output_tokens_max,
            created_at=int(row.created_at.timestamp()),
            price=None if row.price_id is None else PriceInForce(**_price(row, row.price_id, own=row.own_price)),
            conditional_prices=[
                ConditionalPrice(
                    **_price(version, version.id, own=version.organization is not None),
                    endpoint=version.endpoint,
                    input_tokens_from=version.input_tokens_from,
                    input_tokens_until=version.input_tokens_until,
                    tags=version.tags,
                )
                for version in conditional
                if version.model == row.name
            ],
        )


def _price(row: OfferedModel | PriceVersion, price_id: int, *, own: bool) -> dict[str, Any]:
    assert row.effective_from is not None
    return {
        "id": f"price_{price_id}",
        "source": "organization" if own else "list",
        "input_usd_per_million": usd_per_million(row.input_picousd or 0),
        "cached_input_usd_per_million": usd_per_million(row.cached_input_picousd or 0),
        "output_usd_per_million": usd_per_million(row.output_picousd or 0),
        "reasoning_usd_per_million": None if row.reasoning_picousd is None else usd_per_million(row.reasoning_picousd),
        "request_usd": usd(row.request_picousd or 0),
        "effective_from": int(row.effective_from.timestamp()),
        "effective_until": int(row.effective_until.timestamp()) if row.effective_until else None,
    }


@router.get("/organization/models", response_model=Listed[OfferedShape])
async def list_organization_models(
    access: Annotated[Access, Depends(Needs("models.read"))], window: Paged
) -> Listed[OfferedShape]:
    """Models in service by name, each with the prices in force for this organization."""
    async with access.transaction() as conn:
        rows = await models.offered(conn, access.org.id, **await window.values(conn, "models"))
        conditional = await prices.conditional(conn, access.org.id, [row.name for row in rows])
    return window.page([OfferedShape.of(row, conditional) for row in rows], [row.name for row in rows])


@router.get("/platform/models", response_model=Listed[ModelShape])
async def list_platform_models(
    access: Annotated[Access, Depends(Needs("models.write"))], window: Paged, include_retired: Annotated[bool, Query()] = False
) -> Listed[ModelShape]:
    """Models by name."""
    async with access.transaction() as conn:
        rows = await models.page(conn, **await window.values(conn, "models"), include_retired=include_retired)
    return window.page([ModelShape.of(row) for row in rows], [row.name for row in rows])


@router.post("/platform/models", response_model=ModelShape)
async def create_model(
    body: ModelBody,
    request: Request,
    access: Annotated[Access, Depends(Needs("models.write"))],
    idempotency_key: IdempotencyKey = None,
) -> ModelShape | dict[str, Any]:
    """A new model. Raises: AlreadyExists: a model has this name, perhaps retired, or an alias."""
    if body.id.endswith(VERBS):
        raise InvalidRequest(f"a model's name cannot end in {' or '.join(VERBS)}", param="id")
    async with creating(access, request, body, idempotency_key) as creation:
        if creation.known is not None:
            return creation.known
        if (await aliases.taken(creation.conn, body.id)).is_alias:
            raise AlreadyExists(f"there is an alias {body.id!r}: a model needs a name of its own", param="id")
        try:
            row = await models.add(creation.conn, body.id, **{name: getattr(body, name) for name in models.LIMITS})
        except UniqueViolation as error:
            raise AlreadyExists(f"there is a model {body.id!r}; if it is retired, restore it", param="id") from error
        shape = ModelShape.of(row)
        await creation.changing.record("model.created", row.name, after=shape)
        await creation.keep(shape)
        return shape


@router.get("/platform/models/{model_id:path}", response_model=ModelShape)
async def get_platform_model(
    model_id: ModelId, response: Response, access: Annotated[Access, Depends(Needs("models.write"))]
) -> ModelShape:
    """One model."""
    async with access.transaction() as conn:
        row = _there(await models.find(conn, model_id))
    tell_version(response, row.version)
    return ModelShape.of(row)


@router.post("/platform/models/{model_id:path}/retire", response_model=ModelShape)
async def retire_model(
    model_id: ModelId,
    response: Response,
    access: Annotated[Access, Depends(Needs("models.write"))],
    if_match: IfMatch = None,
) -> ModelShape:
    """Take a model out of service: new requests for it are refused at once, its usage stays. Twice changes nothing."""
    return await _retire(access, model_id, response, if_match, retired=True)


@router.post("/platform/models/{model_id:path}/restore", response_model=ModelShape)
async def restore_model(
    model_id: ModelId,
    response: Response,
    access: Annotated[Access, Depends(Needs("models.write"))],
    if_match: IfMatch = None,
) -> ModelShape:
    """Take a retired model into service again, with the engines and prices that it has. Twice changes nothing."""
    return await _retire(access, model_id, response, if_match, retired=False)


async def _retire(access: Access, model_id: str, response: Response, if_match: str | None, *, retired: bool) -> ModelShape:
    async with changing(access) as change:
        before = await locked_model(change.conn, model_id)
        check_version(if_match, before.version)
        row = before
        if (before.retired_at is not None) != retired:
            row = await models.retire(change.conn, before.id, retired=retired)
            event = "model.retired" if retired else "model.restored"
            await change.record(event, row.name, before=ModelShape.of(before), after=ModelShape.of(row))
    tell_version(response, row.version)
    return ModelShape.of(row)


@router.post("/platform/models/{model_id:path}", response_model=ModelShape)
async def update_model(
    model_id: ModelId,
    body: ModelChange,
    response: Response,
    access: Annotated[Access, Depends(Needs("models.write"))],
    if_match: IfMatch = None,
) -> ModelShape:
    """Change a model's limits; routers follow at once."""
    async with changing(access) as change:
        before = await locked_model(change.conn, model_id)
        check_version(if_match, before.version)
        limits = {name: getattr(before, name) for name in models.LIMITS}
        for name in body.model_fields_set:
            if getattr(body, name) is not None or name == "media_tokens_max":
                limits[name] = getattr(body, name)
        row = await models.change(change.conn, before.id, **limits)
        await change.record("model.updated", row.name, before=ModelShape.of(before), after=ModelShape.of(row))
    tell_version(response, row.version)
    return ModelShape.of(row)


async def locked_model(conn: AsyncConnection, name: str, *, param: str = "model_id") -> ModelRow:
    """The model, until the transaction ends. Raises: NotFound."""
    return _there(await models.lock(conn, name), param)


async def known_model(conn: AsyncConnection, name: str, *, param: str = "model_id") -> ModelRow:
    """The model as it is. Raises: NotFound."""
    return _there(await models.find(conn, name), param)


def _there(row: ModelRow | None, param: str = "model_id") -> ModelRow:
    if row is None:
        raise NotFound("there is no such model; GET /v1/platform/models lists them", param=param)
    return row
