"""`/v1/organization/projects`: OpenAI's shapes. Source: the Projects section of OpenAI's API reference."""

from typing import Annotated, Any, Literal

from fastapi import Depends, Query, Request, Response
from psycopg.errors import UniqueViolation
from pydantic import BaseModel, ConfigDict

from router.management.access import Access, Needs, NeedsInProject
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
from router.management.fields import Text
from router.management.pages import Listed, Paged
from router.routes import routes
from warehouse.access import projects
from warehouse.access.principals import Project
from warehouse.base.ids import public_id
from warehouse.identity.policy import Scope, policy

router = routes("projects", "/organization/projects")


class ProjectShape(BaseModel):
    """A project as the API shows it; instants are Unix seconds."""

    object: Literal["organization.project"] = "organization.project"
    id: str
    name: str
    created_at: int
    archived_at: int | None
    status: Literal["active", "archived"]
    version: int

    @classmethod
    def of(cls, row: Project) -> "ProjectShape":
        """The shape of a row."""
        archived = int(row.archived_at.timestamp()) if row.archived_at else None
        return cls(
            id=row.public_id,
            name=row.name,
            created_at=int(row.created_at.timestamp()),
            archived_at=archived,
            status="archived" if row.archived_at else "active",
            version=row.version,
        )


class ProjectBody(BaseModel):
    """What a project is made of or changed to."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True)
    name: Text


@router.get("", response_model=Listed[ProjectShape])
async def list_projects(
    access: Annotated[Access, Depends(Needs("organization.read"))],
    window: Paged,
    include_archived: Annotated[bool, Query()] = False,
) -> Listed[ProjectShape]:
    """Projects by age: all of them for those who may read every project, otherwise the caller's own."""
    sees_all = policy().allowed(access.principal, "projects.read", Scope(access.org.id)).allowed
    member = None if sees_all else access.principal.user_id or 0
    async with access.transaction() as conn:
        rows = await projects.page(
            conn,
            access.org.id,
            **await window.values(conn, "projects", org_id=access.org.id),
            include_archived=include_archived,
            member_user_id=member,
        )
    return window.page([ProjectShape.of(row) for row in rows], [row.public_id for row in rows])


@router.post("", response_model=ProjectShape)
async def create_project(
    body: ProjectBody,
    request: Request,
    access: Annotated[Access, Depends(Needs("projects.create"))],
    idempotency_key: IdempotencyKey = None,
) -> ProjectShape | dict[str, Any]:
    """A new project. Raises: AlreadyExists: the organization has one of this name."""
    async with creating(access, request, body, idempotency_key) as creation:
        if creation.known is not None:
            return creation.known
        try:
            row = await projects.add(creation.conn, access.org.id, public_id("proj"), body.name)
        except UniqueViolation as error:
            raise AlreadyExists(f"this organization has a project called {body.name!r}", param="name") from error
        shape = ProjectShape.of(row)
        await creation.changing.record("project.created", row.public_id, after=shape, project_id=row.id)
        await creation.keep(shape)
        return shape


@router.get("/{project_id}", response_model=ProjectShape)
async def get_project(response: Response, access: Annotated[Access, Depends(NeedsInProject("projects.read"))]) -> ProjectShape:
    """One project."""
    tell_version(response, access.in_project.version)
    return ProjectShape.of(access.in_project)


@router.post("/{project_id}", response_model=ProjectShape)
async def update_project(
    body: ProjectBody,
    response: Response,
    access: Annotated[Access, Depends(NeedsInProject("projects.write"))],
    if_match: IfMatch = None,
) -> ProjectShape:
    """Rename a project. Raises: AlreadyExists, Conflict (it is archived), VersionChanged."""
    async with changing(access) as change:
        before = await projects.lock(change.conn, access.org.id, access.in_project.id)
        check_version(if_match, before.version)
        if before.archived_at is not None:
            raise Conflict("this project is archived: it cannot be changed any more", param="project_id")
        try:
            row = await projects.rename(change.conn, access.org.id, before.id, body.name)
        except UniqueViolation as error:
            raise AlreadyExists(f"this organization has a project called {body.name!r}", param="name") from error
        shape = ProjectShape.of(row)
        await change.record("project.updated", row.public_id, before=ProjectShape.of(before), after=shape)
    tell_version(response, row.version)
    return shape


@router.post("/{project_id}/archive", response_model=ProjectShape)
async def archive_project(
    access: Annotated[Access, Depends(NeedsInProject("projects.write"))], if_match: IfMatch = None
) -> ProjectShape:
    """Archive a project: its keys stop at once, its usage stays. A second time changes nothing."""
    async with changing(access) as change:
        before = await projects.lock(change.conn, access.org.id, access.in_project.id)
        check_version(if_match, before.version)
        if before.archived_at is not None:
            return ProjectShape.of(before)
        row = await projects.archive(change.conn, access.org.id, before.id)
        shape = ProjectShape.of(row)
        await change.record("project.archived", row.public_id, before=ProjectShape.of(before), after=shape)
    return shape
