"""`/v1/platform/discounts`: what an organization does not pay of whole months. Months that have begun keep what they have."""

from typing import Annotated, Any, Literal

from fastapi import Depends, Path, Query, Request
from psycopg import AsyncConnection
from pydantic import BaseModel, ConfigDict, Field

from router.management import months
from router.management.access import Access, Needs
from router.management.changes import Conflict, IdempotencyKey, changing, creating
from router.management.fields import Reason
from router.management.models import NAME as MODEL
from router.management.models import known_model
from router.management.months import BasisPoints, Month
from router.management.numbered_ids import number_of
from router.management.pages import Listed, Paged
from router.routes import routes
from warehouse.access import discounts, organizations, volume_tiers
from warehouse.access.discounts import Discount
from warehouse.base.errors import NotFound

router = routes("discounts", "/platform/discounts")
DiscountId = Annotated[str, Path(pattern=r"^discount_[1-9][0-9]{0,8}$")]


class DiscountShape(BaseModel):
    """A discount, from its first until its last month, both whole; it is a line of its own of the invoice."""

    object: Literal["platform.discount"] = "platform.discount"
    id: str
    organization: str
    model: str | None = Field(description="Null: of all models that have none of their own.")
    basis_points: int
    first_month: str
    last_month: str | None
    reason: str
    created_at: int

    @classmethod
    def of(cls, row: Discount) -> "DiscountShape":
        """The shape of a row."""
        return cls(
            id=f"discount_{row.id}",
            organization=row.organization,
            model=row.model,
            basis_points=row.basis_points,
            first_month=f"{row.first_month:%Y-%m}",
            last_month=months.shown(row.last_month),
            reason=row.reason,
            created_at=int(row.created_at.timestamp()),
        )


class DiscountBody(BaseModel):
    """A new discount."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True)
    organization: str = Field(max_length=64)
    model: Annotated[str, Field(pattern=MODEL)] | None = Field(default=None, description="Null: all that have none of their own.")
    basis_points: BasisPoints
    first_month: Month
    last_month: Month | None = Field(default=None, description="As 2026-12, part of it; null: until it is ended.")
    reason: Reason
    confirm_change: bool = Field(default=False, description="That more than half is meant.")


class DiscountEnd(BaseModel):
    """When a discount ends."""

    model_config = ConfigDict(extra="forbid")
    last_month: Month | None = Field(default=None, description="As 2026-12, part of it; null: this month.")


class DiscountDeleted(BaseModel):
    """A discount that will not be."""

    object: Literal["platform.discount.deleted"] = "platform.discount.deleted"
    id: str
    deleted: Literal[True] = True


@router.get("", response_model=Listed[DiscountShape])
async def list_discounts(
    access: Annotated[Access, Depends(Needs("prices.write"))],
    window: Paged,
    organization: Annotated[str | None, Query(max_length=64)] = None,
    model: Annotated[str | None, Query(max_length=128, description="Only those of this model itself.")] = None,
) -> Listed[DiscountShape]:
    """Discounts, the newest made first."""
    async with access.transaction() as conn:
        rows = await discounts.page(conn, **window.numbered("discount"), organization=organization, model=model)
    return window.page([DiscountShape.of(row) for row in rows], [f"discount_{row.id}" for row in rows])


@router.get("/{discount_id}", response_model=DiscountShape)
async def get_discount(discount_id: DiscountId, access: Annotated[Access, Depends(Needs("prices.write"))]) -> DiscountShape:
    """One discount. They are not edited, so they have no ETag."""
    async with access.transaction() as conn:
        return DiscountShape.of(_there(await discounts.find(conn, number_of(discount_id, "discount", "discount_id"))))


@router.post("", response_model=DiscountShape)
async def create_discount(
    body: DiscountBody,
    request: Request,
    access: Annotated[Access, Depends(Needs("prices.write"))],
    idempotency_key: IdempotencyKey = None,
) -> DiscountShape | dict[str, Any]:
    """A discount from a month on: this one, if nothing of the kind is in force there yet, or one to come.

    Raises: Conflict: the month is over, or there is another one.  ConfirmationNeeded: more than half.  NotFound.
    """
    async with creating(access, request, body, idempotency_key) as creation:
        if creation.known is not None:
            return creation.known
        conn = creation.conn
        org_id = await _locked(conn, body.organization)
        model_id = None if body.model is None else (await known_model(conn, body.model, param="model")).id
        this_month = await volume_tiers.this_month(conn, org_id)
        first, end = months.period(body.first_month, body.last_month, this_month)
        rival = await discounts.rival(conn, org_id, model_id, first, end)
        if rival is not None:
            raise Conflict(f"discount_{rival} is for some of the same months: end or delete it first", param="first_month")
        there = await discounts.in_month(conn, org_id, model_id, this_month) if first == this_month else None
        if there is not None:
            raise Conflict(f"this month has discount_{there}, and {months.KEPT}: begin with the next", param="first_month")
        months.check_size(body.basis_points, confirmed=body.confirm_change)
        values = {"basis_points": body.basis_points, "first": first, "end": end, "reason": body.reason}
        shape = DiscountShape.of(await discounts.add(conn, org_id=org_id, model_id=model_id, **values))
        await creation.changing.record("discount.created", shape.id, after=shape, org_id=org_id)
        await creation.keep(shape)
        return shape


@router.post("/{discount_id}/end", response_model=DiscountShape)
async def end_discount(
    discount_id: DiscountId, body: DiscountEnd, access: Annotated[Access, Depends(Needs("prices.write"))]
) -> DiscountShape:
    """Let a discount end with this month, or a later one. Raises: Conflict: it ends by then, or has not begun."""
    async with changing(access) as change:
        row, org_id = await _found(change.conn, discount_id)
        this_month = await volume_tiers.this_month(change.conn, org_id)
        await discounts.cut(change.conn, row.id, months.end_of(row.first_month, row.last_month, body.last_month, this_month))
        ended = DiscountShape.of(_there(await discounts.find(change.conn, row.id)))
        await change.record("discount.ended", discount_id, before=DiscountShape.of(row), after=ended, org_id=org_id)
    return ended


@router.delete("/{discount_id}", response_model=DiscountDeleted)
async def delete_discount(discount_id: DiscountId, access: Annotated[Access, Depends(Needs("prices.write"))]) -> DiscountDeleted:
    """Take back a discount whose first month has not begun. Raises: Conflict: it has."""
    async with changing(access) as change:
        row, org_id = await _found(change.conn, discount_id)
        months.check_not_begun(row.first_month, await volume_tiers.this_month(change.conn, org_id), "discount_id")
        await discounts.remove(change.conn, row.id)
        await change.record("discount.deleted", discount_id, before=DiscountShape.of(row), org_id=org_id)
    return DiscountDeleted(id=discount_id)


async def _found(conn: AsyncConnection, discount_id: str) -> tuple[Discount, int]:
    """A discount and its organization, which is locked. Raises: NotFound."""
    number = number_of(discount_id, "discount", "discount_id")
    org_id = await _locked(conn, _there(await discounts.find(conn, number)).organization)
    return _there(await discounts.find(conn, number)), org_id


async def _locked(conn: AsyncConnection, public_id: str) -> int:
    """The internal id of an organization, whose discounts change in this transaction only. Raises: NotFound."""
    organization = await organizations.lock(conn, public_id)
    if organization is None:
        raise NotFound("there is no such organization", param="organization")
    return organization.id


def _there(row: Discount | None) -> Discount:
    if row is None:
        raise NotFound("there is no such discount; GET /v1/platform/discounts lists them", param="discount_id")
    return row
