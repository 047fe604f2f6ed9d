"""`/v1/invites/accept`: the invited person joins, as somebody new or as the user who has the address already."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

from fastapi import Request
from psycopg import AsyncConnection
from pydantic import BaseModel, ConfigDict, Field, SecretStr

from router.management.access import Management, signed_in, transaction
from router.management.changes import AlreadyExists, Conflict
from router.management.fields import Text
from router.management.invites import InviteProject, InviteShape, status
from router.management.sign_in import Code, Password, actor_of, check_second_factor, hash_of, is_password
from router.management.state import ManagementState
from router.management.throttle import begin_attempt
from router.management.users import Role
from router.routes import routes
from warehouse.access import audit_log, invites, members, people, principals
from warehouse.access.audit_log import Change
from warehouse.access.invites import Invite
from warehouse.base.clock import now
from warehouse.base.errors import AuthenticationFailed, InvalidRequest, NotAllowed, NotFound
from warehouse.base.ids import public_id
from warehouse.identity.invites import InviteToken
from warehouse.identity.passwords import PASSWORD_CHARACTERS_MIN

router = routes("invites", "/invites")
TOKEN_CHARACTERS_MAX = 128
_ASK = "ask whoever invited you for a new one"


class Acceptance(BaseModel):
    """Who joins: somebody new says name and password; who has a user here proves it by the password or by a session."""

    model_config = ConfigDict(extra="forbid")
    token: Annotated[SecretStr, Field(min_length=1, max_length=TOKEN_CHARACTERS_MAX)]
    name: Text | None = None
    password: Password | None = None
    totp_code: Code | None = None


class JoinedOrganization(BaseModel):
    """The organization that was joined."""

    id: str
    name: str


class JoinedUser(BaseModel):
    """Who joined."""

    id: str
    email: str


class AcceptedInvite(BaseModel):
    """What came of an invite. `projects` are those that are still there."""

    object: Literal["organization.invite.accepted"] = "organization.invite.accepted"
    id: str
    organization: JoinedOrganization
    user: JoinedUser
    role: Role
    projects: list[InviteProject]


@dataclass(frozen=True, slots=True)
class Joining:
    """Who joins: an existing user, or one to be made (`user_id` is None)."""

    public_id: str
    email: str
    user_id: int | None = None
    name: str = ""
    password_hash: str = field(default="", repr=False)


@router.post("/accept", response_model=AcceptedInvite)
async def accept_invite(body: Acceptance, request: Request, state: Management) -> AcceptedInvite:
    """Join an organization; works once. Raises: NotFound (no such invite), Conflict (used, expired, withdrawn, or the
    organization is suspended), InvalidRequest (name and password are needed), AuthenticationFailed, NotAllowed (the address is
    somebody else's), AlreadyExists (a member), SecondFactorNeeded, TooManyAttempts."""
    token = InviteToken.parse(body.token.get_secret_value().strip())
    if token is None:
        raise _unknown()
    token_hash = token.hash(state.key_pepper)
    async with transaction(state, None, platform=True) as conn:
        invite = await _usable(conn, token_hash)
        person = await invites.person(conn, invite.email)
        user = await people.find_user(conn, person.id) if person else None
    if person is not None and user is None:
        raise NotAllowed("this user is disabled: ask whoever runs this installation", param="token")
    if user is not None:
        await _prove(request, state, body, user)
        joining = Joining(user.public_id, user.email, user.id)
    else:
        joining = await _somebody_new(request, state, body, invite)
    return await _join(request, state, token_hash, joining)


def _unknown() -> NotFound:
    return NotFound(f"there is no such invite, or a newer one was sent: use the newest, or {_ASK}", param="token")


async def _usable(conn: AsyncConnection, token_hash: bytes, *, lock: bool = False) -> Invite:
    """The open invite of a token. Raises: NotFound, Conflict."""
    invite = await invites.find_by_token(conn, token_hash, lock=lock)
    if invite is None:
        raise _unknown()
    refusals = {
        "accepted": "this invite was accepted already: sign in",
        "expired": f"this invite has expired: {_ASK}",
        "revoked": f"this invite was withdrawn: {_ASK}",
    }
    if (refusal := refusals.get(status(invite, now()))) is not None:
        raise Conflict(refusal, param="token")
    host = await invites.host(conn, invite.org_id)
    if host.deleted or host.suspended:
        raise Conflict(f"the organization of this invite is {'deleted' if host.deleted else 'suspended'}", param="token")
    return invite


async def _prove(request: Request, state: ManagementState, body: Acceptance, user: people.User) -> None:
    """Whether it is the user who asks. Raises: AuthenticationFailed, NotAllowed, SecondFactorNeeded, TooManyAttempts."""
    if "authorization" in request.headers:
        session = await signed_in(request, state)
        if session.user_id != user.id:
            raise NotAllowed("this invite is for another address than that of your session: sign in as that user")
        return
    if body.password is None or not state.settings.password_sign_in:
        raise AuthenticationFailed(
            "somebody has the address of this invite already: send a session of that user in Authorization, or the password"
            " where this installation takes passwords",
            param="password",
        )
    attempt = await begin_attempt(state, request, user.email)
    if not await is_password(user, body.password):
        raise AuthenticationFailed(
            "somebody has the address of this invite already, and the password is another", param="password"
        )
    await check_second_factor(state, user, body.totp_code)
    await attempt.succeeded()


async def _somebody_new(request: Request, state: ManagementState, body: Acceptance, invite: Invite) -> Joining:
    """Raises: InvalidRequest: name or password is missing or too short.  NotAllowed."""
    if "authorization" in request.headers:
        raise NotAllowed("this invite is for another address than that of your session: sign out first")
    if not state.settings.password_sign_in:
        raise NotAllowed("this installation takes no passwords: sign in with its identity provider, then accept with the session")
    if body.name is None:
        raise InvalidRequest("say your name: a user is made for you", param="name")
    password = body.password.get_secret_value() if body.password else ""
    if body.password is None or len(password) < PASSWORD_CHARACTERS_MIN:
        raise InvalidRequest(f"choose a password of at least {PASSWORD_CHARACTERS_MIN} characters", param="password")
    return Joining(public_id("user"), invite.email, None, body.name, await hash_of(body.password))


async def _join(request: Request, state: ManagementState, token_hash: bytes, joining: Joining) -> AcceptedInvite:
    """One transaction: the user if new, the membership, the roles in projects, and the invite is used up."""
    async with transaction(state, None, platform=True) as conn:
        seen = await _usable(conn, token_hash)
        await members.lock(conn, seen.org_id)
        before = await _usable(conn, token_hash, lock=True)
        user_id = joining.user_id or await invites.add_user(
            conn,
            public_id=joining.public_id,
            email=joining.email,
            name=joining.name,
            password_hash=joining.password_hash,
        )
        if user_id is None:
            raise Conflict("somebody has got this address meanwhile: accept again with that user's password", param="token")
        if not await invites.add_member(conn, before.org_id, user_id, before.role):
            raise AlreadyExists("you are a member of this organization already: whoever manages its users changes your role")
        actor = actor_of(request, joining.public_id, joining.email)

        async def record(event_type: str, target_id: str, project_id: int | None = None, **shapes: dict[str, object]) -> None:
            change = Change(event_type, target_id, before.org_id, project_id, shapes.get("before"), shapes.get("after"))
            await audit_log.append(conn, actor, change, state.audit_key)

        row = await invites.accept(conn, before.org_id, before.id)
        shapes = [InviteShape.of(invite).model_dump(mode="json") for invite in (before, row)]
        await record("invite.accepted", row.public_id, before=shapes[0], after=shapes[1])
        await record("user.added", joining.public_id, after={"email": joining.email, "role": row.role})
        joined = []
        for wanted in row.projects:
            project = await principals.find_project(conn, row.org_id, wanted["id"])
            if project is None or project.archived_at is not None:
                continue
            await members.project_add(conn, row.org_id, project.id, user_id, wanted["role"])
            await record("project_user.created", joining.public_id, project.id, after={"role": wanted["role"]})
            joined.append(InviteProject.model_validate(wanted))
        host = await invites.host(conn, row.org_id)
    return AcceptedInvite(
        id=row.public_id,
        organization=JoinedOrganization(id=host.public_id, name=host.name),
        user=JoinedUser(id=joining.public_id, email=joining.email),
        role=row.role,  # type: ignore[arg-type]  # the column has exactly these values
        projects=joined,
    )
