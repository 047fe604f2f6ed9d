"""`/v1/sessions/device`: sign in on a device without a browser, by a code that its user confirms elsewhere (RFC 8628)."""

import hashlib
import hmac
import secrets
from datetime import timedelta
from typing import Annotated, Literal

from fastapi import Request
from pydantic import BaseModel, ConfigDict, Field

from router.management.access import Management, SignedIn, address, transaction
from router.management.sign_in import NewSession, actor_of, open_session
from router.management.state import ManagementState
from router.management.throttle import begin_attempt
from router.routes import routes
from warehouse.access import audit_log, device_logins, people
from warehouse.access.audit_log import Change
from warehouse.base.clock import now
from warehouse.base.errors import InferhouseError, InvalidRequest, NotFound, NotReady

router = routes("sessions", "/sessions/device")
EXPIRES_S = 600
INTERVAL_S = 3
_POLLED_EARLY = timedelta(seconds=1)
"""How much earlier than asked a device may come: its clock and the way differ."""
_LETTERS = "BCDFGHJKLMNPQRSTVWXZ"  # no vowels, so that no words arise; RFC 8628, section 6.1
USER_CODE = r"^[A-Za-z]{4}-?[A-Za-z]{4}$"

UserCode = Annotated[str, Field(pattern=USER_CODE, max_length=9)]


class AuthorizationPending(InferhouseError):
    """The user has not decided yet."""

    status, code, type = 400, "authorization_pending", "invalid_request_error"


class SlowDown(InferhouseError):
    """The device asked too early."""

    status, code, type = 400, "slow_down", "invalid_request_error"


class AccessDenied(InferhouseError):
    """The user said no."""

    status, code, type = 400, "access_denied", "invalid_request_error"


class ExpiredToken(InferhouseError):
    """The code is too old, unknown or used up."""

    status, code, type = 400, "expired_token", "invalid_request_error"


class DeviceRequest(BaseModel):
    """Nothing is asked of the device."""

    model_config = ConfigDict(extra="forbid")


class NewDeviceLogin(BaseModel):
    """What the device shows, and what it asks with. `expires_in` and `interval` are seconds."""

    object: Literal["device_login"] = "device_login"
    device_code: str
    user_code: str
    verification_uri: str
    verification_uri_complete: str
    expires_in: int
    interval: int


class DeviceCode(BaseModel):
    """What the device was given."""

    model_config = ConfigDict(extra="forbid")
    device_code: str = Field(min_length=1, max_length=128)


class UserCodeBody(BaseModel):
    """The code that the device shows."""

    model_config = ConfigDict(extra="forbid")
    user_code: UserCode


class WaitingDevice(BaseModel):
    """A device that waits for its user; `created_at` is in Unix seconds."""

    object: Literal["device_login.waiting"] = "device_login.waiting"
    user_code: str
    ip: str | None
    user_agent: str | None
    created_at: int


class DeviceDecided(BaseModel):
    """What was decided about a device."""

    object: Literal["device_login.decided"] = "device_login.decided"
    approved: bool


def _hash(state: ManagementState, device_code: str) -> bytes:
    return hmac.digest(state.key_pepper, b"device code\0" + device_code.encode(), hashlib.sha256)


def _plain(user_code: str) -> str:
    letters = user_code.upper().replace("-", "")
    return f"{letters[:4]}-{letters[4:]}"


@router.post("", response_model=NewDeviceLogin)
async def create_device_login(body: DeviceRequest, request: Request, state: Management) -> NewDeviceLogin:
    """Begin. Raises: InvalidRequest: there is no portal in which somebody could approve it."""
    portal = state.settings.portal_url
    if portal is None:
        raise InvalidRequest("this installation has no portal to approve devices in (ROUTER_PORTAL_URL): sign in with a password")
    device_code = secrets.token_urlsafe(32)
    user_code = _plain("".join(secrets.choice(_LETTERS) for _ in range(8)))
    async with transaction(state, None, platform=True) as conn:
        added = await device_logins.add(
            conn,
            device_code_hash=_hash(state, device_code),
            user_code=user_code,
            expires_at=now() + timedelta(seconds=EXPIRES_S),
            ip=address(request),
            user_agent=request.headers.get("user-agent"),
        )
    if not added:
        raise NotReady("no code was free just now: try again", retry_after_s=1)
    page = f"{portal}/device"
    return NewDeviceLogin(
        device_code=device_code,
        user_code=user_code,
        verification_uri=page,
        verification_uri_complete=f"{page}?code={user_code}",
        expires_in=EXPIRES_S,
        interval=INTERVAL_S,
    )


