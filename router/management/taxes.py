"""`/v1/platform/tax_rates`, and where an organization pays taxes. Rates are added for whole months and never changed."""

from typing import Annotated, Any, Literal

from fastapi import Depends, Request
from psycopg.errors import ExclusionViolation
from pydantic import BaseModel, ConfigDict, Field

from router.management.access import Access, Needs
from router.management.changes import AlreadyExists, IdempotencyKey, changing, creating
from router.management.fields import PathId, Text
from router.management.invoice_shapes import Month
from router.management.months import first_day
from router.routes import routes
from warehouse.access import invoices
from warehouse.access.invoices import TaxRate
from warehouse.base.errors import InvalidRequest, NotFound

router = routes("invoices", "/platform")
Writing = Annotated[Access, Depends(Needs("invoices.write"))]
Region = Annotated[str, Field(pattern=r"^[A-Z]{2}(-[A-Z0-9]{1,10})?$", examples=["DE"], description="As DE or US-CA.")]


class TaxRateShape(BaseModel):
    """A tax."""

    object: Literal["platform.tax_rate"] = "platform.tax_rate"
    id: str
    region: str
    name: str
    basis_points: int
    first_month: str
    before_month: str | None

    @classmethod
    def of(cls, row: TaxRate) -> "TaxRateShape":
        """The shape of a row."""
        return cls(
            id=f"tax_{row.id}",
            region=row.region,
            name=row.name,
            basis_points=row.basis_points,
            first_month=f"{row.first_month:%Y-%m}",
            before_month=None if row.before_month is None else f"{row.before_month:%Y-%m}",
        )


class TaxRates(BaseModel):
    """All rates: a few for each region."""

    object: Literal["list"] = "list"
    data: list[TaxRateShape]


class TaxRateBody(BaseModel):
    """A new rate."""

    model_config = ConfigDict(extra="forbid")
    region: Region
    name: Text = Field(max_length=100)
    basis_points: int = Field(ge=0, le=10_000, strict=True, description="Hundredths of a percent.")
    first_month: Month
    before_month: Month | None = Field(default=None, description="The first month it is no longer in force; null: for good.")


class TaxRegionBody(BaseModel):
    """Where an organization pays taxes."""

    model_config = ConfigDict(extra="forbid")
    region: Region | None = Field(description="Null: nowhere.")


class TaxRegionShape(BaseModel):
    """Where an organization pays taxes."""

    object: Literal["platform.tax_region"] = "platform.tax_region"
    organization_id: str
    region: str | None


@router.get("/tax_rates", response_model=TaxRates)
async def list_tax_rates(access: Writing) -> TaxRates:
    """All rates, by region."""
    async with access.transaction() as conn:
        return TaxRates(data=[TaxRateShape.of(row) for row in await invoices.tax_rates(conn)])


@router.post("/tax_rates", response_model=TaxRateShape)
async def create_tax_rate(
    body: TaxRateBody, request: Request, access: Writing, idempotency_key: IdempotencyKey = None
) -> TaxRateShape | dict[str, Any]:
    """A rate for months of usage from one on. Raises: AlreadyExists: the region has this tax in one of the months."""
    first, before = first_day(body.first_month), first_day(body.before_month) if body.before_month else None
    if before is not None and before <= first:
        raise InvalidRequest("it must be after first_month", param="before_month")
    async with creating(access, request, body, idempotency_key) as creation:
        if creation.known is not None:
            return creation.known
        values = {"region": body.region, "name": body.name, "basis_points": body.basis_points}
        try:
            row = await invoices.add_tax_rate(creation.conn, **values, first_month=first, before_month=before)
        except ExclusionViolation as error:
            raise AlreadyExists("the region has a tax of this name in one of the months", param="first_month") from error
        shape = TaxRateShape.of(row)
        await creation.changing.record("tax_rate.created", shape.id, after=shape)
        await creation.keep(shape)
        return shape


@router.post("/organizations/{organization_id}/tax_region", response_model=TaxRegionShape)
async def set_tax_region(organization_id: PathId, body: TaxRegionBody, access: Writing) -> TaxRegionShape:
    """Where an organization pays taxes from the next draft on. Raises: NotFound."""
    async with changing(access) as change:
        org_id = await invoices.find_organization(change.conn, organization_id)
        if org_id is None:
            raise NotFound("there is no such organization", param="organization_id")
        await invoices.set_tax_region(change.conn, org_id, body.region)
        shape = TaxRegionShape(organization_id=organization_id, region=body.region)
        await change.record("tax_region.set", organization_id, after=shape, org_id=org_id)
        return shape
