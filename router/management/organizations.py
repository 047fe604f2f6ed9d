"""`/v1/organizations`: the tenants of this installation, for platform admins."""

from typing import Any

from fastapi import APIRouter

from router.management.access import Management, PlatformAdmin
from warehouse.access.people import list_organizations

router = APIRouter()


@router.get("/organizations", dependencies=[PlatformAdmin])
async def get_organizations(state: Management) -> dict[str, Any]:
    """Active organizations, by name."""
    async with state.pool.connection() as conn:
        rows = await list_organizations(conn)
    data = [{"object": "organization", "id": row.public_id, "name": row.name, "time_zone": row.time_zone} for row in rows]
    return {"object": "list", "data": data}
