"""Aliases: names that stand for models, of everybody (`/v1/platform/aliases`) or of one organization (`/v1/organization/…`)."""

from typing import Annotated, Any, Literal

from fastapi import Depends, Path, Request, Response
from psycopg import AsyncConnection
from psycopg.errors import UniqueViolation
from pydantic import BaseModel, ConfigDict, Field

from router.management.access import Access, Needs
from router.management.changes import (
    AlreadyExists,
    Conflict,
    IdempotencyKey,
    IfMatch,
    changing,
    check_version,
    creating,
    tell_version,
)
from router.management.models import NAME
from router.management.pages import Listed, Paged
from router.routes import routes
from warehouse.access import aliases
from warehouse.access.aliases import AliasRow, Stages
from warehouse.base.errors import InvalidRequest, NotFound
from warehouse.base.ids import public_id

router = routes("aliases")
ALIASES_MAX = 500
STAGES_MAX = 5
STAGE_MODELS_MAX = 20
WEIGHT_MAX = 1000
AliasId = Annotated[str, Path(max_length=64, pattern=r"^[0-9A-Za-z_]+$")]


class AliasModel(BaseModel):
    """A model, and its share of the requests that reach its stage; 0 takes it out without taking it away."""

    model_config = ConfigDict(extra="forbid")
    model: str = Field(pattern=NAME)
    weight: int = Field(default=1, ge=0, le=WEIGHT_MAX, strict=True)


StageList = Annotated[
    list[Annotated[list[AliasModel], Field(min_length=1, max_length=STAGE_MODELS_MAX)]],
    Field(
        min_length=1,
        max_length=STAGES_MAX,
        description="A request goes to a model of the first stage, by weight; the rest are for when it cannot answer.",
    ),
]


class AliasBody(BaseModel):
    """A new alias."""

    model_config = ConfigDict(extra="forbid")
    name: str = Field(pattern=NAME)
    stages: StageList


class AliasChange(BaseModel):
    """Other stages, all of them; the name stays."""

    model_config = ConfigDict(extra="forbid")
    stages: StageList


class AliasShape(BaseModel):
    """An alias."""

    object: Literal["model.alias"] = "model.alias"
    id: str
    name: str
    stages: list[list[AliasModel]]
    created_at: int
    version: int

    @classmethod
    def of(cls, row: AliasRow) -> "AliasShape":
        """The shape of a row."""
        return cls(
            id=row.public_id,
            name=row.name,
            stages=[[AliasModel(**entry) for entry in stage] for stage in row.stages],
            created_at=int(row.created_at.timestamp()),
            version=row.version,
        )


class AliasDeleted(BaseModel):
    """An alias that stands for nothing any more."""

    object: Literal["model.alias.deleted"] = "model.alias.deleted"
    id: str
    deleted: Literal[True] = True


OfOrganization = Annotated[Access, Depends(Needs("aliases.write"))]
ReadOfOrganization = Annotated[Access, Depends(Needs("models.read"))]
OfPlatform = Annotated[Access, Depends(Needs("models.write"))]


@router.get("/organization/aliases", response_model=Listed[AliasShape])
async def list_aliases(access: ReadOfOrganization, window: Paged) -> Listed[AliasShape]:
    """The organization's own aliases by age. They come before everybody's of the same name."""
    return await _list(access, window)


@router.post("/organization/aliases", response_model=AliasShape)
async def create_alias(
    body: AliasBody, request: Request, access: OfOrganization, idempotency_key: IdempotencyKey = None
) -> AliasShape | dict[str, Any]:
    """A new alias of this organization. Raises: AlreadyExists, InvalidRequest, NotFound (a model), Conflict (too many)."""
    return await _create(access, body, request, idempotency_key)


@router.get("/organization/aliases/{alias_id}", response_model=AliasShape)
async def get_alias(alias_id: AliasId, response: Response, access: ReadOfOrganization) -> AliasShape:
    """One alias."""
    return await _get(access, alias_id, response)


@router.post("/organization/aliases/{alias_id}", response_model=AliasShape)
async def update_alias(
    alias_id: AliasId, body: AliasChange, response: Response, access: OfOrganization, if_match: IfMatch = None
) -> AliasShape:
    """Other models behind a name; routers follow at once."""
    return await _update(access, alias_id, body, response, if_match)


@router.delete("/organization/aliases/{alias_id}", response_model=AliasDeleted)
async def delete_alias(alias_id: AliasId, access: OfOrganization, if_match: IfMatch = None) -> AliasDeleted:
    """Take an alias away: requests for it are refused at once."""
    return await _delete(access, alias_id, if_match)


@router.get("/platform/aliases", response_model=Listed[AliasShape])
async def list_platform_aliases(access: OfPlatform, window: Paged) -> Listed[AliasShape]:
    """Everybody's aliases by age."""
    return await _list(access, window)


