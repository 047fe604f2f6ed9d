"""`/v1/sessions`: sign in to the portal."""

import asyncio
import time
from typing import Literal

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field, SecretStr

from router.management.access import Management, SignedIn, transaction
from router.management.state import ManagementState
from warehouse.access.people import Membership, User, find_user_by_email, list_memberships, list_organizations
from warehouse.base.errors import AuthenticationFailed
from warehouse.identity.passwords import verify_password
from warehouse.identity.sessions import Session, sign

router = APIRouter(tags=["sessions"])
PASSWORD_CHARACTERS_MAX = 1024
VERIFICATIONS_AT_ONCE_MAX = 2  # argon2 takes 64 MiB and a core for each
_verifications = asyncio.Semaphore(VERIFICATIONS_AT_ONCE_MAX)


class Credentials(BaseModel):
    """E-mail address and password."""

    model_config = ConfigDict(extra="forbid")
    email: str = Field(max_length=320)
    password: SecretStr = Field(max_length=PASSWORD_CHARACTERS_MAX)


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


class SessionShape(BaseModel):
    """Who is signed in."""

    object: Literal["session"] = "session"
    user: SignedInUser
    organizations: list[SessionOrganization]


class NewSession(SessionShape):
    """A new session. The token is for `Authorization: Bearer`; `expires_at` is in Unix seconds."""

    token: str
    expires_at: int


@router.post("/sessions", response_model=NewSession)
async def create_session(credentials: Credentials, state: Management) -> NewSession:
    """Sign in. Raises: AuthenticationFailed: wrong address or password; which of them is not said."""
    async with transaction(state, None, platform=True) as conn:
        user = await find_user_by_email(conn, credentials.email)
    password = credentials.password.get_secret_value()
    async with _verifications:
        right = await asyncio.to_thread(verify_password, user.password_hash if user else None, password)
    if user is None or not right:
        raise AuthenticationFailed("wrong e-mail address or password")
    expires_at_s = int(time.time()) + state.session_s_max
    token = sign(Session(user.id, expires_at_s), state.session_secret)
    who = await _shape(state, user)
    return NewSession(token=token, expires_at=expires_at_s, user=who.user, organizations=who.organizations)


@router.get("/sessions/current", response_model=SessionShape)
async def current_session(user: SignedIn, state: Management) -> SessionShape:
    """Who is signed in, and what they may look at."""
    return await _shape(state, user)


async def _shape(state: ManagementState, user: User) -> SessionShape:
    async with transaction(state, None, platform=True) as conn:
        memberships = await list_memberships(conn, user.id)
        if user.platform_admin:
            own = {membership.org_id for membership in memberships}
            memberships += [other for other in await list_organizations(conn) if other.org_id not in own]
    return SessionShape(
        user=SignedInUser(id=user.public_id, email=user.email, name=user.name, platform_admin=user.platform_admin),
        organizations=[_membership(membership) for membership in memberships],
    )


def _membership(membership: Membership) -> SessionOrganization:
    return SessionOrganization(
        id=membership.public_id,
        org_id=membership.org_id,
        name=membership.name,
        role=membership.role,
        time_zone=membership.time_zone,
    )
