"""`/v1/organization/users`: members and their roles, in OpenAI's shapes. Source: the Users section of OpenAI's API reference."""

from typing import Annotated, Literal

from fastapi import Depends, Query, Response
from psycopg import AsyncConnection
from pydantic import BaseModel, ConfigDict

from router.management.access import Access, Needs
from router.management.changes import Conflict, IfMatch, changing, check_version, tell_version
from router.management.fields import PathId
from router.management.pages import Listed, Paged
from router.management.parameters import Values, either
from router.routes import routes
from warehouse.access import api_keys, members
from warehouse.access.members import Member
from warehouse.base.errors import NotAllowed, NotFound
from warehouse.identity.policy import policy

router = routes("users", "/organization/users")
Role = Literal["owner", "admin", "billing", "member", "auditor"]


class UserShape(BaseModel):
    """A member of the organization; instants are Unix seconds."""

    object: Literal["organization.user"] = "organization.user"
    id: str
    name: str
    email: str
    role: Role
    added_at: int
    version: int

    @classmethod
    def of(cls, row: Member) -> "UserShape":
        """The shape of a row."""
        return cls(
            id=row.public_id,
            name=row.name,
            email=row.email,
            role=row.role,  # type: ignore[arg-type]  # the column has exactly these values
            added_at=int(row.created_at.timestamp()),
            version=row.version,
        )


class RoleBody(BaseModel):
    """The role that a member is to have."""

    model_config = ConfigDict(extra="forbid")
    role: Role


class UserDeleted(BaseModel):
    """The answer to a removal."""

    object: Literal["organization.user.deleted"] = "organization.user.deleted"
    id: str
    deleted: Literal[True] = True


class TotpDeleted(BaseModel):
    """The answer to a second factor's removal."""

    object: Literal["organization.user.totp.deleted"] = "organization.user.totp.deleted"
    id: str
    deleted: Literal[True] = True


@router.get("", response_model=Listed[UserShape])
async def list_users(
    access: Annotated[Access, Depends(Needs("users.read"))],
    window: Paged,
    emails: Annotated[Values, Query(alias="emails[]", description="Only these addresses.")] = [],  # noqa: B006
    emails_plain: Annotated[Values, Query(alias="emails", include_in_schema=False)] = [],  # noqa: B006
    role: Annotated[Role | None, Query(description="Only members with this role.")] = None,
) -> Listed[UserShape]:
    """Members by age."""
    wanted = either(emails, emails_plain)
    lowered = None if wanted is None else [email.replace("\0", "").lower() for email in wanted]
    async with access.transaction() as conn:
        rows = await members.page(conn, access.org.id, **await window.values(conn, "users"), emails=lowered, role=role)
    return window.page([UserShape.of(row) for row in rows], [row.public_id for row in rows])


@router.get("/{user_id}", response_model=UserShape)
async def get_user(user_id: PathId, response: Response, access: Annotated[Access, Depends(Needs("users.read"))]) -> UserShape:
    """One member. Raises: NotFound."""
    async with access.transaction() as conn:
        row = await find_member(conn, access, user_id)
    tell_version(response, row.version)
    return UserShape.of(row)


async def find_member(conn: AsyncConnection, access: Access, user_id: str, param: str = "user_id") -> Member:
    """A member of the organization. Raises: NotFound."""
    row = await members.find(conn, access.org.id, user_id)
    if row is None:
        raise NotFound("this organization has no such member: invite people with POST /v1/organization/invites", param=param)
    return row


def check_gives(access: Access, role: str) -> None:
    """Whether this caller may give a role away. Raises: NotAllowed: it has more than the caller's own."""
    if role == "owner":
        access.require("owners.write")
    if not policy().at_most(access.principal, role, access.org.id):
        raise NotAllowed(f"the role {role!r} has permissions that you do not have; an owner may give it away", param="role")


async def check_owner_stays(conn: AsyncConnection, access: Access, row: Member) -> None:
    """Whether an owner may stop being one. Raises: NotAllowed: not by this caller.  Conflict: it is the last one."""
    if row.role != "owner":
        return
    await access.still(conn, "owners.write")
    access.require("owners.write")
    if await members.owners(conn, access.org.id) <= 1:
        raise Conflict("this is the last owner of the organization: make somebody else an owner first", param="user_id")


@router.post("/{user_id}", response_model=UserShape)
async def update_user(
    user_id: PathId,
    body: RoleBody,
    response: Response,
    access: Annotated[Access, Depends(Needs("users.write"))],
    if_match: IfMatch = None,
) -> UserShape:
    """Change a member's role. Raises: NotFound, NotAllowed, Conflict (the last owner), VersionChanged."""
    async with changing(access) as change:
        await members.lock(change.conn, access.org.id)
        await access.still(change.conn, "users.write")
        before = await find_member(change.conn, access, user_id)
        check_version(if_match, before.version)
        row = before
        if body.role != before.role:
            check_gives(access, body.role)
            await check_owner_stays(change.conn, access, before)
            await members.set_role(change.conn, access.org.id, before.user_id, body.role)
            row = await find_member(change.conn, access, user_id)
            await change.record("user.updated", user_id, before=UserShape.of(before), after=UserShape.of(row))
    tell_version(response, row.version)
    return UserShape.of(row)


@router.delete("/{user_id}", response_model=UserDeleted)
async def delete_user(user_id: PathId, access: Annotated[Access, Depends(Needs("users.write"))]) -> UserDeleted:
    """Remove a member: own keys and project roles end at once. Raises: NotFound, NotAllowed, Conflict (the last owner)."""
    async with changing(access) as change:
        await members.lock(change.conn, access.org.id)
        await access.still(change.conn, "users.write")
        before = await find_member(change.conn, access, user_id)
        await check_owner_stays(change.conn, access, before)
        # In this order: who makes a key locks the membership, so a key made meanwhile is seen and revoked too.
        await members.remove(change.conn, access.org.id, before.user_id)
        await api_keys.revoke_of_user(change.conn, access.org.id, before.user_id)
        await change.record("user.deleted", user_id, before=UserShape.of(before))
    return UserDeleted(id=user_id)


@router.delete("/{user_id}/totp", response_model=TotpDeleted)
async def delete_user_totp(user_id: PathId, access: Annotated[Access, Depends(Needs("owners.write"))]) -> TotpDeleted:
    """Take away a second factor that was lost. Raises: NotFound: no such member, or the member has none."""
    async with changing(access) as change:
        row = await find_member(change.conn, access, user_id)
        if not await members.forget_totp(change.conn, access.org.id, row.user_id):
            raise NotFound("this member has no second factor", param="user_id")
        await change.record("user.totp.deleted", user_id)
    return TotpDeleted(id=user_id)
