"""Who is asking: a signed-in user, or a platform admin's key."""

from typing import Annotated

from fastapi import Depends, Request
from psycopg import OperationalError

from router.inference.state import InferenceState
from router.management.state import ManagementState
from warehouse.access.people import User, find_user
from warehouse.base.errors import AuthenticationFailed, NotAllowed, NotReady
from warehouse.identity.sessions import verify


def management_state(request: Request) -> ManagementState:
    """The state that `create_app` made."""
    state = request.app.state.management
    assert isinstance(state, ManagementState)
    return state


Management = Annotated[ManagementState, Depends(management_state)]


async def signed_in(request: Request, state: Management) -> User:
    """The user of the session token. Raises: AuthenticationFailed: none, wrong, ended, or the user is disabled."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    session = verify(token.strip(), state.session_secret) if scheme.lower() == "bearer" else None
    if session is None:
        raise AuthenticationFailed("the session is not valid or has ended: sign in again")
    try:
        async with state.pool.connection() as conn:
            user = await find_user(conn, session.user_id)
    except OperationalError as error:
        raise NotReady("the database cannot be reached; try again in a moment", retry_after_s=2) from error
    if user is None:
        raise AuthenticationFailed("this user is disabled")
    return user


SignedIn = Annotated[User, Depends(signed_in)]


async def platform_admin(request: Request, state: Management) -> None:
    """A platform admin, by key or by session. Raises: AuthenticationFailed, NotAllowed."""
    authorization = request.headers.get("authorization", "")
    inference: InferenceState = request.app.state.inference
    if authorization.lower().startswith("bearer sk-") or not authorization:
        await inference.keys.platform_key(authorization.encode("latin-1") or None)
    elif not (await signed_in(request, state)).platform_admin:
        raise NotAllowed("this is for platform admins")


PlatformAdmin = Depends(platform_admin)
