"""`/v1/organization/shadow_refusals`: whom budgets and limits on trial would have refused."""

from datetime import date, timedelta
from typing import Annotated, Literal

from fastapi import Depends, Query
from pydantic import BaseModel

from router.management.access import Access, Needs
from router.management.pages import Listed
from router.routes import routes
from warehouse.access import shadow_refusals
from warehouse.base.clock import now

router = routes("budgets", "/organization/shadow_refusals")
DAYS_MAX = 92


class ShadowRefusalsShape(BaseModel):
    """One budget or limit on one day (UTC)."""

    object: Literal["organization.shadow_refusals"] = "organization.shadow_refusals"
    day: date
    budget_id: str | None
    limit_id: str | None
    requests: int


@router.get("", response_model=Listed[ShadowRefusalsShape])
async def list_shadow_refusals(
    access: Annotated[Access, Depends(Needs("budgets.read"))],
    days: Annotated[int, Query(ge=1, le=DAYS_MAX, description="How far back, today included.")] = 31,
) -> Listed[ShadowRefusalsShape]:
    """By day, then by rule; counted within a minute."""
    today = now().date()
    async with access.transaction() as conn:
        rows = await shadow_refusals.page(
            conn, access.org.id, start=today - timedelta(days=days - 1), end=today + timedelta(days=1)
        )
    data = [
        ShadowRefusalsShape(day=row.day, budget_id=row.budget_id, limit_id=row.limit_id, requests=row.requests) for row in rows
    ]
    return Listed(data=data, first_id=None, last_id=None, has_more=False)
