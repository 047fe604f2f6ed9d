"""`/v1/platform/prices`: the price book. A version closes the one before it; what has been in force is never changed."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

from fastapi import Depends, Path, Query, Request
from psycopg import AsyncConnection
from psycopg.errors import QueryCanceled
from pydantic import BaseModel, ConfigDict, Field

from router.inference.shapes import SHAPES
from router.management import price_changes
from router.management.access import Access, Needs
from router.management.changes import Conflict, IdempotencyKey, changing, creating
from router.management.fields import Reason
from router.management.models import NAME as MODEL
from router.management.models import known_model, locked_model
from router.management.numbered_ids import number_of
from router.management.pages import Listed, Paged
from router.management.parameters import LAST_SECOND
from router.management.price_changes import PRICES, PriceChange, field_of, percent, shown
from router.routes import routes
from warehouse.access import prices, principals
from warehouse.access.prices import Place, PriceVersion
from warehouse.base.errors import InvalidRequest, NotFound
from warehouse.base.money import picousd, picousd_per_token, usd, usd_per_million

router = routes("prices", "/platform")
PICOUSD_MAX = 10**12  # a token: one USD; the table's check has it too
REQUEST_PICOUSD_MAX = 10**15  # a request: a thousand USD; as above
PRIORITY_MAX = 1000
PREVIEW_DAYS = 30
PREVIEW_S_MAX = 20.0  # for which the usage before is summed up; beyond it a preview has everything else
ENDPOINTS = frozenset(shape.endpoint for shape in SHAPES.values())
PAST = "what has been in force is never changed: put in an adjustment for the past, and a version from now on"
Usd = Annotated[str, Field(pattern=r"^[0-9]{1,7}(\.[0-9]{1,6})?$", description="USD per million tokens, at most 6 decimals.")]
UsdRequest = Annotated[
    str, Field(pattern=r"^[0-9]{1,4}(\.[0-9]{1,12})?$", description="USD for each request that is charged, at most 12 decimals.")
]
Organization = Annotated[str | None, Field(max_length=64, description="Whose own price it is; null: the list price.")]
Second = Annotated[int, Field(ge=0, le=LAST_SECOND, strict=True, description="Unix seconds.")]
PriceId = Annotated[str, Path(pattern=r"^price_[1-9][0-9]{0,8}$")]
Tokens = Annotated[int, Field(ge=0, le=2**31 - 2, strict=True)]
TagName = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[^\x00]+$")]
TagValue = Annotated[str, Field(max_length=256, pattern=r"^[^\x00]*$")]


class PriceShape(BaseModel):
    """One version; USD as exact decimals, per million tokens and per request."""

    object: Literal["platform.price"] = "platform.price"
    id: str
    model: str
    organization: str | None
    currency: Literal["USD"] = "USD"
    input_usd_per_million: str
    cached_input_usd_per_million: str
    output_usd_per_million: str
    reasoning_usd_per_million: str | None = Field(description="Null: as any other output token.")
    request_usd: str
    priority: int
    endpoint: str | None
    input_tokens_from: int
    input_tokens_until: int | None
    tags: dict[str, str]
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
            reasoning_usd_per_million=None if row.reasoning_picousd is None else usd_per_million(row.reasoning_picousd),
            request_usd=usd(row.request_picousd),
            priority=row.priority,
            endpoint=row.endpoint,
            input_tokens_from=row.input_tokens_from,
            input_tokens_until=row.input_tokens_until,
            tags=row.tags,
            effective_from=int(row.effective_from.timestamp()),
            effective_until=int(row.effective_until.timestamp()) if row.effective_until else None,
            reason=row.reason,
            created_at=int(row.created_at.timestamp()),
        )


class PriceProposal(BaseModel):
    """A version that may be made. Of those whose conditions a request meets, the highest priority prices it."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True)
    model: str = Field(pattern=MODEL)
    organization: Organization = None
    currency: str = Field(default="USD", max_length=8, description="USD: the price book has no other.")
    input_usd_per_million: Usd
    cached_input_usd_per_million: Usd
    output_usd_per_million: Usd
    reasoning_usd_per_million: Usd | None = Field(default=None, description="Null: as any other output token.")
    request_usd: UsdRequest = "0"
    priority: Annotated[int, Field(ge=0, le=PRIORITY_MAX, strict=True)] = Field(
        default=0, description="0 without a condition, 1 or more with one."
    )
    endpoint: Annotated[str, Field(max_length=32)] | None = Field(
        default=None, description="Only requests of this one, as `rerank` or `chat.completions`."
    )
    input_tokens_from: Tokens = Field(default=0, description="Only requests with so many input tokens.")
    input_tokens_until: Tokens | None = Field(default=None, description="Only requests with fewer.")
    tags: dict[TagName, TagValue] = Field(
        default_factory=dict, max_length=16, description="Only requests that carry all of these, as `service: batch`."
    )
    effective_from: Second | None = Field(default=None, description="Null: from now on.")
    effective_until: Second | None = Field(
        default=None, description="Not for a list price without a condition: it ends only where the next one begins."
    )

    @property
    def has_condition(self) -> bool:
        """Whether it is not for every request."""
        return bool(self.endpoint is not None or self.input_tokens_from or self.input_tokens_until is not None or self.tags)


