"""`/v1/sessions/oidc`: sign in with the identity provider of this installation."""

import hashlib
import hmac
import re
import secrets
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Literal

from fastapi import Request
from psycopg import AsyncConnection
from pydantic import BaseModel, ConfigDict, Field, SecretStr

from router.management.access import Management, transaction
from router.management.fields import EMAIL_CHARACTERS_MAX, NAME_CHARACTERS_MAX
from router.management.group_memberships import follow_groups
from router.management.sign_in import NewSession, open_session
from router.management.state import ManagementState
from router.routes import routes
from warehouse.access import federated_users, oidc_logins, people
from warehouse.access.federated_users import FederatedUser
from warehouse.base.clock import now
from warehouse.base.errors import AuthenticationFailed, InvalidRequest, NotAllowed
from warehouse.base.ids import public_id

if TYPE_CHECKING:
    from router.management.oidc_provider import Identity, OidcProvider

router = routes("sessions", "/sessions/oidc")
EXPIRES_S = 600
_LOOPBACK = re.compile(r"http://(127\.0\.0\.1|\[::1\])(:[0-9]{1,5})?(/[^\s#]*)?")  # RFC 8252, section 7.3
_MAIL = re.compile(r"[^@\s\x00-\x1f\x7f-\x9f]+@[^@\s\x00-\x1f\x7f-\x9f]+")


class OidcStart(BaseModel):
    """Where the browser is to come back to: the portal, or a port of the caller's own machine."""

    model_config = ConfigDict(extra="forbid")
    redirect_uri: str = Field(min_length=1, max_length=2000)


class OidcStarted(BaseModel):
    """Where the browser goes. Whoever began keeps `state` and compares it when the browser comes back."""

    object: Literal["oidc_login"] = "oidc_login"
    authorization_url: str
    state: str
    expires_in: int


class OidcBack(BaseModel):
    """What the browser came back with."""

    model_config = ConfigDict(extra="forbid")
    state: Annotated[SecretStr, Field(min_length=1, max_length=200)]
    code: Annotated[SecretStr, Field(min_length=1, max_length=4000)]


def _provider(state: ManagementState) -> "OidcProvider":
    if state.oidc is None:
        raise InvalidRequest("this installation has no identity provider (ROUTER_OIDC_ISSUER): sign in with a password")
    return state.oidc


def _hash(state: ManagementState, value: str) -> bytes:
    return hmac.digest(state.key_pepper, b"oidc state\0" + value.encode(), hashlib.sha256)


@router.post("/start", response_model=OidcStarted)
async def start_oidc(body: OidcStart, state: Management) -> OidcStarted:
    """Begin. Raises: InvalidRequest: no provider, or a foreign place to come back to.  NotReady: the provider is away."""
    provider, portal = _provider(state), state.settings.portal_url
    to_portal = portal is not None and body.redirect_uri in {portal, f"{portal}/"}
    if not to_portal and not _LOOPBACK.fullmatch(body.redirect_uri):
        known = portal or "ROUTER_PORTAL_URL is not set"
        raise InvalidRequest(
            f"the browser may come back to the portal ({known}) or to http://127.0.0.1:PORT only", param="redirect_uri"
        )
    login_state, nonce, code_verifier = (secrets.token_urlsafe(48) for _ in range(3))
    url = await provider.authorization_url(
        redirect_uri=body.redirect_uri, state=login_state, nonce=nonce, code_verifier=code_verifier
    )
    async with transaction(state, None, platform=True) as conn:
        await oidc_logins.add(
            conn,
            state_hash=_hash(state, login_state),
            nonce=nonce,
            code_verifier=code_verifier,
            redirect_uri=body.redirect_uri,
            expires_at=now() + timedelta(seconds=EXPIRES_S),
        )
    return OidcStarted(authorization_url=url, state=login_state, expires_in=EXPIRES_S)


@router.post("", response_model=NewSession)
async def create_oidc_session(body: OidcBack, request: Request, state: Management) -> NewSession:
    """A session for whoever came back. Raises: AuthenticationFailed, NotAllowed: no verified address, or the user is disabled.
    NotReady: the provider is away."""
    provider = _provider(state)
    async with transaction(state, None, platform=True) as conn:
        login = await oidc_logins.take(conn, _hash(state, body.state.get_secret_value()))
    if login is None:
        raise AuthenticationFailed("this sign-in is unknown, was used or took too long: begin anew", param="state")
    identity = await provider.identity(
        redirect_uri=login.redirect_uri,
        code=body.code.get_secret_value(),
        nonce=login.nonce,
        code_verifier=login.code_verifier,
    )
    async with transaction(state, None, platform=True) as conn:
        found = await _user_of(conn, identity, trusted=state.settings.oidc_email_trusted)
        if found.disabled_at is not None:
            raise NotAllowed("this user is disabled: ask a platform admin")
        user = await people.lock_user(conn, found.id)
        assert user is not None
        await follow_groups(conn, state, user, identity.groups)
    # What the provider asked for beside a password is its own; an organization that wants a second factor trusts it.
    return await open_session(state, request, user, "oidc", second_factor=True)


async def _user_of(conn: AsyncConnection, identity: "Identity", *, trusted: bool) -> FederatedUser:
    """The user of a subject; of its address, which the provider has verified or is trusted with; or a new one."""
    known = await federated_users.find(conn, identity.issuer, identity.subject)
    if known is not None:
        return known
    email = identity.email
    if email is None or len(email) > EMAIL_CHARACTERS_MAX or not _MAIL.fullmatch(email):
        raise NotAllowed("the identity provider tells no e-mail address of yours: its client must send the claim email")
    if not (identity.email_verified or trusted):
        raise NotAllowed(f"the identity provider has not verified {email}: verify it there, then sign in again")
    name = re.sub(r"[\x00-\x1f\x7f-\x9f]", " ", identity.name or email)[:NAME_CHARACTERS_MAX]
    user = await federated_users.link(conn, identity.issuer, identity.subject, email) or await federated_users.add(
        conn, identity.issuer, identity.subject, public_id=public_id("user"), email=email, name=name
    )
    if user is None:
        raise NotAllowed(f"{email} belongs to another account of the identity provider: ask a platform admin")
    return user
