"""`/v1/organization/limits`: how fast an organization or a part of it may use what it uses."""

from typing import Annotated, Any, Literal

from fastapi import Depends, Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from router.management.access import Access, Needs
from router.management.changes import IdempotencyKey, IfMatch, changing, check_version, creating, tell_version
from router.management.pages import Listed, Paged
from router.management.reach import NeedsSomewhere, Reach
from router.management.scopes import NOTE, OfKey, bare_key, check_room, resolve, shown_key
from router.routes import routes
from warehouse.access import limits
from warehouse.access.limits import Limit
from warehouse.base.errors import InvalidRequest, NotFound
from warehouse.base.ids import public_id

router = routes("limits", "/organization/limits")
RATE_MAX = 10**15  # a number that JSON readers keep exactly
Rate = Annotated[int, Field(ge=0, le=RATE_MAX, strict=True)] | None
Mode = Literal["hard", "shadow"]
LimitId = Annotated[str, Path(max_length=64)]
RATES = ("requests_per_minute", "input_tokens_per_minute", "output_tokens_per_minute", "requests_at_once")


class Rates(BaseModel):
    """Null is no bound; 0 lets nothing through."""

    requests_per_minute: Rate = None
    input_tokens_per_minute: Rate = None
    output_tokens_per_minute: Rate = None
    requests_at_once: Rate = None


class LimitShape(Rates):
    """A limit."""

    object: Literal["organization.limit"] = "organization.limit"
    id: str
    project_id: str | None
    api_key_id: str | None
    model: str | None
    mode: str
    created_at: int
    version: int

    @classmethod
    def of(cls, row: Limit) -> "LimitShape":
        """The shape of a row."""
        return cls(
            id=row.public_id,
            project_id=row.project,
            api_key_id=shown_key(row.api_key),
            model=row.model,
            mode=row.mode,
            created_at=int(row.created_at.timestamp()),
            version=row.version,
            **{rate: getattr(row, rate) for rate in RATES},
        )


class LimitBody(OfKey, Rates):
    """A new limit, with at least one rate."""

    model_config = ConfigDict(extra="forbid")
    mode: Mode = "hard"


class LimitChange(Rates):
    """What is left out stays, null takes a bound away. What a limit is about stays in any case: make another one."""

    model_config = ConfigDict(extra="forbid")
    mode: Mode | None = None


class LimitDeleted(BaseModel):
    """A limit that no longer counts."""

    object: Literal["organization.limit.deleted"] = "organization.limit.deleted"
    id: str
    deleted: Literal[True] = True


@router.get("", response_model=Listed[LimitShape])
async def list_limits(
    reach: Annotated[Reach, Depends(NeedsSomewhere("limits.read"))],
    window: Paged,
    *,
    project_id: Annotated[str | None, Query(max_length=64)] = None,
    api_key_id: Annotated[str | None, Query(max_length=64)] = None,
    model: Annotated[str | None, Query(max_length=128)] = None,
) -> Listed[LimitShape]:
    """Limits by age: all of them, or those of the caller's projects."""
    filters = {"project": project_id, "api_key": bare_key(api_key_id), "model": model}
    async with reach.access.transaction() as conn:
        rows = await limits.page(
            conn,
            reach.access.org.id,
            **await window.values(conn, "limits", org_id=reach.access.org.id),
            **filters,
            projects=reach.projects,
        )
    return window.page([LimitShape.of(row) for row in rows], [row.public_id for row in rows])


@router.post("", response_model=LimitShape, description=f"A new limit. {NOTE}")
async def create_limit(
    body: LimitBody,
    request: Request,
    access: Annotated[Access, Depends(Needs("limits.write"))],
    idempotency_key: IdempotencyKey = None,
) -> LimitShape | dict[str, Any]:
    """A new limit. Raises: InvalidRequest, NotFound: what it is about; `param` names the field.  Conflict: too many alike."""
    rates = _some({rate: getattr(body, rate) for rate in RATES})
    async with creating(access, request, body, idempotency_key) as creation:
        if creation.known is not None:
            return creation.known
        scope = await resolve(creation.conn, access.org.id, body)
        await check_room(creation.conn, access.org.id, "limits", scope)
        row = await limits.add(creation.conn, access.org.id, public_id("limit"), scope, mode=body.mode, **rates)
        shape = LimitShape.of(row)
        await creation.changing.record("limit.created", row.public_id, after=shape, project_id=row.home_project_id)
        await creation.keep(shape)
        return shape


@router.get("/{limit_id}", response_model=LimitShape)
async def get_limit(
    limit_id: LimitId, response: Response, reach: Annotated[Reach, Depends(NeedsSomewhere("limits.read"))]
) -> LimitShape:
    """One limit."""
    async with reach.access.transaction() as conn:
        row = _there(await limits.find(conn, reach.access.org.id, limit_id))
    reach.check(row.home_project_id)
    tell_version(response, row.version)
    return LimitShape.of(row)


@router.post("/{limit_id}", response_model=LimitShape, description=f"Change a limit. {NOTE}")
async def update_limit(
    limit_id: LimitId,
    body: LimitChange,
    response: Response,
    access: Annotated[Access, Depends(Needs("limits.write"))],
    if_match: IfMatch = None,
) -> LimitShape:
    """Change a limit. Raises: NotFound, VersionChanged, InvalidRequest (no rate would be left)."""
    async with changing(access) as change:
        before = _there(await limits.lock(change.conn, access.org.id, limit_id))
        check_version(if_match, before.version)
        rates = {rate: getattr(body if rate in body.model_fields_set else before, rate) for rate in RATES}
        row = await limits.change(change.conn, access.org.id, limit_id, mode=body.mode or before.mode, **_some(rates))
        was, now = LimitShape.of(before), LimitShape.of(row)
        await change.record("limit.updated", limit_id, before=was, after=now, project_id=row.home_project_id)
    tell_version(response, row.version)
    return now


@router.delete("/{limit_id}", response_model=LimitDeleted)
async def delete_limit(
    limit_id: LimitId, access: Annotated[Access, Depends(Needs("limits.write"))], if_match: IfMatch = None
) -> LimitDeleted:
    """Take a limit away; the audit log keeps what it was."""
    async with changing(access) as change:
        before = _there(await limits.lock(change.conn, access.org.id, limit_id))
        check_version(if_match, before.version)
        await limits.remove(change.conn, access.org.id, limit_id)
        await change.record("limit.deleted", limit_id, before=LimitShape.of(before), project_id=before.home_project_id)
    return LimitDeleted(id=limit_id)


def _some(rates: dict[str, int | None]) -> dict[str, int | None]:
    if all(rate is None for rate in rates.values()):
        raise InvalidRequest(f"a limit has at least one of {', '.join(RATES)}", param=RATES[0])
    return rates


def _there(row: Limit | None) -> Limit:
    if row is None:
        raise NotFound("there is no such limit in this organization", param="limit_id")
    return row
