"""`/v1/organization/invites`: OpenAI's shapes. Source: the Invites section of OpenAI's API reference.

The token of an invite is shown once, in the answer that makes it; what becomes of it is in `accept_invite.py`.
"""

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import Depends, Query, Request, Response
from psycopg import AsyncConnection
from pydantic import BaseModel, ConfigDict, Field

from router.management.access import Access, Needs
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
from router.management.fields import Email, PathId, PublicId
from router.management.pages import Listed, Paged
from router.management.users import Role, check_gives
from router.routes import routes
from warehouse.access import invites, members, principals
from warehouse.access.invites import Invite
from warehouse.base.clock import now
from warehouse.base.errors import InvalidRequest, NotAllowed, NotFound
from warehouse.base.ids import public_id
from warehouse.identity.invites import InviteToken
from warehouse.identity.policy import OWN, Scope, policy

router = routes("invites", "/organization/invites")
SECRETS = frozenset({"token", "url"})
DAYS = 7
DAYS_MAX = 30
PROJECTS_MAX = 20
Status = Literal["pending", "accepted", "expired", "revoked"]
Days = Annotated[int, Field(ge=1, le=DAYS_MAX, strict=True, description="For so many days it can be accepted.")]


class InviteProject(BaseModel):
    """A role in a project, beside the role in the organization."""

    model_config = ConfigDict(extra="forbid")
    id: PublicId
    role: Literal["admin", "member", "viewer"]


class InviteShape(BaseModel):
    """An invite; instants are Unix seconds."""

    object: Literal["organization.invite"] = "organization.invite"
    id: str
    email: str
    role: Role
    status: Status
    created_at: int
    invited_at: int
    expires_at: int
    accepted_at: int | None
    revoked_at: int | None
    invited_by: str
    projects: list[InviteProject]
    version: int

    @classmethod
    def of(cls, row: Invite) -> "InviteShape":
        """The shape of a row."""
        created_at = int(row.created_at.timestamp())
        return cls(
            id=row.public_id,
            email=row.email,
            role=row.role,  # type: ignore[arg-type]  # the column has exactly these values
            status=status(row, now()),
            created_at=created_at,
            invited_at=created_at,
            expires_at=int(row.expires_at.timestamp()),
            accepted_at=int(row.accepted_at.timestamp()) if row.accepted_at else None,
            revoked_at=int(row.revoked_at.timestamp()) if row.revoked_at else None,
            invited_by=row.invited_by,
            projects=[InviteProject.model_validate(project) for project in row.projects],
            version=row.version,
        )


class OpenInvite(InviteShape):
    """An invite with its token: the only answer that has it."""

    token: str | None = Field(description="For the invited person. Not shown again, and null where a create is repeated.")
    url: str | None = Field(description="Where the portal takes the token; null where this installation has no portal.")


class InviteBody(BaseModel):
    """Who is invited, as what, and for how long."""

    model_config = ConfigDict(extra="forbid")
    email: Email
    role: Role
    projects: list[InviteProject] = Field(default=[], max_length=PROJECTS_MAX)
    expires_in_days: Days = DAYS


class Renewal(BaseModel):
    """For how long an invite is open again."""

    model_config = ConfigDict(extra="forbid")
    expires_in_days: Days = DAYS


class InviteDeleted(BaseModel):
    """The answer to a withdrawal."""

    object: Literal["organization.invite.deleted"] = "organization.invite.deleted"
    id: str
    deleted: Literal[True] = True


def status(row: Invite, at: datetime) -> Status:
    """What an invite is at an instant. One that had expired before it was replaced stays expired."""
    if row.accepted_at is not None:
        return "accepted"
    if (row.revoked_at or at) >= row.expires_at:
        return "expired"
    return "pending" if row.revoked_at is None else "revoked"


@router.get("", response_model=Listed[InviteShape])
async def list_invites(
    access: Annotated[Access, Depends(Needs("invites.read"))],
    window: Paged,
    email: Annotated[Email | None, Query(description="Only for this address.")] = None,
    wanted: Annotated[Status | None, Query(alias="status", description="Only invites that are this.")] = None,
) -> Listed[InviteShape]:
    """Invites by age, open or not."""
    async with access.transaction() as conn:
        rows = await invites.page(
            conn, access.org.id, **await window.values(conn, "invites", org_id=access.org.id), email=email, status=wanted
        )
    return window.page([InviteShape.of(row) for row in rows], [row.public_id for row in rows])


@router.post("", response_model=OpenInvite)
async def create_invite(
    body: InviteBody,
    request: Request,
    access: Annotated[Access, Depends(Needs("invites.write"))],
    idempotency_key: IdempotencyKey = None,
) -> OpenInvite | dict[str, Any]:
    """Invite somebody. Raises: NotAllowed (more than the caller has), AlreadyExists (a member, or an open invite), NotFound."""
    async with creating(access, request, body, idempotency_key) as creation:
        if creation.known is not None:
            return creation.known
        conn = creation.conn
        check_gives(access, body.role)
        await members.lock(conn, access.org.id)
        await _check_projects(conn, access, body.projects)
        await _check_new(conn, access, body.email)
        token = InviteToken.generate()
        row = await invites.add(
            conn,
            access.org.id,
            public_id=public_id("invite"),
            email=body.email,
            role=body.role,
            projects=[project.model_dump() for project in body.projects],
            token_hash=token.hash(access.state.key_pepper),
            invited_by=access.principal.public_id,
            days=body.expires_in_days,
        )
        shape = _opened(access, row, token)
        await creation.changing.record("invite.sent", row.public_id, after=InviteShape.of(row))
        await creation.keep(shape, secrets=SECRETS)
        return shape


