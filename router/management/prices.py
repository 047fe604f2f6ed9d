"""`/v1/platform/prices`: the price book. A version closes the one before it; what has been in force is never changed."""

from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Path, Query, Request
from psycopg import AsyncConnection
from pydantic import BaseModel, ConfigDict, Field

from router.management.access import Access, Needs
from router.management.changes import Conflict, IdempotencyKey, changing, creating
from router.management.models import NAME as MODEL
from router.management.models import locked_model
from router.management.pages import Listed, Paged
from router.management.parameters import LAST_SECOND
from warehouse.access import prices
from warehouse.access.prices import PriceVersion
from warehouse.base.errors import InvalidRequest, NotFound
from warehouse.base.money import picousd_per_token, usd_per_million

router = APIRouter(prefix="/platform/prices", tags=["prices"])
PICOUSD_MAX = 10**12  # a token: one USD; the table's check has it too
PAST = "what has been in force is never changed: put in an adjustment for the past, and a version from now on"
Usd = Annotated[str, Field(pattern=r"^[0-9]{1,7}(\.[0-9]{1,6})?$", description="USD per million tokens, at most 6 decimals.")]
Organization = Annotated[str | None, Field(max_length=64, description="Whose own price it is; null: the list price.")]
Second = Annotated[int, Field(ge=0, le=LAST_SECOND, strict=True, description="Unix seconds.")]
PriceId = Annotated[str, Path(pattern=r"^price_[1-9][0-9]{0,8}$")]


class PriceShape(BaseModel):
    """One version; USD per million tokens as exact decimals."""

    object: Literal["platform.price"] = "platform.price"
    id: str
    model: str
    organization: str | None
    input_usd_per_million: str
    cached_input_usd_per_million: str
    output_usd_per_million: str
    effective_from: int
    effective_until: int | None
    reason: str
    created_at: int

    @classmethod
    def of(cls, row: PriceVersion) -> "PriceShape":
        """The shape of a row."""
        return cls(
            id=f"price_{row.id}",
            model=row.model,
            organization=row.organization,
            input_usd_per_million=usd_per_million(row.input_picousd),
            cached_input_usd_per_million=usd_per_million(row.cached_input_picousd),
            output_usd_per_million=usd_per_million(row.output_picousd),
            effective_from=int(row.effective_from.timestamp()),
            effective_until=int(row.effective_until.timestamp()) if row.effective_until else None,
            reason=row.reason,
            created_at=int(row.created_at.timestamp()),
        )


