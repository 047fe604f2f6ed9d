"""`/v1/organization/budgets`: what may be spent in a period, by an organization or a part of it."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Any, Literal

from fastapi import Depends, Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from router.management.access import Access, Needs
from router.management.changes import IdempotencyKey, IfMatch, changing, check_version, creating, tell_version
from router.management.pages import Listed, Paged
from router.management.parameters import LAST_SECOND
from router.management.reach import NeedsSomewhere, Reach
from router.management.scopes import NOTE, OfAnybody, bare_key, check_room, resolve, shown_key
from router.routes import routes
from warehouse.access import budgets, usage_marts
from warehouse.access.budgets import Budget
from warehouse.access.usage_marts import BudgetSpend
from warehouse.base.clock import now
from warehouse.base.errors import InvalidRequest, NotFound
from warehouse.base.ids import public_id
from warehouse.base.money import picousd, usd

router = routes("budgets", "/organization/budgets")
ALERTS_MAX = 10
RAISED_DAYS_MAX = 366
Period = Literal["day", "week", "month", "lifetime"]
Mode = Literal["hard", "soft", "shadow"]
Usd = Annotated[str, Field(pattern=r"^[0-9]{1,12}(\.[0-9]{1,12})?$", description="USD as a decimal, exact.")]
Percents = Annotated[
    list[Annotated[int, Field(ge=1, le=100, strict=True)]],
    Field(max_length=ALERTS_MAX, description="Shares of the limit that are told of, each once."),
]
BudgetId = Annotated[str, Path(max_length=64)]


class BudgetShape(BaseModel):
    """A budget; periods are those of the organization's time zone."""

    object: Literal["organization.budget"] = "organization.budget"
    id: str
    project_id: str | None
    user_id: str | None
    service_account_id: str | None
    api_key_id: str | None
    model: str | None
    period: str
    limit_usd: str
    raised_limit_usd: str | None = Field(description="The limit until `raised_until`, where it is the higher one.")
    raised_until: int | None = Field(description="Unix seconds.")
    limit_in_force_usd: str = Field(description="The one that holds now.")
    mode: str
    alert_percents: list[int]
    created_at: int
    version: int

    @classmethod
    def of(cls, row: Budget) -> "BudgetShape":
        """The shape of a row."""
        return cls(
            id=row.public_id,
            project_id=row.project,
            user_id=row.user,
            service_account_id=row.service_account,
            api_key_id=shown_key(row.api_key),
            model=row.model,
            period=row.period,
            limit_usd=usd(int(row.limit_picousd)),
            raised_limit_usd=None if row.raised_limit_picousd is None else usd(int(row.raised_limit_picousd)),
            raised_until=None if row.raised_until is None else int(row.raised_until.timestamp()),
            limit_in_force_usd=usd(int(row.limit_in_force_picousd)),
            mode=row.mode,
            alert_percents=row.alert_percents,
            created_at=int(row.created_at.timestamp()),
            version=row.version,
        )


class SpendShape(BaseModel):
    """A budget in its current window, as the marts have it: the exact sum of what was recorded before `complete_to`."""

    spent_usd: str
    remaining_usd: str
    percent_used: str = Field(description="Of the limit in force; a decimal, over 100 where more is spent.")
    reached_percents: list[int] = Field(description="Which of alert_percents are reached.")
    window_start: int = Field(description="Unix seconds.")
    window_end: int | None = Field(description="Unix seconds; null for a lifetime.")
    forecast_usd: str | None = Field(description="Expected at the window's end; null for a lifetime.")
    used_up_at: int | None = Field(
        description="When the limit is expected to be reached, Unix seconds; null: not in this window."
    )
    complete_to: int = Field(description="Unix seconds.")

    @classmethod
    def of(cls, row: BudgetSpend) -> "SpendShape":
        """The shape of a row."""
        return cls(
            spent_usd=usd(int(row.spent_picousd)),
            remaining_usd=usd(int(row.remaining_picousd)),
            percent_used=f"{row.percent_used:f}",
            reached_percents=row.reached_percents,
            window_start=int(row.window_starts_at.timestamp()),
            window_end=None if row.window_ends_at is None else int(row.window_ends_at.timestamp()),
            forecast_usd=None if row.forecast_picousd is None else usd(int(row.forecast_picousd)),
            used_up_at=None if row.used_up_at is None else int(row.used_up_at.timestamp()),
            complete_to=int(row.complete_to.timestamp()),
        )