class PriceBody(PriceProposal):
    """A new version."""

    reason: Reason
    confirm_change: bool = Field(default=False, description="That a price of 0 or a large change is meant.")


class PriceEnd(BaseModel):
    """When a version ends."""

    model_config = ConfigDict(extra="forbid")
    effective_until: Second | None = Field(default=None, description="Null: now.")


class PriceDeleted(BaseModel):
    """A version that will not be."""

    object: Literal["platform.price.deleted"] = "platform.price.deleted"
    id: str
    deleted: Literal[True] = True


class RepricedShape(BaseModel):
    """The charged usage that the version would have priced: USD as exact decimals."""

    since: int
    usage_rows: int
    cost_usd: str = Field(description="As it was charged.")
    cost_usd_then: str = Field(description="At the new prices.")
    percent: str | None = Field(description="Of cost_usd, to two decimals; null where that is 0.")


class PricePreview(BaseModel):
    """What a version would do. Nothing was changed."""

    object: Literal["platform.price_preview"] = "platform.price_preview"
    effective_from: int
    effective_until: int | None
    closes: str | None = Field(description="The version that would end there.")
    compared_with: str | None = Field(description="The version that prices such requests until then; null: none does.")
    changes: list[PriceChange]
    needs_confirmation: bool
    usage: RepricedShape | None = Field(description="Of the last 30 days; null where it is too much to be summed up in time.")


@dataclass(frozen=True, slots=True)
class _Plan:
    """A version that may be made, as the book is."""

    place: Place
    picousd: dict[str, int | None]
    start: datetime
    end: datetime | None
    closes: PriceVersion | None
    base: PriceVersion | None
    changes: list[PriceChange]


@router.get("/prices", response_model=Listed[PriceShape])
async def list_prices(
    access: Annotated[Access, Depends(Needs("prices.write"))],
    window: Paged,
    model: Annotated[str | None, Query(max_length=128)] = None,
    organization: Annotated[str | None, Query(max_length=64, description="An id, or `list` for list prices only.")] = None,
    at: Annotated[int | None, Query(ge=0, le=LAST_SECOND, description="Only what is in force then, Unix seconds.")] = None,
) -> Listed[PriceShape]:
    """Versions, the newest made first."""
    async with access.transaction() as conn:
        rows = await prices.page(
            conn,
            **window.numbered("price"),
            model=model,
            organization=None if organization == "list" else organization,
            list_only=organization == "list",
            at=None if at is None else datetime.fromtimestamp(at, UTC),
        )
    return window.page([PriceShape.of(row) for row in rows], [f"price_{row.id}" for row in rows])


@router.get("/prices/{price_id}", response_model=PriceShape)
async def get_price(price_id: PriceId, access: Annotated[Access, Depends(Needs("prices.write"))]) -> PriceShape:
    """One version. Versions are not edited, so they have no ETag."""
    async with access.transaction() as conn:
        return PriceShape.of(_there(await prices.find(conn, number_of(price_id, "price", "price_id"))))


@router.post("/price_previews", response_model=PricePreview)
async def preview_price(body: PriceProposal, access: Annotated[Access, Depends(Needs("prices.write"))]) -> PricePreview:
    """What a version would close and change, and what the usage of the last 30 days would have cost. Changes nothing.

    Raises: as create_price, but for a change that needs a confirmation.
    """
    async with access.transaction() as conn:
        plan = await _plan(conn, body, (await known_model(conn, body.model, param="model")).id)
        usage = await _usage(conn, plan)
    return PricePreview(
        effective_from=int(plan.start.timestamp()),
        effective_until=None if plan.end is None else int(plan.end.timestamp()),
        closes=None if plan.closes is None else f"price_{plan.closes.id}",
        compared_with=None if plan.base is None else f"price_{plan.base.id}",
        changes=plan.changes,
        needs_confirmation=any(change.needs_confirmation for change in plan.changes),
        usage=usage,
    )