async def _check_projects(conn: AsyncConnection, access: Access, projects: list[InviteProject]) -> None:
    """Raises: InvalidRequest: one is named twice.  NotFound, Conflict (archived), NotAllowed: more than the caller has there."""
    if len({project.id for project in projects}) < len(projects):
        raise InvalidRequest("a project is named twice: one role in each", param="projects")
    for wanted in projects:
        project = await principals.find_project(conn, access.org.id, wanted.id)
        if project is None:
            raise NotFound(f"there is no project {wanted.id!r} in this organization", param="projects")
        if project.archived_at is not None:
            raise Conflict(f"the project {wanted.id!r} is archived: nobody joins it any more", param="projects")
        scope = Scope(access.org.id, project.id)
        decision = policy().allowed(access.principal, "project_users.write", scope)
        given = {name.removesuffix(OWN) for name in policy().project_roles[wanted.role]}
        if not decision.allowed or not given <= policy().granted(access.principal, scope):
            raise NotAllowed(f"you may not give this role in the project {wanted.id!r}: {decision.reason}", param="projects")


async def _check_new(conn: AsyncConnection, access: Access, email: str) -> None:
    """Makes way for a new invite. Raises: AlreadyExists: the address is a member's, or has an open invite."""
    member = await invites.member_with_email(conn, access.org.id, email)
    if member is not None:
        raise AlreadyExists(
            f"this address is a member's already: change the role with POST /v1/organization/users/{member}", param="email"
        )
    known = await invites.find_open(conn, access.org.id, email)
    if known is None:
        return
    if status(known, now()) == "pending":
        path = f"/v1/organization/invites/{known.public_id}"
        raise AlreadyExists(
            f"this address has an open invite: send it anew with POST {path}/resend, or withdraw it with DELETE {path}",
            param="email",
        )
    await invites.revoke(conn, access.org.id, known.id)


def _opened(access: Access, row: Invite, token: InviteToken) -> OpenInvite:
    portal = access.state.settings.portal_url
    url = f"{portal}/invite?token={token.reveal()}" if portal else None
    return OpenInvite(**InviteShape.of(row).model_dump(), token=token.reveal(), url=url)


async def _find(conn: AsyncConnection, access: Access, invite_id: str, *, lock: bool = False) -> Invite:
    row = await invites.find(conn, access.org.id, invite_id, lock=lock)
    if row is None:
        raise NotFound("this organization has no such invite", param="invite_id")
    return row


@router.get("/{invite_id}", response_model=InviteShape)
async def get_invite(
    invite_id: PathId, response: Response, access: Annotated[Access, Depends(Needs("invites.read"))]
) -> InviteShape:
    """One invite, open or not. Raises: NotFound."""
    async with access.transaction() as conn:
        row = await _find(conn, access, invite_id)
    tell_version(response, row.version)
    return InviteShape.of(row)


@router.post("/{invite_id}/resend", response_model=OpenInvite)
async def resend_invite(
    invite_id: PathId,
    response: Response,
    access: Annotated[Access, Depends(Needs("invites.write"))],
    body: Renewal | None = None,
    if_match: IfMatch = None,
) -> OpenInvite:
    """Another token and another end; the token before is worth nothing. Raises: NotFound, NotAllowed (more than the caller has),
    Conflict (accepted or withdrawn), VersionChanged."""
    async with changing(access) as change:
        before = await _find(change.conn, access, invite_id, lock=True)
        check_version(if_match, before.version)
        check_gives(access, before.role)
        if before.accepted_at is not None:
            raise Conflict("this invite was accepted already", param="invite_id")
        if before.revoked_at is not None:
            raise Conflict("this invite was withdrawn or replaced: make a new one", param="invite_id")
        token = InviteToken.generate()
        days = (body or Renewal()).expires_in_days
        row = await invites.renew(change.conn, access.org.id, before.id, token.hash(access.state.key_pepper), days)
        await change.record("invite.resent", invite_id, before=InviteShape.of(before), after=InviteShape.of(row))
    tell_version(response, row.version)
    return _opened(access, row, token)


@router.delete("/{invite_id}", response_model=InviteDeleted)
async def delete_invite(invite_id: PathId, access: Annotated[Access, Depends(Needs("invites.write"))]) -> InviteDeleted:
    """Withdraw an invite; a second time changes nothing. Raises: NotFound, Conflict (it was accepted)."""
    async with changing(access) as change:
        before = await _find(change.conn, access, invite_id, lock=True)
        if before.accepted_at is not None:
            raise Conflict("this invite was accepted: remove the member instead", param="invite_id")
        if before.revoked_at is None:
            row = await invites.revoke(change.conn, access.org.id, before.id)
            await change.record("invite.deleted", invite_id, before=InviteShape.of(before), after=InviteShape.of(row))
    return InviteDeleted(id=invite_id)