class BudgetStatusShape(BudgetShape):
    """A budget, and what is spent of it."""

    spend: SpendShape | None = Field(description="Null until the marts have the budget, some seconds after it was made.")

    @classmethod
    def with_spend(cls, row: Budget, spend: BudgetSpend | None) -> "BudgetStatusShape":
        """The shape of a row and of its row in the marts."""
        return cls(**BudgetShape.of(row).model_dump(), spend=None if spend is None else SpendShape.of(spend))


class BudgetBody(OfAnybody):
    """A new budget."""

    model_config = ConfigDict(extra="forbid")
    period: Period
    limit_usd: Usd
    mode: Mode = "hard"
    alert_percents: Percents = Field(default_factory=list)


class BudgetChange(BaseModel):
    """What is left out stays. What a budget is about, and its period, stay in any case: make another one."""

    model_config = ConfigDict(extra="forbid")
    limit_usd: Usd | None = None
    raised_limit_usd: Usd | None = Field(default=None, description="Both of a raise or none; null takes it away.")
    raised_until: Annotated[int, Field(ge=1, le=LAST_SECOND, strict=True)] | None = None
    mode: Mode | None = None
    alert_percents: Percents | None = None


class BudgetDeleted(BaseModel):
    """A budget that no longer counts."""

    object: Literal["organization.budget.deleted"] = "organization.budget.deleted"
    id: str
    deleted: Literal[True] = True


@router.get("", response_model=Listed[BudgetStatusShape])
async def list_budgets(
    reach: Annotated[Reach, Depends(NeedsSomewhere("budgets.read"))],
    window: Paged,
    *,
    project_id: Annotated[str | None, Query(max_length=64)] = None,
    user_id: Annotated[str | None, Query(max_length=64)] = None,
    service_account_id: Annotated[str | None, Query(max_length=64)] = None,
    api_key_id: Annotated[str | None, Query(max_length=64)] = None,
    model: Annotated[str | None, Query(max_length=128)] = None,
) -> Listed[BudgetStatusShape]:
    """Budgets by age, with what is spent of each: all of them, or those of the caller's projects."""
    filters = {"project": project_id, "user": user_id, "service_account": service_account_id, "api_key": bare_key(api_key_id)}
    org_id = reach.access.org.id
    async with reach.access.transaction() as conn:
        rows = await budgets.page(
            conn, org_id, **await window.values(conn, "budgets", org_id=org_id), **filters, model=model, projects=reach.projects
        )
        spends = await usage_marts.budget_spends(conn, [row.id for row in rows])
    shapes = [BudgetStatusShape.with_spend(row, spends.get(row.id)) for row in rows]
    return window.page(shapes, [row.public_id for row in rows])


@router.post("", response_model=BudgetShape, description=f"A new budget. {NOTE}")
async def create_budget(
    body: BudgetBody,
    request: Request,
    access: Annotated[Access, Depends(Needs("budgets.write"))],
    idempotency_key: IdempotencyKey = None,
) -> BudgetShape | dict[str, Any]:
    """A new budget. Raises: InvalidRequest, NotFound: what it is about; `param` names the field.  Conflict: too many alike."""
    async with creating(access, request, body, idempotency_key) as creation:
        if creation.known is not None:
            return creation.known
        scope = await resolve(creation.conn, access.org.id, body)
        await check_room(creation.conn, access.org.id, "budgets", scope)
        row = await budgets.add(
            creation.conn,
            access.org.id,
            public_id("budget"),
            scope,
            period=body.period,
            limit_picousd=Decimal(picousd(body.limit_usd)),
            mode=body.mode,
            alert_percents=_distinct(body.alert_percents),
        )
        shape = BudgetShape.of(row)
        await creation.changing.record("budget.created", row.public_id, after=shape, project_id=row.home_project_id)
        await creation.keep(shape)
        return shape