@router.post("/prices", response_model=PriceShape)
async def create_price(
    body: PriceBody,
    request: Request,
    access: Annotated[Access, Depends(Needs("prices.write"))],
    idempotency_key: IdempotencyKey = None,
) -> PriceShape | dict[str, Any]:
    """A version from an instant on: the one of the same conditions in force then ends there, one that is to come later stays.

    Raises: Conflict: the instant is past, a version starts there, or the priority does not decide between it and another one.
    ConfirmationNeeded: a price of 0, or a large change.  NotFound: no such model or organization.
    """
    async with creating(access, request, body, idempotency_key) as creation:
        if creation.known is not None:
            return creation.known
        conn = creation.conn
        plan = await _plan(conn, body, (await locked_model(conn, body.model, param="model")).id)
        if not body.confirm_change:
            price_changes.check(plan.changes)
        if plan.closes is not None:
            await prices.cut(conn, plan.closes.id, plan.start)
        row = await prices.add(
            conn, plan.place, **plan.picousd, effective_from=plan.start, effective_until=plan.end, reason=body.reason
        )
        shape = PriceShape.of(row)
        before = None if plan.closes is None else {"closed": f"price_{plan.closes.id}"}
        await creation.changing.record("price.created", shape.id, before=before, after=shape, org_id=plan.place.org_id)
        await creation.keep(shape)
        return shape


@router.post("/prices/{price_id}/end", response_model=PriceShape)
async def end_price(price_id: PriceId, body: PriceEnd, access: Annotated[Access, Depends(Needs("prices.write"))]) -> PriceShape:
    """Let a version end: what is behind it in the order of choice prices from then on. Its past stays.

    Raises: Conflict: the instant is past, or nothing would be behind it.
    """
    async with changing(access) as change:
        row, place = await _locked(change.conn, price_id)
        now = await prices.now(change.conn)
        end = now if body.effective_until is None else datetime.fromtimestamp(body.effective_until, UTC)
        if place.org_id is None and not place.priority:
            raise Conflict(
                "a list price without a condition ends only where the next one begins: make that one", param="price_id"
            )
        if end < now.replace(microsecond=0):
            raise Conflict(PAST, param="effective_until")
        end = max(end, now)
        if end <= row.effective_from:
            raise Conflict("it is not in force by then: delete it", param="effective_until")
        if row.effective_until is not None and row.effective_until <= end:
            raise Conflict("it ends before that", param="effective_until")
        await prices.cut(change.conn, row.id, end)
        ended = _there(await prices.find(change.conn, row.id))
        await change.record("price.ended", price_id, before=PriceShape.of(row), after=PriceShape.of(ended), org_id=place.org_id)
    return PriceShape.of(ended)


@router.delete("/prices/{price_id}", response_model=PriceDeleted)
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
        row, place = await _locked(change.conn, price_id)
        if row.effective_from <= await prices.now(change.conn):
            raise Conflict(PAST, param="price_id")
        await prices.remove(change.conn, row.id)
        if extend_before or (place.org_id is None and not place.priority):
            await prices.reopen(change.conn, place, row.effective_from, row.effective_until)
        await change.record("price.deleted", price_id, before=PriceShape.of(row), org_id=place.org_id)
    return PriceDeleted(id=price_id)


async def _plan(conn: AsyncConnection, body: PriceProposal, model_id: int) -> _Plan:
    """Raises: InvalidRequest, Conflict, NotFound: what forbids it."""
    _check(body)
    picousd_of = {column: _picousd(column, getattr(body, field_of(column))) for column in PRICES}
    org_id = None if body.organization is None else await organization_id(conn, body.organization)
    place = Place(
        model_id, org_id, body.priority, body.endpoint, body.input_tokens_from, body.input_tokens_until, dict(body.tags)
    )
    start, end = await _range(conn, body, place)
    rival = await prices.rival(conn, place, start, end)
    if rival is not None:
        raise Conflict(
            f"price_{rival.id} has another condition, the same priority and some of the same input tokens: take another "
            "priority, so that it is clear which one comes first, or end that one before",
            param="priority",
        )
    closes = await prices.in_force(conn, place, start)
    base = await prices.base(conn, place, start)
    return _Plan(place, picousd_of, start, end, closes, base, price_changes.changes(base, picousd_of))


