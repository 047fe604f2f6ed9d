"""`/v1/platform/volume_tiers`: what is used in a month above a quantity costs less. What has been in force is never changed."""

from typing import Annotated, Any, Literal

from fastapi import Depends, Path, Query, Request
from psycopg import AsyncConnection
from pydantic import BaseModel, ConfigDict, Field

from router.management import months
from router.management.access import Access, Needs
from router.management.changes import Conflict, IdempotencyKey, changing, creating
from router.management.fields import Reason
from router.management.models import NAME as MODEL
from router.management.models import locked_model
from router.management.months import BasisPoints, Month
from router.management.numbered_ids import number_of
from router.management.pages import Listed, Paged
from router.management.prices import organization_id
from router.routes import routes
from warehouse.access import volume_tiers
from warehouse.access.volume_tiers import VolumeTier
from warehouse.base.errors import NotFound

router = routes("volume tiers", "/platform/volume_tiers")
QUANTITY_MAX = 2**53 - 1  # a number that JSON readers keep exactly
TierId = Annotated[str, Path(pattern=r"^tier_[1-9][0-9]{0,8}$")]
TokenClass = Literal["input", "cached_input", "output", "reasoning", "request"]


class VolumeTierShape(BaseModel):
    """A tier, from its first until its last month, both whole; it is a line of its own of the invoice."""

    object: Literal["platform.volume_tier"] = "platform.volume_tier"
    id: str
    model: str
    organization: str | None = Field(description="Null: for everybody who has none of their own of this model and class.")
    token_class: TokenClass
    above_quantity: int = Field(description="Tokens, or requests, of a month; the tier ends where the next one begins.")
    basis_points: int
    first_month: str
    last_month: str | None
    reason: str
    created_at: int

    @classmethod
    def of(cls, row: VolumeTier) -> "VolumeTierShape":
        """The shape of a row."""
        return cls(
            id=f"tier_{row.id}",
            model=row.model,
            organization=row.organization,
            token_class=row.token_class,  # type: ignore[arg-type]  # the table's check has the same
            above_quantity=row.above_quantity,
            basis_points=row.basis_points,
            first_month=f"{row.first_month:%Y-%m}",
            last_month=months.shown(row.last_month),
            reason=row.reason,
            created_at=int(row.created_at.timestamp()),
        )


