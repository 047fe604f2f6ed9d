"""`/v1/organization/projects/{project_id}/users`: roles in a project, in OpenAI's shapes."""

from typing import Annotated, Any, Literal

from fastapi import Depends, Request, Response
from psycopg import AsyncConnection
from psycopg.errors import UniqueViolation
from pydantic import BaseModel, ConfigDict

from router.management.access import Access, NeedsInProject
from router.management.changes import (
    AlreadyExists,
    Conflict,
    IdempotencyKey,
    IfMatch,
    changing,
    check_version,
    creating,
    tell_version,
)
from router.management.fields import PathId, PublicId
from router.management.pages import Listed, Paged
from router.management.users import find_member
from router.routes import routes
from warehouse.access import api_keys, members, projects
from warehouse.access.members import Member
from warehouse.base.errors import NotAllowed, NotFound
from warehouse.identity.policy import Scope, policy

router = routes("project users", "/organization/projects/{project_id}/users")
Role = Literal["admin", "member", "viewer"]


class ProjectUserShape(BaseModel):
    """A member of a project; instants are Unix seconds."""

    object: Literal["organization.project.user"] = "organization.project.user"
    id: str
    name: str
    email: str
    role: Role
    added_at: int
    version: int

    @classmethod
    def of(cls, row: Member) -> "ProjectUserShape":
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
    """The role that somebody is to have in the project."""

    model_config = ConfigDict(extra="forbid")
    role: Role


class NewProjectUser(RoleBody):
    """Who is added, and as what."""

    user_id: PublicId


class ProjectUserDeleted(BaseModel):
    """The answer to a removal."""

    object: Literal["organization.project.user.deleted"] = "organization.project.user.deleted"
    id: str
    deleted: Literal[True] = True


@router.get("", response_model=Listed[ProjectUserShape])
async def list_project_users(
    access: Annotated[Access, Depends(NeedsInProject("project_users.read"))], window: Paged
) -> Listed[ProjectUserShape]:
    """Members of a project by age."""
    async with access.transaction() as conn:
        rows = await members.project_page(conn, access.org.id, access.in_project.id, **await window.values(conn, "users"))
    return window.page([ProjectUserShape.of(row) for row in rows], [row.public_id for row in rows])


@router.post("", response_model=ProjectUserShape)
async def create_project_user(
    body: NewProjectUser,
    request: Request,
    access: Annotated[Access, Depends(NeedsInProject("project_users.write"))],
    idempotency_key: IdempotencyKey = None,
) -> ProjectUserShape | dict[str, Any]:
    """Add a member of the organization. Raises: NotFound (no member), AlreadyExists, Conflict (archived), NotAllowed."""
    async with creating(access, request, body, idempotency_key) as creation:
        if creation.known is not None:
            return creation.known
        await check_active(creation.conn, access)
        _check_gives(access, body.role)
        user = await find_member(creation.conn, access, body.user_id)
        try:
            await members.project_add(creation.conn, access.org.id, access.in_project.id, user.user_id, body.role)
        except UniqueViolation as error:
            raise AlreadyExists("this user is in the project already: change the role instead", param="user_id") from error
        shape = ProjectUserShape.of(await _find(creation.conn, access, body.user_id))
        await creation.changing.record("project_user.created", shape.id, after=shape)
        await creation.keep(shape)
        return shape


async def check_active(conn: AsyncConnection, access: Access) -> None:
    """The project stays active until this transaction ends. Raises: Conflict: it is archived."""
    if (await projects.lock(conn, access.org.id, access.in_project.id)).archived_at is not None:
        raise Conflict("this project is archived: it cannot be changed any more", param="project_id")


def _check_gives(access: Access, role: str) -> None:
    """Raises: NotAllowed: the role has more than the caller has in this project."""
    granted = policy().granted(access.principal, Scope(access.org.id, access.in_project.id))
    wanted = policy().project_roles[role]
    if any(name not in granted and name.removesuffix(":own") not in granted for name in wanted):
        raise NotAllowed(f"the role {role!r} has permissions that you do not have in this project", param="role")


async def _find(conn: AsyncConnection, access: Access, user_id: str) -> Member:
    row = await members.project_find(conn, access.org.id, access.in_project.id, user_id)
    if row is None:
        raise NotFound("this project has no such member", param="user_id")
    return row


@router.get("/{user_id}", response_model=ProjectUserShape)
async def get_project_user(
    user_id: PathId, response: Response, access: Annotated[Access, Depends(NeedsInProject("project_users.read"))]
) -> ProjectUserShape:
    """One member of a project. Raises: NotFound."""
    async with access.transaction() as conn:
        row = await _find(conn, access, user_id)
    tell_version(response, row.version)
    return ProjectUserShape.of(row)


@router.post("/{user_id}", response_model=ProjectUserShape)
async def update_project_user(
    user_id: PathId,
    body: RoleBody,
    response: Response,
    access: Annotated[Access, Depends(NeedsInProject("project_users.write"))],
    if_match: IfMatch = None,
) -> ProjectUserShape:
    """Change a role in a project. Raises: NotFound, NotAllowed, Conflict (archived), VersionChanged."""
    async with changing(access) as change:
        await check_active(change.conn, access)
        before = await _find(change.conn, access, user_id)
        check_version(if_match, before.version)
        row = before
        if body.role != before.role:
            _check_gives(access, body.role)
            await members.project_set_role(change.conn, access.org.id, access.in_project.id, before.user_id, body.role)
            row = await _find(change.conn, access, user_id)
            shapes = ProjectUserShape.of(before), ProjectUserShape.of(row)
            await change.record("project_user.updated", user_id, before=shapes[0], after=shapes[1])
    tell_version(response, row.version)
    return ProjectUserShape.of(row)


@router.delete("/{user_id}", response_model=ProjectUserDeleted)
async def delete_project_user(
    user_id: PathId, access: Annotated[Access, Depends(NeedsInProject("project_users.write"))]
) -> ProjectUserDeleted:
    """Remove somebody from a project; own keys there end at once. Raises: NotFound, Conflict (archived)."""
    async with changing(access) as change:
        await check_active(change.conn, access)
        before = await _find(change.conn, access, user_id)
        await api_keys.revoke_of_user_in_project(change.conn, access.org.id, access.in_project.id, before.user_id)
        await members.project_remove(change.conn, access.org.id, access.in_project.id, before.user_id)
        await change.record("project_user.deleted", user_id, before=ProjectUserShape.of(before))
    return ProjectUserDeleted(id=user_id)