@router.get("/{budget_id}", response_model=BudgetStatusShape)
async def get_budget(
    budget_id: BudgetId, response: Response, reach: Annotated[Reach, Depends(NeedsSomewhere("budgets.read"))]
) -> BudgetStatusShape:
    """One budget, with what is spent of it."""
    async with reach.access.transaction() as conn:
        row = _there(await budgets.find(conn, reach.access.org.id, budget_id))
        spends = await usage_marts.budget_spends(conn, [row.id])
    reach.check(row.home_project_id)
    tell_version(response, row.version)
    return BudgetStatusShape.with_spend(row, spends.get(row.id))


@router.post("/{budget_id}", response_model=BudgetShape, description=f"Change a budget. {NOTE}")
async def update_budget(
    budget_id: BudgetId,
    body: BudgetChange,
    response: Response,
    access: Annotated[Access, Depends(Needs("budgets.write"))],
    if_match: IfMatch = None,
) -> BudgetShape:
    """Change a budget. Raises: NotFound, VersionChanged."""
    async with changing(access) as change:
        before = _there(await budgets.lock(change.conn, access.org.id, budget_id))
        check_version(if_match, before.version)
        row = await budgets.change(
            change.conn,
            access.org.id,
            budget_id,
            limit_picousd=before.limit_picousd if body.limit_usd is None else Decimal(picousd(body.limit_usd)),
            mode=body.mode or before.mode,
            **_raise(body, before),
            alert_percents=before.alert_percents if body.alert_percents is None else _distinct(body.alert_percents),
        )
        was, shape = BudgetShape.of(before), BudgetShape.of(row)
        await change.record("budget.updated", budget_id, before=was, after=shape, project_id=row.home_project_id)
    tell_version(response, row.version)
    return shape


@router.delete("/{budget_id}", response_model=BudgetDeleted)
async def delete_budget(
    budget_id: BudgetId, access: Annotated[Access, Depends(Needs("budgets.write"))], if_match: IfMatch = None
) -> BudgetDeleted:
    """Take a budget away; the audit log keeps what it was."""
    async with changing(access) as change:
        before = _there(await budgets.lock(change.conn, access.org.id, budget_id))
        check_version(if_match, before.version)
        await budgets.remove(change.conn, access.org.id, budget_id)
        await change.record("budget.deleted", budget_id, before=BudgetShape.of(before), project_id=before.home_project_id)
    return BudgetDeleted(id=budget_id)


def _raise(body: BudgetChange, before: Budget) -> dict[str, Any]:
    """The raise as it is to be. Raises: InvalidRequest: half of one, one that is over, or one for too long."""
    named = {"raised_limit_usd", "raised_until"} & body.model_fields_set
    if not named:
        return {"raised_limit_picousd": before.raised_limit_picousd, "raised_until": before.raised_until}
    if (body.raised_limit_usd is None) != (body.raised_until is None):
        missing = "raised_until" if body.raised_until is None else "raised_limit_usd"
        raise InvalidRequest("a raise is a limit and its end: give both, or null for both", param=missing)
    if body.raised_limit_usd is None or body.raised_until is None:
        return {"raised_limit_picousd": None, "raised_until": None}
    until, at = datetime.fromtimestamp(body.raised_until, UTC), now()
    if not at < until <= at + timedelta(days=RAISED_DAYS_MAX):
        raise InvalidRequest(f"a raise ends at an instant to come, at most {RAISED_DAYS_MAX} days from now", param="raised_until")
    return {"raised_limit_picousd": Decimal(picousd(body.raised_limit_usd)), "raised_until": until}


def _distinct(percents: list[int]) -> list[int]:
    """In order. Raises: InvalidRequest: one twice."""
    if len(set(percents)) != len(percents):
        raise InvalidRequest("each percentage once", param="alert_percents")
    return sorted(percents)


def _there(row: Budget | None) -> Budget:
    if row is None:
        raise NotFound("there is no such budget in this organization", param="budget_id")
    return row