class VolumeTierBody(BaseModel):
    """A new tier."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True)
    model: str = Field(pattern=MODEL)
    organization: Annotated[str, Field(max_length=64)] | None = None
    token_class: TokenClass
    above_quantity: int = Field(ge=1, le=QUANTITY_MAX, strict=True)
    basis_points: BasisPoints
    first_month: Month
    last_month: Month | None = Field(default=None, description="As 2026-12, part of it; null: until it is ended.")
    reason: Reason
    confirm_change: bool = Field(default=False, description="That more than half is meant.")


class VolumeTierEnd(BaseModel):
    """When a tier ends."""

    model_config = ConfigDict(extra="forbid")
    last_month: Month | None = Field(default=None, description="As 2026-12, part of it; null: this month.")


class VolumeTierDeleted(BaseModel):
    """A tier that will not be."""

    object: Literal["platform.volume_tier.deleted"] = "platform.volume_tier.deleted"
    id: str
    deleted: Literal[True] = True


@router.get("", response_model=Listed[VolumeTierShape])
async def list_volume_tiers(
    access: Annotated[Access, Depends(Needs("prices.write"))],
    window: Paged,
    model: Annotated[str | None, Query(max_length=128)] = None,
    organization: Annotated[
        str | None, Query(max_length=64, description="An id, or `list` for those that are for everybody.")
    ] = None,
) -> Listed[VolumeTierShape]:
    """Tiers, the newest made first."""
    for_all = organization == "list"
    async with access.transaction() as conn:
        rows = await volume_tiers.page(
            conn, **window.numbered("tier"), model=model, organization=None if for_all else organization, for_all=for_all
        )
    return window.page([VolumeTierShape.of(row) for row in rows], [f"tier_{row.id}" for row in rows])


@router.get("/{tier_id}", response_model=VolumeTierShape)
async def get_volume_tier(tier_id: TierId, access: Annotated[Access, Depends(Needs("prices.write"))]) -> VolumeTierShape:
    """One tier. They are not edited, so they have no ETag."""
    async with access.transaction() as conn:
        return VolumeTierShape.of(_there(await volume_tiers.find(conn, number_of(tier_id, "tier", "tier_id"))))


@router.post("", response_model=VolumeTierShape)
async def create_volume_tier(
    body: VolumeTierBody,
    request: Request,
    access: Annotated[Access, Depends(Needs("prices.write"))],
    idempotency_key: IdempotencyKey = None,
) -> VolumeTierShape | dict[str, Any]:
    """A tier from a month on: this one, if the model and class have none there yet, or one to come.

    Raises: Conflict: the month is over, or there is another one.  ConfirmationNeeded: more than half.  NotFound.
    """
    async with creating(access, request, body, idempotency_key) as creation:
        if creation.known is not None:
            return creation.known
        conn = creation.conn
        model = await locked_model(conn, body.model, param="model")
        org_id = None if body.organization is None else await organization_id(conn, body.organization)
        this_month = await volume_tiers.this_month(conn, org_id)
        first, end = months.period(body.first_month, body.last_month, this_month)
        place = {"model_id": model.id, "org_id": org_id, "token_class": body.token_class}
        values = place | {"above_quantity": body.above_quantity, "first": first, "end": end}
        rival = await volume_tiers.rival(conn, **values)
        if rival is not None:
            raise Conflict(f"tier_{rival} has this quantity in some of the same months: end or delete it", param="above_quantity")
        there = await volume_tiers.in_month(conn, **place, month=this_month) if first == this_month else None
        if there is not None:
            raise Conflict(f"this month has tier_{there}, and {months.KEPT}: begin with the next", param="first_month")
        months.check_size(body.basis_points, confirmed=body.confirm_change)
        row = await volume_tiers.add(conn, **values, basis_points=body.basis_points, reason=body.reason)
        shape = VolumeTierShape.of(row)
        await creation.changing.record("volume_tier.created", shape.id, after=shape, org_id=org_id)
        await creation.keep(shape)
        return shape


@router.post("/{tier_id}/end", response_model=VolumeTierShape)
async def end_volume_tier(
    tier_id: TierId, body: VolumeTierEnd, access: Annotated[Access, Depends(Needs("prices.write"))]
) -> VolumeTierShape:
    """Let a tier end with this month, or a later one. Raises: Conflict: it ends by then, or has not begun."""
    async with changing(access) as change:
        row, org_id = await _found(change.conn, tier_id)
        this_month = await volume_tiers.this_month(change.conn, org_id)
        await volume_tiers.cut(change.conn, row.id, months.end_of(row.first_month, row.last_month, body.last_month, this_month))
        ended = VolumeTierShape.of(_there(await volume_tiers.find(change.conn, row.id)))
        await change.record("volume_tier.ended", tier_id, before=VolumeTierShape.of(row), after=ended, org_id=org_id)
    return ended


@router.delete("/{tier_id}", response_model=VolumeTierDeleted)
async def delete_volume_tier(tier_id: TierId, access: Annotated[Access, Depends(Needs("prices.write"))]) -> VolumeTierDeleted:
    """Take back a tier whose first month has not begun. Raises: Conflict: it has."""
    async with changing(access) as change:
        row, org_id = await _found(change.conn, tier_id)
        months.check_not_begun(row.first_month, await volume_tiers.this_month(change.conn, org_id), "tier_id")
        await volume_tiers.remove(change.conn, row.id)
        await change.record("volume_tier.deleted", tier_id, before=VolumeTierShape.of(row), org_id=org_id)
    return VolumeTierDeleted(id=tier_id)


async def _found(conn: AsyncConnection, tier_id: str) -> tuple[VolumeTier, int | None]:
    """A tier whose model is locked, and its organization. Raises: NotFound."""
    number = number_of(tier_id, "tier", "tier_id")
    await locked_model(conn, _there(await volume_tiers.find(conn, number)).model, param="model")
    row = _there(await volume_tiers.find(conn, number))
    return row, None if row.organization is None else await organization_id(conn, row.organization)


def _there(row: VolumeTier | None) -> VolumeTier:
    if row is None:
        raise NotFound("there is no such volume tier; GET /v1/platform/volume_tiers lists them", param="tier_id")
    return row
