"""`/v1/users/me`: what a signed-in user changes of their own account: the password and the second factor."""

import asyncio
from typing import Literal

from fastapi import Request
from psycopg import AsyncConnection
from pydantic import BaseModel, ConfigDict

from router.management.access import Management, SignedIn, transaction
from router.management.changes import AlreadyExists, Conflict
from router.management.sign_in import WRONG_CODE, Code, NewPassword, Password, actor_of, is_password, use_code
from router.management.state import ManagementState
from router.management.throttle import begin_attempt
from router.routes import routes
from warehouse.access import audit_log, people, sessions
from warehouse.access.audit_log import Change
from warehouse.access.people import User
from warehouse.access.sessions import OpenSession
from warehouse.base.clock import now
from warehouse.base.errors import AuthenticationFailed, InvalidRequest
from warehouse.identity.passwords import hash_password

router = routes("own account", "/users/me")


class PasswordChange(BaseModel):
    """The password now, and the one from now on."""

    model_config = ConfigDict(extra="forbid")
    current_password: Password
    new_password: NewPassword


class PasswordChanged(BaseModel):
    """The answer to a new password. Every other session was ended."""

    object: Literal["user.password"] = "user.password"
    revoked_sessions: int


class TotpRequest(BaseModel):
    """Proof that it is the user who sets up a second factor, where the user has a password."""

    model_config = ConfigDict(extra="forbid")
    password: Password | None = None


class NewTotp(BaseModel):
    """A second factor to be confirmed by its first code. `uri` is for a QR code."""

    object: Literal["user.totp"] = "user.totp"
    secret: str
    uri: str


class CodeBody(BaseModel):
    """A code of the authenticator; where it turns the factor off, a recovery code does as well."""

    model_config = ConfigDict(extra="forbid")
    code: Code


class TotpEnabled(BaseModel):
    """The second factor is in force. The recovery codes are shown this once."""

    object: Literal["user.totp.enabled"] = "user.totp.enabled"
    recovery_codes: list[str]


class TotpDisabled(BaseModel):
    """The second factor is gone."""

    object: Literal["user.totp.deleted"] = "user.totp.deleted"
    deleted: Literal[True] = True


async def _user(conn: AsyncConnection, session: OpenSession) -> User:
    user = await people.lock_user(conn, session.user_id)
    if user is None:
        raise AuthenticationFailed("this user is disabled")
    return user


async def _record(conn: AsyncConnection, state: ManagementState, request: Request, session: OpenSession, event: str) -> None:
    actor = actor_of(request, session.user_public_id, session.email)
    await audit_log.append(conn, actor, Change(event, session.user_public_id, None), state.audit_key)


@router.post("/password", response_model=PasswordChanged)
async def change_password(body: PasswordChange, request: Request, session: SignedIn, state: Management) -> PasswordChanged:
    """Another password; every other session ends. Raises: InvalidRequest: it is not the password now.  TooManyAttempts."""
    attempt = await begin_attempt(state, request, session.email)
    async with transaction(state, None, platform=True) as conn:
        user = await people.find_user(conn, session.user_id)
    if not await is_password(user, body.current_password):
        raise InvalidRequest("this is not your password", param="current_password")
    await attempt.succeeded()
    password_hash = await asyncio.to_thread(hash_password, body.new_password.get_secret_value())
    async with transaction(state, None, platform=True) as conn:
        await people.set_password(conn, session.user_id, password_hash)
        ended = await sessions.revoke_others(conn, session.user_id, session.id)
        await _record(conn, state, request, session, "user.password_changed")
    return PasswordChanged(revoked_sessions=ended)


@router.post("/totp", response_model=NewTotp)
async def begin_totp(body: TotpRequest, request: Request, session: SignedIn, state: Management) -> NewTotp:
    """A secret for an authenticator; in force once its first code has come. Raises: AlreadyExists, InvalidRequest,
    TooManyAttempts."""
    attempt = await begin_attempt(state, request, session.email)
    async with transaction(state, None, platform=True) as conn:
        user = await _user(conn, session)
    if user.totp_enabled_at is not None:
        raise AlreadyExists("you have a second factor: turn it off with one of its codes first (POST /v1/users/me/totp/disable)")
    if user.password_hash is not None and (body.password is None or not await is_password(user, body.password)):
        raise InvalidRequest("send your password, so that it is you who sets up the second factor", param="password")
    await attempt.succeeded()
    secret = state.second_factor.new_secret()
    async with transaction(state, None, platform=True) as conn:
        await people.set_totp_secret(conn, session.user_id, state.second_factor.seal(secret))
    return NewTotp(secret=secret, uri=state.second_factor.uri(secret, session.email))


@router.post("/totp/confirm", response_model=TotpEnabled)
async def confirm_totp(body: CodeBody, request: Request, session: SignedIn, state: Management) -> TotpEnabled:
    """The second factor is in force from now on. Raises: Conflict: none was begun.  AlreadyExists, InvalidRequest,
    TooManyAttempts."""
    attempt = await begin_attempt(state, request, session.email)
    codes = state.second_factor.new_recovery_codes()
    async with transaction(state, None, platform=True) as conn:
        user = await _user(conn, session)
        if user.totp_secret is None:
            raise Conflict("no second factor waits for its first code: begin with POST /v1/users/me/totp")
        if user.totp_enabled_at is not None:
            raise AlreadyExists("your second factor is in force already")
        step = state.second_factor.step_of(user.totp_secret, body.code.get_secret_value(), now(), None)
        if step is None:
            raise InvalidRequest("the code is wrong: check the clock of your phone, and take the next one", param="code")
        await people.enable_totp(conn, user.id, step, [state.second_factor.recovery_hash(code) for code in codes])
        await sessions.confirm_second_factor(conn, session.id)
        await _record(conn, state, request, session, "user.totp_enabled")
    await attempt.succeeded()
    return TotpEnabled(recovery_codes=codes)


@router.post("/totp/disable", response_model=TotpDisabled)
async def disable_totp(body: CodeBody, request: Request, session: SignedIn, state: Management) -> TotpDisabled:
    """Turn the second factor off. Raises: Conflict: there is none.  InvalidRequest, TooManyAttempts."""
    attempt = await begin_attempt(state, request, session.email)
    async with transaction(state, None, platform=True) as conn:
        user = await _user(conn, session)
        if user.totp_enabled_at is None:
            raise Conflict("you have no second factor")
        if not await use_code(conn, state, user, body.code):
            raise InvalidRequest(WRONG_CODE, param="code")
        await people.disable_totp(conn, user.id)
        await _record(conn, state, request, session, "user.totp_disabled")
    await attempt.succeeded()
    return TotpDisabled()