@router.post("/platform/aliases", response_model=AliasShape)
async def create_platform_alias(
    body: AliasBody, request: Request, access: OfPlatform, idempotency_key: IdempotencyKey = None
) -> AliasShape | dict[str, Any]:
    """A new alias for everybody. Raises: AlreadyExists, InvalidRequest, NotFound (a model)."""
    return await _create(access, body, request, idempotency_key)


@router.get("/platform/aliases/{alias_id}", response_model=AliasShape)
async def get_platform_alias(alias_id: AliasId, response: Response, access: OfPlatform) -> AliasShape:
    """One of everybody's aliases."""
    return await _get(access, alias_id, response)


@router.post("/platform/aliases/{alias_id}", response_model=AliasShape)
async def update_platform_alias(
    alias_id: AliasId, body: AliasChange, response: Response, access: OfPlatform, if_match: IfMatch = None
) -> AliasShape:
    """Other models behind a name; routers follow at once."""
    return await _update(access, alias_id, body, response, if_match)


@router.delete("/platform/aliases/{alias_id}", response_model=AliasDeleted)
async def delete_platform_alias(alias_id: AliasId, access: OfPlatform, if_match: IfMatch = None) -> AliasDeleted:
    """Take an alias away: requests for it are refused at once, where an organization has none of its own."""
    return await _delete(access, alias_id, if_match)


async def _list(access: Access, window: Paged) -> Listed[AliasShape]:
    async with access.transaction() as conn:
        rows = await aliases.page(conn, _org_id(access), **await window.values(conn, "aliases", org_id=_org_id(access)))
    return window.page([AliasShape.of(row) for row in rows], [row.public_id for row in rows])


async def _create(access: Access, body: AliasBody, request: Request, key: str | None) -> AliasShape | dict[str, Any]:
    async with creating(access, request, body, key) as creation:
        if creation.known is not None:
            return creation.known
        if (await aliases.taken(creation.conn, body.name)).is_model:
            raise AlreadyExists(f"there is a model {body.name!r}; an alias needs a name of its own", param="name")
        if await aliases.count(creation.conn, _org_id(access)) >= ALIASES_MAX:
            raise Conflict(f"there are {ALIASES_MAX} aliases here, which is the most: delete one first")
        stages = await _checked(creation.conn, body.stages)
        try:
            row = await aliases.add(creation.conn, _org_id(access), public_id("alias"), body.name, stages)
        except UniqueViolation as error:
            raise AlreadyExists(f"there is an alias {body.name!r}", param="name") from error
        shape = AliasShape.of(row)
        await creation.changing.record("alias.created", row.public_id, after=shape)
        await creation.keep(shape)
        return shape


async def _get(access: Access, alias_id: str, response: Response) -> AliasShape:
    async with access.transaction() as conn:
        row = _there(await aliases.find(conn, _org_id(access), alias_id))
    tell_version(response, row.version)
    return AliasShape.of(row)


async def _update(access: Access, alias_id: str, body: AliasChange, response: Response, if_match: str | None) -> AliasShape:
    async with changing(access) as change:
        before = _there(await aliases.lock(change.conn, _org_id(access), alias_id))
        check_version(if_match, before.version)
        row = await aliases.change(change.conn, _org_id(access), before, await _checked(change.conn, body.stages))
        was, now = AliasShape.of(before), AliasShape.of(row)
        await change.record("alias.updated", alias_id, before=was, after=now)
    tell_version(response, row.version)
    return now


async def _delete(access: Access, alias_id: str, if_match: str | None) -> AliasDeleted:
    async with changing(access) as change:
        before = _there(await aliases.lock(change.conn, _org_id(access), alias_id))
        check_version(if_match, before.version)
        await aliases.remove(change.conn, before)
        await change.record("alias.deleted", alias_id, before=AliasShape.of(before))
    return AliasDeleted(id=alias_id)


async def _checked(conn: AsyncConnection, stages: list[list[AliasModel]]) -> Stages:
    """The stages as they are stored. An alias stands for models, never for aliases, so that none can end in itself.

    Raises: InvalidRequest: a model twice in a stage, or a stage in which nothing has a weight.  NotFound: no such model.
    """
    known = await aliases.in_service(conn, {entry.model for stage in stages for entry in stage})
    for number, stage in enumerate(stages):
        names = [entry.model for entry in stage]
        if missing := [name for name in names if name not in known]:
            raise NotFound(
                f"there is no model {missing[0]!r} in service; an alias stands for models, not for aliases", param="stages"
            )
        if len(set(names)) != len(names):
            raise InvalidRequest(f"stage {number} has a model twice", param="stages")
        if not any(entry.weight for entry in stage):
            raise InvalidRequest(f"in stage {number} every weight is 0: nothing could be chosen", param="stages")
    return [[entry.model_dump() for entry in stage] for stage in stages]


def _org_id(access: Access) -> int | None:
    """None on the platform's routes."""
    return access.organization.id if access.organization else None


def _there(row: AliasRow | None) -> AliasRow:
    if row is None:
        raise NotFound("there is no such alias here", param="alias_id")
    return row
