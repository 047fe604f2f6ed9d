"""`/v1/organization/credits`: what there is to spend. `/v1/platform/credits`: who gives it, and takes back what is unused."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any, Literal

from fastapi import Depends, Path, Query, Request
from psycopg.errors import UniqueViolation
from pydantic import BaseModel, ConfigDict, Field

from router.management.access import Access, Needs
from router.management.changes import AlreadyExists, IdempotencyKey, changing, creating
from router.management.numbered_ids import BIGINT_DIGITS, number_of
from router.management.pages import Listed, Paged
from router.management.parameters import LAST_SECOND
from router.routes import routes
from warehouse.access import principals, wallets
from warehouse.access.wallets import Credit, WalletEntry
from warehouse.base.clock import now
from warehouse.base.errors import InvalidRequest, NotFound
from warehouse.base.money import picousd, usd

router = routes("credits")
OWN, PLATFORM = "/organization/credits", "/platform/credits"
YEARS_MAX = 20
CreditId = Annotated[str, Path(max_length=64)]
Reason = Annotated[str, Field(min_length=1, max_length=500, pattern=r"^[^\x00]+$", description="Why; it stays with the entry.")]
Usd = Annotated[str, Field(pattern=r"^[0-9]{1,12}(\.[0-9]{1,12})?$", description="USD as a decimal, exact; more than 0.")]


class CreditShape(BaseModel):
    """What a grant put into the wallet of an organization, and what is left of it."""

    object: Literal["credit"] = "credit"
    id: str
    organization_id: str
    kind: str = Field(description="prepaid: it was paid for; promotional: it was not.")
    amount_usd: str
    remaining_usd: str
    granted_at: int
    expires_at: int | None = Field(description="Unix seconds; what is left then is lost. Null: never.")
    reference: str
    reason: str

    @classmethod
    def of(cls, row: Credit) -> "CreditShape":
        """The shape of a row."""
        return cls(
            id=row.public_id,
            organization_id=row.organization,
            kind=row.kind,
            amount_usd=usd(int(row.amount_picousd)),
            remaining_usd=usd(int(row.remaining_picousd)),
            granted_at=int(row.granted_at.timestamp()),
            expires_at=int(row.expires_at.timestamp()) if row.expires_at else None,
            reference=row.reference,
            reason=row.reason,
        )


class BalanceShape(BaseModel):
    """What invoices could be paid with now."""

    object: Literal["credit.balance"] = "credit.balance"
    available_usd: str
    next_expiry_at: int | None = Field(description="When the first of it is lost, Unix seconds.")
    next_expiry_usd: str


class FundingShape(BaseModel):
    """The part of an entry that is about one credit."""

    credit_id: str
    amount_usd: str


class EntryShape(BaseModel):
    """A change of the wallet, and the credits that it was taken from, put in or given back to."""

    object: Literal["credit.entry"] = "credit.entry"
    id: str
    kind: str = Field(description="grant, draw, expiry, void or give_back.")
    amount_usd: str = Field(description="Negative where it left the wallet.")
    balance_usd: str = Field(description="Of the wallet after it.")
    credits: list[FundingShape]
    reference: str
    reason: str
    happened_at: int

    @classmethod
    def of(cls, row: WalletEntry) -> "EntryShape":
        """The shape of a row."""
        parts = [FundingShape(credit_id=part["credit"], amount_usd=usd(int(part["picousd"]))) for part in row.credits]
        return cls(
            id=f"entry_{row.id}",
            kind=row.kind,
            amount_usd=usd(int(row.amount_picousd)),
            balance_usd=usd(int(row.balance_picousd)),
            credits=parts,
            reference=row.reference,
            reason=row.reason,
            happened_at=int(row.happened_at.timestamp()),
        )


class CreditBody(BaseModel):
    """A new credit."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True)
    organization_id: str = Field(max_length=64)
    amount_usd: Usd
    kind: Literal["promotional", "prepaid"] = "promotional"
    expires_at: Annotated[int, Field(ge=1, le=LAST_SECOND, strict=True)] | None = Field(
        default=None, description="Unix seconds; null: never."
    )
    reason: Reason
    reference: Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00]+$")] | None = Field(
        default=None, description="What it is known by elsewhere, as the id of a payment: no two credits have the same."
    )