@router.post("/token", response_model=NewSession)
async def create_device_session(body: DeviceCode, request: Request, state: Management) -> NewSession:
    """A session, once the user has approved. Raises: AuthorizationPending, SlowDown, AccessDenied, ExpiredToken."""
    async with transaction(state, None, platform=True) as conn:
        login = await device_logins.poll(conn, _hash(state, body.device_code))
        decided = login is not None and (login.approved_at is not None or login.denied_at is not None)
        if login is not None and (decided or login.expires_at < now()):
            await device_logins.remove(conn, login.id)
        user = await people.find_user(conn, login.user_id) if login is not None and login.user_id is not None else None
    if login is None or login.expires_at < now():
        raise ExpiredToken("this code has expired or was used: begin anew")
    if login.denied_at is not None:
        raise AccessDenied("the sign-in was denied")
    if login.approved_at is None:
        asked_at, early = login.polled_before_at, timedelta(seconds=INTERVAL_S) - _POLLED_EARLY
        if asked_at is not None and now() - asked_at < early:
            raise SlowDown(f"ask every {INTERVAL_S} s", retry_after_s=INTERVAL_S)
        raise AuthorizationPending("nobody has approved this sign-in yet", retry_after_s=INTERVAL_S)
    if user is None:
        raise AccessDenied("the user who approved is disabled")
    return await open_session(state, request, user, "device", second_factor=login.second_factor)


@router.post("/find", response_model=WaitingDevice)
async def find_device(body: UserCodeBody, request: Request, session: SignedIn, state: Management) -> WaitingDevice:
    """Where a device asked from, to be looked at before it is approved. Raises: NotFound, TooManyAttempts."""
    code = _plain(body.user_code)
    attempt = await begin_attempt(state, request, f"device {session.user_public_id}")
    async with transaction(state, None, platform=True) as conn:
        device = await device_logins.find(conn, code)
    if device is None:
        raise NotFound("no device waits with this code: it may have expired", param="user_code")
    await attempt.succeeded()
    created_at = int(device.created_at.timestamp())
    return WaitingDevice(user_code=code, ip=device.ip, user_agent=device.user_agent, created_at=created_at)


@router.post("/approve", response_model=DeviceDecided)
async def approve_device(body: UserCodeBody, request: Request, session: SignedIn, state: Management) -> DeviceDecided:
    """Let the device sign in as the caller. Raises: NotFound, TooManyAttempts."""
    attempt = await begin_attempt(state, request, f"device {session.user_public_id}")
    async with transaction(state, None, platform=True) as conn:
        code = _plain(body.user_code)
        if not await device_logins.approve(conn, code, session.user_id, second_factor=session.second_factor):
            raise NotFound("no device waits with this code: it may have expired", param="user_code")
        actor = actor_of(request, session.user_public_id, session.email)
        await audit_log.append(conn, actor, Change("login.device_approved", session.user_public_id, None), state.audit_key)
    await attempt.succeeded()
    return DeviceDecided(approved=True)


@router.post("/deny", response_model=DeviceDecided)
async def deny_device(body: UserCodeBody, request: Request, session: SignedIn, state: Management) -> DeviceDecided:
    """The device gets no session. Raises: NotFound, TooManyAttempts."""
    attempt = await begin_attempt(state, request, f"device {session.user_public_id}")
    async with transaction(state, None, platform=True) as conn:
        if not await device_logins.deny(conn, _plain(body.user_code)):
            raise NotFound("no device waits with this code: it may have expired", param="user_code")
    await attempt.succeeded()
    return DeviceDecided(approved=False)
