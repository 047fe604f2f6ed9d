"""`/v1/organizations`: the tenants of this installation, for platform admins."""

from typing import Annotated, Any, Literal

from fastapi import Depends, Query, Request, Response
from psycopg import AsyncConnection
from pydantic import BaseModel, ConfigDict, Field

from router.management.access import Access, Needs
from router.management.changes import IdempotencyKey, IfMatch, changing, check_version, creating, tell_version
from router.management.fields import Email, PathId, Text, TimeZone
from router.management.organization import check_zone
from router.management.pages import Listed, Paged
from router.routes import routes
from warehouse.access import organizations
from warehouse.access.organizations import OrganizationRow
from warehouse.base.errors import InvalidRequest, NotFound
from warehouse.base.ids import public_id

router = routes("organizations")
QUEUE_WEIGHT_MAX = 100
QueueWeight = Annotated[
    int,
    Field(ge=1, le=QUEUE_WEIGHT_MAX, strict=True, description="Its share of engines that are full, relative to who else waits."),
]


class OrganizationShape(BaseModel):
    """An organization; instants are Unix seconds."""

    object: Literal["organization"] = "organization"
    id: str
    name: str
    time_zone: str
    queue_weight: int
    status: Literal["active", "suspended"]
    suspended_at: int | None
    created_at: int
    version: int

    @classmethod
    def of(cls, row: OrganizationRow) -> "OrganizationShape":
        """The shape of a row."""
        return cls(
            id=row.public_id,
            name=row.name,
            time_zone=row.time_zone,
            queue_weight=row.queue_weight,
            status="suspended" if row.suspended_at else "active",
            suspended_at=int(row.suspended_at.timestamp()) if row.suspended_at else None,
            created_at=int(row.created_at.timestamp()),
            version=row.version,
        )


class OrganizationChange(BaseModel):
    """What of an organization is changed; what is not named stays."""

    model_config = ConfigDict(extra="forbid")
    name: Text | None = None
    time_zone: TimeZone | None = None
    queue_weight: QueueWeight | None = None


class OrganizationDeleted(BaseModel):
    """The answer to a deletion."""

    object: Literal["organization.deleted"] = "organization.deleted"
    id: str
    deleted: Literal[True] = True


class NewOrganization(BaseModel):
    """What an organization is made of."""

    model_config = ConfigDict(extra="forbid")
    name: Text
    time_zone: TimeZone = "UTC"
    owner_email: Email


@router.get("/organizations", response_model=Listed[OrganizationShape])
async def list_organizations(
    access: Annotated[Access, Depends(Needs("organizations.read"))],
    window: Paged,
    name: Annotated[Text | None, Query(description="How its name begins.")] = None,
    status: Annotated[Literal["active", "suspended"] | None, Query()] = None,
) -> Listed[OrganizationShape]:
    """Organizations by age, without those that are deleted."""
    suspended = None if status is None else status == "suspended"
    async with access.transaction() as conn:
        rows = await organizations.page(conn, **await window.values(conn, "organizations"), name=name, suspended=suspended)
    return window.page([OrganizationShape.of(row) for row in rows], [row.public_id for row in rows])


@router.post("/organizations", response_model=OrganizationShape)
async def create_organization(
    body: NewOrganization,
    request: Request,
    access: Annotated[Access, Depends(Needs("organizations.write"))],
    idempotency_key: IdempotencyKey = None,
) -> OrganizationShape | dict[str, Any]:
    """A new organization with its first owner. Raises: InvalidRequest: nobody has the owner's address."""
    async with creating(access, request, body, idempotency_key) as creation:
        if creation.known is not None:
            return creation.known
        await check_zone(creation.conn, body.time_zone)
        row = await organizations.add(creation.conn, public_id("org"), body.name, body.time_zone)
        if not await organizations.add_owner(creation.conn, row.id, body.owner_email):
            raise InvalidRequest("no active user has this address", param="owner_email")
        shape = OrganizationShape.of(row)
        await creation.changing.record("organization.created", row.public_id, after=shape, org_id=row.id)
        await creation.keep(shape)
        return shape


async def _lock(conn: AsyncConnection, organization_id: str) -> OrganizationRow:
    row = await organizations.lock(conn, organization_id)
    if row is None:
        raise NotFound("there is no such organization", param="organization_id")
    return row


@router.get("/organizations/{organization_id}", response_model=OrganizationShape)
async def get_organization(
    organization_id: PathId, response: Response, access: Annotated[Access, Depends(Needs("organizations.read"))]
) -> OrganizationShape:
    """One organization, suspended or not. Raises: NotFound."""
    async with access.transaction() as conn:
        row = await _lock(conn, organization_id)
    tell_version(response, row.version)
    return OrganizationShape.of(row)


@router.post("/organizations/{organization_id}", response_model=OrganizationShape)
async def update_organization(
    organization_id: PathId,
    body: OrganizationChange,
    response: Response,
    access: Annotated[Access, Depends(Needs("organizations.write"))],
    if_match: IfMatch = None,
) -> OrganizationShape:
    """Change name, time zone or share of full engines. Raises: NotFound, VersionChanged."""
    async with changing(access) as change:
        before = await _lock(change.conn, organization_id)
        check_version(if_match, before.version)
        await check_zone(change.conn, body.time_zone)
        row = await organizations.update(
            change.conn, before.id, name=body.name, time_zone=body.time_zone, queue_weight=body.queue_weight
        )
        shapes = OrganizationShape.of(before), OrganizationShape.of(row)
        await change.record("organization.updated", row.public_id, before=shapes[0], after=shapes[1], org_id=row.id)
    tell_version(response, row.version)
    return shapes[1]


@router.post("/organizations/{organization_id}/suspend", response_model=OrganizationShape)
async def suspend_organization(
    organization_id: PathId, access: Annotated[Access, Depends(Needs("organizations.write"))]
) -> OrganizationShape:
    """Its keys stop at once; its data stays, and its members still read it. A second time changes nothing. Raises: NotFound."""
    return await _suspend(access, organization_id, suspended=True)


@router.post("/organizations/{organization_id}/resume", response_model=OrganizationShape)
async def resume_organization(
    organization_id: PathId, access: Annotated[Access, Depends(Needs("organizations.write"))]
) -> OrganizationShape:
    """Its keys work again. A second time changes nothing. Raises: NotFound."""
    return await _suspend(access, organization_id, suspended=False)


async def _suspend(access: Access, organization_id: str, *, suspended: bool) -> OrganizationShape:
    async with changing(access) as change:
        before = await _lock(change.conn, organization_id)
        if (before.suspended_at is not None) == suspended:
            return OrganizationShape.of(before)
        row = await organizations.suspend(change.conn, before.id, suspended=suspended)
        event = "organization.suspended" if suspended else "organization.resumed"
        shapes = OrganizationShape.of(before), OrganizationShape.of(row)
        await change.record(event, row.public_id, before=shapes[0], after=shapes[1], org_id=row.id)
    return shapes[1]


@router.delete("/organizations/{organization_id}", response_model=OrganizationDeleted)
async def delete_organization(
    organization_id: PathId, access: Annotated[Access, Depends(Needs("organizations.write"))]
) -> OrganizationDeleted:
    """Delete an organization: its keys stop at once, its data stays in the database. Raises: NotFound."""
    async with changing(access) as change:
        before = await _lock(change.conn, organization_id)
        await organizations.remove(change.conn, before.id)
        await change.record("organization.deleted", before.public_id, before=OrganizationShape.of(before), org_id=before.id)
    return OrganizationDeleted(id=organization_id)
