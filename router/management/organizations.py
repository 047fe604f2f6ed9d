"""`/v1/organizations`: the tenants of this installation, for platform admins."""

from typing import Annotated, Literal

from fastapi import APIRouter, Depends
from pydantic import BaseModel

from router.management.access import Access, Needs
from warehouse.access.people import list_organizations

router = APIRouter(tags=["organizations"])


class OrganizationShape(BaseModel):
    """An organization as platform admins see it."""

    object: Literal["organization"] = "organization"
    id: str
    name: str
    time_zone: str


class Organizations(BaseModel):
    """Every active organization, by name."""

    object: Literal["list"] = "list"
    data: list[OrganizationShape]


@router.get("/organizations", response_model=Organizations)
async def get_organizations(access: Annotated[Access, Depends(Needs("organizations.read"))]) -> Organizations:
    """Active organizations, by name."""
    async with access.transaction() as conn:
        rows = await list_organizations(conn)
    return Organizations(data=[OrganizationShape(id=row.public_id, name=row.name, time_zone=row.time_zone) for row in rows])