def _check(body: PriceProposal) -> None:
    """Raises: InvalidRequest: it makes no sense whatever is in the book."""
    if body.currency != "USD":
        raise InvalidRequest("the price book is in USD: convert the prices, and send them with currency USD", param="currency")
    if body.endpoint is not None and body.endpoint not in ENDPOINTS:
        raise InvalidRequest(f"endpoints are {', '.join(sorted(ENDPOINTS))}", param="endpoint")
    if body.input_tokens_until is not None and body.input_tokens_until <= body.input_tokens_from:
        raise InvalidRequest("it must be more than input_tokens_from", param="input_tokens_until")
    if body.has_condition and not body.priority:
        raise InvalidRequest(
            f"a price with a condition needs a priority of 1 to {PRIORITY_MAX}: the highest that holds comes first",
            param="priority",
        )
    if body.priority and not body.has_condition:
        raise InvalidRequest(
            "a price without a condition has priority 0: add endpoint, input_tokens_from, input_tokens_until or tags",
            param="priority",
        )


async def _range(conn: AsyncConnection, body: PriceProposal, place: Place) -> tuple[datetime, datetime | None]:
    """From when until when the version is in force. Raises: Conflict, InvalidRequest."""
    now = await prices.now(conn)
    start = now if body.effective_from is None else datetime.fromtimestamp(body.effective_from, UTC)
    if start < now.replace(microsecond=0):
        raise Conflict(PAST, param="effective_from")
    start = max(start, now)
    there = await prices.in_force(conn, place, start)
    if there is not None and there.effective_from == start:
        raise Conflict("a version starts at this instant: delete that one first", param="effective_from")
    following = await prices.next_start(conn, place, start)
    if body.effective_until is None:
        return start, following
    end = datetime.fromtimestamp(body.effective_until, UTC)
    if place.org_id is None and not place.priority:
        raise InvalidRequest("a list price ends only where the next one begins", param="effective_until")
    if end <= start:
        raise InvalidRequest("it must be after effective_from", param="effective_until")
    if following is not None and end > following:
        raise Conflict("the next version begins before that", param="effective_until")
    return start, end


async def _usage(conn: AsyncConnection, plan: _Plan) -> RepricedShape | None:
    """The usage that the version would have priced; None where there is too much of it."""
    since = (await prices.now(conn)).replace(minute=0, second=0, microsecond=0) - timedelta(days=PREVIEW_DAYS)
    try:
        async with conn.transaction():
            await prices.limit_time(conn, PREVIEW_S_MAX)
            found = await prices.usage(conn, plan.place, since, **plan.picousd)
    except QueryCanceled:
        return None
    return RepricedShape(
        since=int(since.timestamp()),
        usage_rows=found.usage_rows,
        cost_usd=usd(found.cost_picousd),
        cost_usd_then=usd(found.cost_picousd_then),
        percent=percent(found.cost_picousd, found.cost_picousd_then) if found.cost_picousd else None,
    )


async def _locked(conn: AsyncConnection, price_id: str) -> tuple[PriceVersion, Place]:
    """A version and its place, with its model locked. Raises: NotFound."""
    row = _there(await prices.find(conn, number_of(price_id, "price", "price_id")))
    model = await locked_model(conn, row.model, param="model")
    row = _there(await prices.find(conn, row.id))
    org_id = None if row.organization is None else await organization_id(conn, row.organization)
    place = Place(model.id, org_id, row.priority, row.endpoint, row.input_tokens_from, row.input_tokens_until, row.tags)
    return row, place


async def organization_id(conn: AsyncConnection, public_id: str) -> int:
    """The internal id of an organization. Raises: NotFound."""
    organization = await principals.find_organization(conn, public_id)
    if organization is None:
        raise NotFound("there is no such organization", param="organization")
    return organization.id


def _picousd(column: str, text: str | None) -> int | None:
    if text is None:
        return None
    amount, most = (picousd(text), REQUEST_PICOUSD_MAX) if column == "request_picousd" else (picousd_per_token(text), PICOUSD_MAX)
    if amount > most:
        unit = "for a request" if column == "request_picousd" else "per million tokens"
        raise InvalidRequest(f"a price is at most {shown(column, most)} USD {unit}", param=field_of(column))
    return amount


def _there(row: PriceVersion | None) -> PriceVersion:
    if row is None:
        raise NotFound("there is no such price version; GET /v1/platform/prices lists them", param="price_id")
    return row
