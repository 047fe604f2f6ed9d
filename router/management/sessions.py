"""`/v1/sessions`: sign in with a password, and what becomes of the session."""

from typing import Literal

from fastapi import Request
from pydantic import BaseModel, ConfigDict, Field

from router.management.access import Management, SignedIn, transaction
from router.management.changes import Conflict
from router.management.fields import EMAIL_CHARACTERS_MAX, PathId
from router.management.pages import Listed, Paged
from router.management.sign_in import (
    Code,
    NewSession,
    Password,
    SessionShape,
    actor_of,
    check_second_factor,
    describe,
    is_password,
    open_session,
    with_token,
)
from router.management.throttle import begin_attempt
from router.routes import routes
from warehouse.access import audit_log, people, sessions
from warehouse.access.audit_log import Change
from warehouse.access.sessions import SessionRow
from warehouse.base.errors import AuthenticationFailed, NotAllowed, NotFound

router = routes("sessions")


class Credentials(BaseModel):
    """E-mail address and password, and a code where the user has a second factor."""

    model_config = ConfigDict(extra="forbid")
    email: str = Field(max_length=EMAIL_CHARACTERS_MAX)
    password: Password
    totp_code: Code | None = None


class OidcMethod(BaseModel):
    """The identity provider of this installation."""

    issuer: str


class SignInMethods(BaseModel):
    """How people sign in here."""

    object: Literal["session.methods"] = "session.methods"
    password: bool
    device: bool
    oidc: OidcMethod | None
    portal_url: str | None


class OwnSession(BaseModel):
    """One of the caller's open sessions; instants are Unix seconds."""

    object: Literal["session"] = "session"
    id: str
    method: Literal["password", "oidc", "device"]
    second_factor: bool
    current: bool
    ip: str | None
    user_agent: str | None
    created_at: int
    expires_at: int

    @classmethod
    def of(cls, row: SessionRow, current: str) -> "OwnSession":
        """The shape of a row."""
        return cls(
            id=row.public_id,
            method=row.method,  # type: ignore[arg-type]  # the column's check has the same values
            second_factor=row.second_factor,
            current=row.public_id == current,
            ip=row.ip,
            user_agent=row.user_agent,
            created_at=int(row.created_at.timestamp()),
            expires_at=int(row.expires_at.timestamp()),
        )


class SessionDeleted(BaseModel):
    """The answer to the end of a session."""

    object: Literal["session.deleted"] = "session.deleted"
    id: str
    deleted: Literal[True] = True


class SessionsRevoked(BaseModel):
    """How many other sessions were ended."""

    object: Literal["session.revoked"] = "session.revoked"
    revoked: int


@router.get("/sessions/methods", response_model=SignInMethods)
async def sign_in_methods(state: Management) -> SignInMethods:
    """How people sign in here, for whoever draws the form."""
    settings = state.settings
    oidc = OidcMethod(issuer=settings.oidc_issuer) if settings.oidc_issuer else None
    portal = settings.portal_url
    return SignInMethods(password=settings.password_sign_in, device=portal is not None, oidc=oidc, portal_url=portal)


@router.post("/sessions", response_model=NewSession)
async def create_session(credentials: Credentials, request: Request, state: Management) -> NewSession:
    """Sign in. Raises: AuthenticationFailed: wrong address or password; which of them is not said.  SecondFactorNeeded,
    TooManyAttempts, NotAllowed: this installation takes no passwords."""
    if not state.settings.password_sign_in:
        raise NotAllowed("this installation takes no passwords: sign in with its identity provider")
    attempt = await begin_attempt(state, request, credentials.email)
    async with transaction(state, None, platform=True) as conn:
        user = await people.find_user_by_email(conn, credentials.email)
    if not await is_password(user, credentials.password) or user is None:
        if user is not None:
            await _record_failure(request, state, user)
        raise AuthenticationFailed("wrong e-mail address or password")
    second_factor = await check_second_factor(state, user, credentials.totp_code)
    await attempt.succeeded()
    return await open_session(state, request, user, "password", second_factor=second_factor)


async def _record_failure(request: Request, state: Management, user: people.User) -> None:
    async with transaction(state, None, platform=True) as conn:
        change = Change("login.failed", user.public_id, None)
        await audit_log.append(conn, actor_of(request, user.public_id, user.email), change, state.audit_key)


@router.get("/sessions/current", response_model=SessionShape)
async def current_session(session: SignedIn, state: Management) -> SessionShape:
    """Who is signed in, and what they may look at."""
    return await describe(state, session)


@router.post("/sessions/current/rotate", response_model=NewSession)
async def rotate_session(session: SignedIn, state: Management) -> NewSession:
    """A new token for this session; the one before works for a minute more. Whoever uses an older one ends the session.

    Raises: Conflict: this token has been replaced already.
    """
    async with transaction(state, None, platform=True) as conn:
        serial = await sessions.rotate(conn, session.id, session.serial)
    if serial is None:
        raise Conflict("this token has been replaced already: use the newer one")
    return await with_token(state, session, serial)


@router.get("/sessions", response_model=Listed[OwnSession])
async def list_sessions(session: SignedIn, state: Management, window: Paged) -> Listed[OwnSession]:
    """The caller's open sessions, the newest first."""
    async with transaction(state, None, platform=True) as conn:
        rows = await sessions.page(conn, session.user_id, **await window.values(conn, "sessions", user_id=session.user_id))
    return window.page([OwnSession.of(row, session.public_id) for row in rows], [row.public_id for row in rows])


@router.post("/sessions/revoke_others", response_model=SessionsRevoked)
async def revoke_other_sessions(request: Request, session: SignedIn, state: Management) -> SessionsRevoked:
    """End every session of the caller but this one."""
    async with transaction(state, None, platform=True) as conn:
        ended = await sessions.revoke_others(conn, session.user_id, session.id)
        change = Change("session.others_revoked", session.user_public_id, None, after={"revoked": ended})
        await audit_log.append(conn, actor_of(request, session.user_public_id, session.email), change, state.audit_key)
    return SessionsRevoked(revoked=ended)


@router.delete("/sessions/current", response_model=SessionDeleted)
async def sign_out(request: Request, session: SignedIn, state: Management) -> SessionDeleted:
    """Sign out: the session's tokens are worth nothing from now on."""
    return await _end(request, session, state, session.public_id, "logout.succeeded")


@router.delete("/sessions/{session_id}", response_model=SessionDeleted)
async def revoke_session(session_id: PathId, request: Request, session: SignedIn, state: Management) -> SessionDeleted:
    """End one of the caller's sessions. Raises: NotFound."""
    return await _end(request, session, state, session_id, "session.revoked")


async def _end(request: Request, session: sessions.OpenSession, state: Management, session_id: str, event: str) -> SessionDeleted:
    async with transaction(state, None, platform=True) as conn:
        if not await sessions.revoke(conn, session.user_id, session_id):
            raise NotFound("you have no open session with this id", param="session_id")
        actor = actor_of(request, session.user_public_id, session.email)
        await audit_log.append(conn, actor, Change(event, session_id, None), state.audit_key)
    return SessionDeleted(id=session_id)
