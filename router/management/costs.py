"""`/v1/organization/costs` in OpenAI's shape, from the marts."""

from typing import Annotated, Literal

from fastapi import Depends
from pydantic import BaseModel, Field

from router.management.reach import NeedsSomewhere, Reach
from router.management.scopes import shown_key
from router.management.usage import Asked, BucketPage, bucket_page
from router.routes import routes
from warehouse.access.usage_marts import UsageSum
from warehouse.base.money import PICOUSD_PER_USD, usd

router = routes("usage", "/organization/costs")


class Amount(BaseModel):
    """Money."""

    value: float = Field(description="For clients of OpenAI's API; a floating-point number cannot hold every amount.")
    currency: Literal["usd"] = "usd"
    usd: str = Field(description="The exact amount, as a decimal.")


class CostsResult(BaseModel):
    """One sum; what was not grouped by is null."""

    object: Literal["organization.costs.result"] = "organization.costs.result"
    amount: Amount
    project_id: str | None
    user_id: str | None
    api_key_id: str | None
    model: str | None
    line_item: str | None = Field(description="The model, as OpenAI's clients look for it.")

    @classmethod
    def of(cls, row: UsageSum) -> "CostsResult":
        """The result of a sum."""
        picousd = int(row.cost_picousd)
        return cls(
            amount=Amount(value=picousd / PICOUSD_PER_USD, usd=usd(picousd)),
            project_id=row.project,
            user_id=row.user,
            api_key_id=shown_key(row.api_key),
            model=row.model,
            line_item=row.model,
        )


@router.get("", response_model=BucketPage[CostsResult])
async def get_costs(reach: Annotated[Reach, Depends(NeedsSomewhere("costs.read"))], asked: Asked) -> BucketPage[CostsResult]:
    """Exact cost by hour or day: of the organization, or of the projects that the caller may look at."""
    return await bucket_page(reach, asked, None, CostsResult.of)
