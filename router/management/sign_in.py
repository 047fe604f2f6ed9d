"""What every way to sign in ends with: a session, and the answer that says whose it is."""

import asyncio
from datetime import timedelta
from typing import Annotated, Literal

from fastapi import Request
from psycopg import AsyncConnection
from pydantic import BaseModel, Field, SecretStr

from router.management.access import address, transaction
from router.management.state import ManagementState
from warehouse.access import audit_log, people, sessions
from warehouse.access.audit_log import Actor, Change
from warehouse.access.people import Membership, User
from warehouse.base import requests
from warehouse.base.clock import now
from warehouse.base.errors import AuthenticationFailed, InferhouseError
from warehouse.base.ids import public_id
from warehouse.identity.passwords import PASSWORD_CHARACTERS_MAX, PASSWORD_CHARACTERS_MIN, hash_password, verify_password
from warehouse.identity.sessions import Session, sign

VERIFICATIONS_AT_ONCE_MAX = 2  # argon2 takes 64 MiB and a core for each
_verifications = asyncio.Semaphore(VERIFICATIONS_AT_ONCE_MAX)

Password = Annotated[SecretStr, Field(max_length=PASSWORD_CHARACTERS_MAX)]
NewPassword = Annotated[SecretStr, Field(min_length=PASSWORD_CHARACTERS_MIN, max_length=PASSWORD_CHARACTERS_MAX)]
Code = Annotated[SecretStr, Field(min_length=6, max_length=32, description="Of the authenticator, or a recovery code.")]

WRONG_CODE = "the code is wrong, or was used already: take the next one"


class SecondFactorNeeded(InferhouseError):
    """The password is right, and a code is needed beside it."""

    status, code, type = 401, "totp_required", "authentication_error"


class SignedInUser(BaseModel):
    """The user of a session."""

    id: str
    email: str
    name: str
    platform_admin: bool


class SessionOrganization(BaseModel):
    """An organization that the user may look at, and as what."""

    object: Literal["organization"] = "organization"
    id: str
    org_id: int
    name: str
    role: str
    time_zone: str
    second_factor_needed: bool
    """Whether it shows nothing to this session, because it was begun without a second factor."""


class SessionShape(BaseModel):
    """Who is signed in; instants are Unix seconds."""

    object: Literal["session"] = "session"
    id: str
    method: Literal["password", "oidc", "device"]
    second_factor: bool
    expires_at: int
    user: SignedInUser
    organizations: list[SessionOrganization]


class NewSession(SessionShape):
    """A new session. The token is for `Authorization: Bearer`."""

    token: str


async def is_password(user: User | None, password: SecretStr) -> bool:
    """Whether it is the user's; takes as long where there is no such user."""
    async with _verifications:
        return await asyncio.to_thread(verify_password, user.password_hash if user else None, password.get_secret_value())


async def hash_of(password: SecretStr) -> str:
    """The hash of a new password."""
    async with _verifications:
        return await asyncio.to_thread(hash_password, password.get_secret_value())


async def use_code(conn: AsyncConnection, state: ManagementState, user: User, code: SecretStr) -> bool:
    """Use a code of the authenticator up, or a recovery code; False for a wrong one, or one that was used already."""
    given = code.get_secret_value().strip().replace(" ", "")
    step = None
    if user.totp_secret is not None:
        step = state.second_factor.step_of(user.totp_secret, given, now(), user.totp_step_last)
    if step is not None:
        return await people.use_totp_step(conn, user.id, step)
    return await people.use_recovery_code(conn, user.id, state.second_factor.recovery_hash(given))


async def check_second_factor(state: ManagementState, user: User, code: SecretStr | None) -> bool:
    """Whether the user has shown one. Raises: SecondFactorNeeded, AuthenticationFailed."""
    if user.totp_enabled_at is None:
        return False
    if code is None:
        raise SecondFactorNeeded("send the code of your authenticator as totp_code", param="totp_code")
    async with transaction(state, None, platform=True) as conn:
        right = await use_code(conn, state, user, code)
    if not right:
        raise AuthenticationFailed(WRONG_CODE, param="totp_code")
    return True


def actor_of(request: Request, user_id: str, email: str) -> Actor:
    """A user, where the request came from."""
    return Actor("user", user_id, email, address(request), requests.current_id())


async def open_session(
    state: ManagementState, request: Request, user: User, method: Literal["password", "oidc", "device"], *, second_factor: bool
) -> NewSession:
    """Begin a session."""
    session_id, expires_at = public_id("sess"), now() + timedelta(seconds=state.settings.session_s_max)
    async with transaction(state, None, platform=True) as conn:
        await sessions.add(
            conn,
            public_id=session_id,
            user_id=user.id,
            expires_at=expires_at,
            method=method,
            second_factor=second_factor,
            ip=address(request),
            user_agent=request.headers.get("user-agent"),
        )
        said = {"method": method, "second_factor": second_factor}
        change = Change("login.succeeded", session_id, None, after=said)
        await audit_log.append(conn, actor_of(request, user.public_id, user.email), change, state.audit_key)
        opened = await sessions.find(conn, session_id)
    if opened is None:
        raise AuthenticationFailed("this user is disabled")
    return await with_token(state, opened, opened.serial)


async def with_token(state: ManagementState, session: sessions.OpenSession, serial: int) -> NewSession:
    """The session with the token of this number."""
    token = sign(Session(session.public_id, serial, int(session.expires_at.timestamp())), state.session_secret)
    return NewSession(token=token, **(await describe(state, session)).model_dump())


async def describe(state: ManagementState, session: sessions.OpenSession) -> SessionShape:
    """Who is signed in, and what they may look at; a platform admin at everything."""
    async with transaction(state, None, platform=True) as conn:
        memberships = await people.list_memberships(conn, session.user_id)
        if session.platform_admin:
            own = {membership.org_id for membership in memberships}
            memberships += [other for other in await people.list_organizations(conn) if other.org_id not in own]
    return SessionShape(
        id=session.public_id,
        method=session.method,  # type: ignore[arg-type]  # the column's check has the same values
        second_factor=session.second_factor,
        expires_at=int(session.expires_at.timestamp()),
        user=SignedInUser(
            id=session.user_public_id, email=session.email, name=session.name, platform_admin=session.platform_admin
        ),
        organizations=[_organization(membership, session) for membership in memberships],
    )


def _organization(membership: Membership, session: sessions.OpenSession) -> SessionOrganization:
    return SessionOrganization(
        id=membership.public_id,
        org_id=membership.org_id,
        name=membership.name,
        role=membership.role,
        time_zone=membership.time_zone,
        second_factor_needed=membership.totp_required and not session.second_factor,
    )