class PriceBody(BaseModel):
    """A new version."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True)
    model: str = Field(pattern=MODEL)
    organization: Organization = None
    input_usd_per_million: Usd
    cached_input_usd_per_million: Usd
    output_usd_per_million: Usd
    effective_from: Second | None = Field(default=None, description="Null: from now on.")
    effective_until: Second | None = Field(
        default=None, description="Only for an organization's own price: then the list price is in force again."
    )
    reason: str = Field(min_length=1, max_length=500, pattern=r"^[^\x00]+$")


class PriceDeleted(BaseModel):
    """A version that will not be."""

    object: Literal["platform.price.deleted"] = "platform.price.deleted"
    id: str
    deleted: Literal[True] = True


@router.get("", response_model=Listed[PriceShape])
async def list_prices(
    access: Annotated[Access, Depends(Needs("prices.write"))],
    window: Paged,
    model: Annotated[str | None, Query(max_length=128)] = None,
    organization: Annotated[str | None, Query(max_length=64, description="An id, or `list` for list prices only.")] = None,
    at: Annotated[int | None, Query(ge=0, le=LAST_SECOND, description="Only what is in force then, Unix seconds.")] = None,
) -> Listed[PriceShape]:
    """Versions, the newest made first."""
    values = window.values | {"after": _number(window.after, "after") if window.after else None}
    async with access.transaction() as conn:
        rows = await prices.page(
            conn,
            **values,
            model=model,
            organization=None if organization == "list" else organization,
            list_only=organization == "list",
            at=None if at is None else datetime.fromtimestamp(at, UTC),
        )
    return window.page([PriceShape.of(row) for row in rows], [f"price_{row.id}" for row in rows])


@router.get("/{price_id}", response_model=PriceShape)
async def get_price(price_id: PriceId, access: Annotated[Access, Depends(Needs("prices.write"))]) -> PriceShape:
    """One version. Versions are not edited, so they have no ETag."""
    async with access.transaction() as conn:
        return PriceShape.of(_there(await prices.find(conn, _number(price_id, "price_id"))))


@router.post("", response_model=PriceShape)
async def create_price(
    body: PriceBody,
    request: Request,
    access: Annotated[Access, Depends(Needs("prices.write"))],
    idempotency_key: IdempotencyKey = None,
) -> PriceShape | dict[str, Any]:
    """A version from an instant on: the one in force then ends there, one that is to come later stays.

    Raises: Conflict: the instant is past, or a version starts there.  NotFound: no such model or organization.
    """
    picousd = {
        name: _picousd(getattr(body, name.replace("_picousd", "_usd_per_million")), name)
        for name in ("input_picousd", "cached_input_picousd", "output_picousd")
    }
    async with creating(access, request, body, idempotency_key) as creation:
        if creation.known is not None:
            return creation.known
        conn = creation.conn
        model = await locked_model(conn, body.model, param="model")
        org_id = None if body.organization is None else await _organization(conn, body.organization)
        start, end = await _range(conn, body, model.id, org_id)
        closed = await prices.close(conn, model.id, org_id, start)
        row = await prices.add(conn, model.id, org_id, **picousd, effective_from=start, effective_until=end, reason=body.reason)
        shape = PriceShape.of(row)
        before = None if closed is None else {"closed": f"price_{closed}"}
        await creation.changing.record("price.created", shape.id, before=before, after=shape, org_id=org_id)
        await creation.keep(shape)
        return shape


@router.delete("/{price_id}", response_model=PriceDeleted)
async def delete_price(
    price_id: PriceId,
    access: Annotated[Access, Depends(Needs("prices.write"))],
    extend_before: Annotated[
        bool, Query(description="Whether an organization's version that ends where this one starts goes on in its place.")
    ] = True,
) -> PriceDeleted:
    """Take back a version that is not in force yet; the list price before it goes on, so that there is never a gap.

    Raises: Conflict: it is in force or past.
    """
    async with changing(access) as change:
        row = _there(await prices.find(change.conn, _number(price_id, "price_id")))
        model = await locked_model(change.conn, row.model, param="model")
        row = _there(await prices.find(change.conn, row.id))
        if row.effective_from <= await prices.now(change.conn):
            raise Conflict(PAST, param="price_id")
        org_id = None if row.organization is None else await _organization(change.conn, row.organization)
        await prices.remove(change.conn, row.id)
        if org_id is None or extend_before:
            await prices.reopen(change.conn, model.id, org_id, row.effective_from, row.effective_until)
        await change.record("price.deleted", price_id, before=PriceShape.of(row), org_id=org_id)
    return PriceDeleted(id=price_id)


async def _range(conn: AsyncConnection, body: PriceBody, model_id: int, org_id: int | None) -> tuple[datetime, datetime | None]:
    """From when until when the version is in force. Raises: Conflict, InvalidRequest."""
    now = await prices.now(conn)
    start = now if body.effective_from is None else datetime.fromtimestamp(body.effective_from, UTC)
    if start < now.replace(microsecond=0):
        raise Conflict(PAST, param="effective_from")
    start = max(start, now)
    if await prices.starts_at(conn, model_id, org_id, start) is not None:
        raise Conflict("a version starts at this instant: delete that one first", param="effective_from")
    following = await prices.next_start(conn, model_id, org_id, start)
    if body.effective_until is None:
        return start, following
    end = datetime.fromtimestamp(body.effective_until, UTC)
    if org_id is None:
        raise InvalidRequest("a list price ends only where the next one begins", param="effective_until")
    if end <= start:
        raise InvalidRequest("it must be after effective_from", param="effective_until")
    if following is not None and end > following:
        raise Conflict("the next version begins before that", param="effective_until")
    return start, end


async def _organization(conn: AsyncConnection, public_id: str) -> int:
    org_id = await prices.find_organization(conn, public_id)
    if org_id is None:
        raise NotFound("there is no such organization", param="organization")
    return org_id


def _picousd(text: str, name: str) -> int:
    picousd = picousd_per_token(text)
    if picousd > PICOUSD_MAX:
        raise InvalidRequest(
            f"a price is at most {usd_per_million(PICOUSD_MAX)} USD per million tokens",
            param=name.replace("_picousd", "_usd_per_million"),
        )
    return picousd


def _number(price_id: str, param: str) -> int:
    number = price_id.removeprefix("price_")
    if not number.isascii() or not number.isdigit() or len(number) > 9:
        raise InvalidRequest("ids of prices look like price_12", param=param)
    return int(number)


def _there(row: PriceVersion | None) -> PriceVersion:
    if row is None:
        raise NotFound("there is no such price version; GET /v1/platform/prices lists them", param="price_id")
    return row
