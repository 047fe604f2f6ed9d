"""`/v1/organization/projects/{project_id}/service_accounts`: OpenAI's shapes. A new account comes with a key, shown once."""

from typing import Annotated, Any, Literal

from fastapi import Depends, Request, Response
from psycopg import AsyncConnection
from pydantic import BaseModel, ConfigDict, Field

from router.management.access import Access, NeedsInProject
from router.management.api_keys import KEY, mint
from router.management.changes import IdempotencyKey, changing, creating, tell_version
from router.management.fields import PathId, Text
from router.management.pages import Listed, Paged
from router.management.project_users import check_active
from router.routes import routes
from warehouse.access import api_keys, service_accounts
from warehouse.access.api_keys import NewKey
from warehouse.access.service_accounts import ServiceAccount
from warehouse.base.errors import NotFound
from warehouse.base.ids import public_id

router = routes("service accounts", "/organization/projects/{project_id}/service_accounts")
Role = Literal["member", "viewer"]


class ServiceAccountShape(BaseModel):
    """A service account; instants are Unix seconds."""

    object: Literal["organization.project.service_account"] = "organization.project.service_account"
    id: str
    name: str
    role: Role
    created_by: str | None
    created_at: int
    version: int

    @classmethod
    def of(cls, row: ServiceAccount) -> "ServiceAccountShape":
        """The shape of a row."""
        return cls(
            id=row.public_id,
            name=row.name,
            role=row.role,  # type: ignore[arg-type]  # the column has exactly these values
            created_by=row.created_by,
            created_at=int(row.created_at.timestamp()),
            version=row.version,
        )


class FirstKey(BaseModel):
    """The key that a new account comes with."""

    object: Literal["organization.project.service_account.api_key"] = "organization.project.service_account.api_key"
    id: str
    name: str
    value: str = Field(description="The key. Keep it now: it is not shown again.")
    created_at: int


class NewServiceAccountShape(ServiceAccountShape):
    """A service account with its key: the only answer that has it."""

    api_key: FirstKey | None = Field(description="Null where a create is repeated: the key is shown once.")


class ServiceAccountBody(BaseModel):
    """What a service account is made of."""

    model_config = ConfigDict(extra="forbid")
    name: Text
    role: Role = "member"


class ServiceAccountDeleted(BaseModel):
    """The answer to a deletion."""

    object: Literal["organization.project.service_account.deleted"] = "organization.project.service_account.deleted"
    id: str
    deleted: Literal[True] = True


@router.get("", response_model=Listed[ServiceAccountShape])
async def list_service_accounts(
    access: Annotated[Access, Depends(NeedsInProject("service_accounts.read"))], window: Paged
) -> Listed[ServiceAccountShape]:
    """Service accounts of a project by age."""
    async with access.transaction() as conn:
        rows = await service_accounts.page(
            conn, access.org.id, access.in_project.id, **await window.values(conn, "service_accounts", org_id=access.org.id)
        )
    return window.page([ServiceAccountShape.of(row) for row in rows], [row.public_id for row in rows])


@router.post("", response_model=NewServiceAccountShape)
async def create_service_account(
    body: ServiceAccountBody,
    request: Request,
    access: Annotated[Access, Depends(NeedsInProject("service_accounts.write"))],
    idempotency_key: IdempotencyKey = None,
) -> NewServiceAccountShape | dict[str, Any]:
    """A new account with a key for inference. Raises: Conflict: the project is archived.  InvalidRequest: a cap."""
    async with creating(access, request, body, idempotency_key) as creation:
        if creation.known is not None:
            return creation.known
        access.require("api_keys.create")
        await check_active(creation.conn, access)
        row = await service_accounts.add(
            creation.conn,
            access.org.id,
            access.in_project.id,
            public_id("svc"),
            name=body.name,
            role=body.role,
            created_by=access.principal.public_id,
        )
        account = ServiceAccountShape.of(row)
        await creation.changing.record("service_account.created", row.public_id, after=account)
        minted = await mint(creation.changing, NewKey(name=body.name, scopes=["inference"], service_account_id=row.id))
        key = FirstKey(
            id=KEY + minted.row.public_id,
            name=minted.row.name,
            value=minted.secret,
            created_at=int(minted.row.created_at.timestamp()),
        )
        shape = NewServiceAccountShape(**account.model_dump(), api_key=key)
        await creation.keep(shape, secrets=frozenset({"api_key"}))
        return shape


async def _find(conn: AsyncConnection, access: Access, account_id: str) -> ServiceAccount:
    row = await service_accounts.find(conn, access.org.id, access.in_project.id, account_id)
    if row is None:
        raise NotFound("this project has no such service account", param="service_account_id")
    return row


@router.get("/{service_account_id}", response_model=ServiceAccountShape)
async def get_service_account(
    service_account_id: PathId, response: Response, access: Annotated[Access, Depends(NeedsInProject("service_accounts.read"))]
) -> ServiceAccountShape:
    """One service account. Raises: NotFound."""
    async with access.transaction() as conn:
        row = await _find(conn, access, service_account_id)
    tell_version(response, row.version)
    return ServiceAccountShape.of(row)


@router.delete("/{service_account_id}", response_model=ServiceAccountDeleted)
async def delete_service_account(
    service_account_id: PathId, access: Annotated[Access, Depends(NeedsInProject("service_accounts.write"))]
) -> ServiceAccountDeleted:
    """Delete an account: its keys stop at once, their history stays. Raises: NotFound."""
    async with changing(access) as change:
        row = await _find(change.conn, access, service_account_id)
        if not await service_accounts.remove(change.conn, access.org.id, row.id):
            raise NotFound("this service account was deleted a moment ago", param="service_account_id")
        await api_keys.revoke_of_service_account(change.conn, access.org.id, row.id)
        await change.record("service_account.deleted", row.public_id, before=ServiceAccountShape.of(row))
    return ServiceAccountDeleted(id=service_account_id)
