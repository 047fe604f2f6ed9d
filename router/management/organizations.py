"""`/v1/organizations`: the tenants of this installation, for platform admins."""

from typing import Annotated, Any

from fastapi import APIRouter, Depends

from router.management.access import Access, Needs
from warehouse.access.people import list_organizations

router = APIRouter()


@router.get("/organizations")
async def get_organizations(access: Annotated[Access, Depends(Needs("organizations.read"))]) -> dict[str, Any]:
    """Active organizations, by name."""
    async with access.transaction() as conn:
        rows = await list_organizations(conn)
    data = [{"object": "organization", "id": row.public_id, "name": row.name, "time_zone": row.time_zone} for row in rows]
    return {"object": "list", "data": data}