class CreditVoid(BaseModel):
    """Why the unused rest is taken back."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True)
    reason: Reason


@router.get(OWN, response_model=Listed[CreditShape])
async def list_credits(access: Annotated[Access, Depends(Needs("credits.read"))], window: Paged) -> Listed[CreditShape]:
    """Credits of the organization, the newest first."""
    async with access.transaction() as conn:
        rows = await wallets.page(conn, access.org.id, **await window.values(conn, "credits", org_id=access.org.id))
    return window.page([CreditShape.of(row) for row in rows], [row.public_id for row in rows])


@router.get(f"{OWN}/balance", response_model=BalanceShape)
async def get_credit_balance(access: Annotated[Access, Depends(Needs("credits.read"))]) -> BalanceShape:
    """What the next invoice could be paid with."""
    async with access.transaction() as conn:
        row = await wallets.balance(conn, access.org.id)
    return BalanceShape(
        available_usd=usd(int(row.available_picousd)),
        next_expiry_at=int(row.next_expiry_at.timestamp()) if row.next_expiry_at else None,
        next_expiry_usd=usd(int(row.next_expiry_picousd)),
    )


@router.get(f"{OWN}/entries", response_model=Listed[EntryShape])
async def list_credit_entries(access: Annotated[Access, Depends(Needs("credits.read"))], window: Paged) -> Listed[EntryShape]:
    """Entries of the wallet, the newest first."""
    before = None if window.after is None else number_of(window.after, "entry", "after", BIGINT_DIGITS)
    async with access.transaction() as conn:
        rows = await wallets.entries(conn, access.org.id, before=before, rows_max=window.limit + 1)
    return window.page([EntryShape.of(row) for row in rows], [f"entry_{row.id}" for row in rows])


@router.get(PLATFORM, response_model=Listed[CreditShape])
async def list_platform_credits(
    access: Annotated[Access, Depends(Needs("credits.write"))],
    window: Paged,
    organization_id: Annotated[str | None, Query(max_length=64)] = None,
) -> Listed[CreditShape]:
    """Credits of every organization or of one, the newest first."""
    async with access.transaction() as conn:
        org_id = None if organization_id is None else (await principals.find_organization(conn, organization_id))
        if organization_id is not None and org_id is None:
            raise NotFound("there is no such organization", param="organization_id")
        id_ = org_id.id if org_id else None
        rows = await wallets.page(conn, id_, **await window.values(conn, "credits", org_id=id_))
    return window.page([CreditShape.of(row) for row in rows], [row.public_id for row in rows])


@router.get(f"{PLATFORM}/{{credit_id}}", response_model=CreditShape)
async def get_platform_credit(credit_id: CreditId, access: Annotated[Access, Depends(Needs("credits.write"))]) -> CreditShape:
    """One credit. Only what is left of it ever changes, so it has no ETag."""
    async with access.transaction() as conn:
        return CreditShape.of(_there(await wallets.find(conn, credit_id)))


@router.post(PLATFORM, response_model=CreditShape)
async def grant_credit(
    body: CreditBody,
    request: Request,
    access: Annotated[Access, Depends(Needs("credits.write"))],
    idempotency_key: IdempotencyKey = None,
) -> CreditShape | dict[str, Any]:
    """Put a credit into the wallet of an organization.

    Raises: NotFound: no such organization.  AlreadyExists: the reference is taken.  InvalidRequest: nothing, or already over.
    """
    amount = picousd(body.amount_usd)
    if amount == 0:
        raise InvalidRequest("a credit is more than 0", param="amount_usd")
    async with creating(access, request, body, idempotency_key) as creation:
        if creation.known is not None:
            return creation.known
        organization = await principals.find_organization(creation.conn, body.organization_id)
        if organization is None:
            raise NotFound("there is no such organization", param="organization_id")
        row = await _grant(creation.conn, organization.id, body, amount, access.principal.public_id)
        shape = CreditShape.of(row)
        await creation.changing.record("credit.granted", row.public_id, after=shape, org_id=organization.id)
        await creation.keep(shape)
        return shape


@router.post(f"{PLATFORM}/{{credit_id}}/void", response_model=CreditShape)
async def void_credit(
    credit_id: CreditId, body: CreditVoid, access: Annotated[Access, Depends(Needs("credits.write"))]
) -> CreditShape:
    """Take back what is left of a credit; what was drawn from it stays drawn. Again it does nothing."""
    async with changing(access) as change:
        before = _there(await wallets.find(change.conn, credit_id))
        organization = await principals.find_organization(change.conn, before.organization)
        await wallets.void(change.conn, credit_id, reason=body.reason, author=access.principal.public_id)
        shape = CreditShape.of(_there(await wallets.find(change.conn, credit_id)))
        await change.record(
            "credit.voided",
            credit_id,
            before=CreditShape.of(before),
            after=shape,
            org_id=organization.id if organization else None,
        )
    return shape


async def _grant(conn: Any, org_id: int, body: CreditBody, amount: int, author: str) -> Credit:
    taken = AlreadyExists("a transaction of the ledger has this reference", param="reference")
    expires_at = None if body.expires_at is None else datetime.fromtimestamp(body.expires_at, UTC)
    if expires_at is not None and not now() < expires_at <= now() + timedelta(days=366 * YEARS_MAX):
        raise InvalidRequest(f"it is to be an instant to come, at most {YEARS_MAX} years from now", param="expires_at")
    if body.reference is not None and await wallets.reference_is_known(conn, body.reference):
        raise taken
    try:
        return await wallets.grant(
            conn,
            org_id,
            amount_picousd=Decimal(amount),
            kind=body.kind,
            expires_at=expires_at,
            reason=body.reason,
            author=author,
            reference=body.reference,
        )
    except UniqueViolation as error:
        raise taken from error


def _there(row: Credit | None) -> Credit:
    if row is None:
        raise NotFound("there is no such credit; GET /v1/platform/credits lists them", param="credit_id")
    return row
