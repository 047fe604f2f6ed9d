"""Who asks, for which organization, and whether they may. Every route names its permission; nothing is decided elsewhere."""

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Annotated

from fastapi import Depends, Header, Path, Request
from psycopg import AsyncConnection, OperationalError
from psycopg_pool import PoolTimeout

from router.inference.auth import address_of
from router.inference.state import InferenceState
from router.management.state import ManagementState
from warehouse.access import audit_log, management, principals, sessions
from warehouse.access.api_keys import ApiKey
from warehouse.access.audit_log import Actor, Change
from warehouse.access.principals import Organization, Project
from warehouse.access.sessions import OpenSession
from warehouse.base import requests
from warehouse.base.clock import now
from warehouse.base.errors import AuthenticationFailed, InvalidRequest, NotAllowed, NotFound, NotReady
from warehouse.identity.policy import OWN, Principal, Scope, policy
from warehouse.identity.sessions import is_current, verify

KEY_PREFIX = "sk-"


def management_state(request: Request) -> ManagementState:
    """The state that `create_app` made."""
    state = request.app.state.management
    assert isinstance(state, ManagementState)
    return state


Management = Annotated[ManagementState, Depends(management_state)]


@contextlib.asynccontextmanager
async def transaction(state: ManagementState, org_id: int | None, *, platform: bool = False) -> AsyncIterator[AsyncConnection]:
    """One transaction that sees one organization, or everything. Raises: NotReady: the database cannot be reached."""
    try:
        async with state.pool.connection() as conn, conn.transaction():
            await management.see_organization(conn, org_id, platform=platform)
            yield conn
    except (OperationalError, PoolTimeout) as error:
        raise NotReady("the database cannot be reached; try again in a moment", retry_after_s=2) from error


async def signed_in(request: Request, state: Management) -> OpenSession:
    """The session of the token; its `serial` is the token's. Raises: AuthenticationFailed: none, wrong, ended, copied, or the
    user is disabled."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    said = verify(token.strip(), state.session_secret) if scheme.lower() == "bearer" else None
    if said is None and token.strip().startswith(KEY_PREFIX):
        raise AuthenticationFailed("this is about who has signed in, and a key has not: sign in, and send the session")
    if said is None:
        raise AuthenticationFailed("the session is not valid or has ended: sign in again")
    async with transaction(state, None, platform=True) as conn:
        session = await sessions.find(conn, said.public_id)
        copied = session is not None and not is_current(said.serial, session.serial, session.rotated_at, now())
        if session is not None and copied and await sessions.revoke(conn, session.user_id, session.public_id):
            actor = Actor("user", session.user_public_id, session.email, address(request), requests.current_id())
            await audit_log.append(conn, actor, Change("session.token_reused", session.public_id, None), state.audit_key)
    if session is None:
        raise AuthenticationFailed("the session has ended, or this user is disabled: sign in again")
    if copied:
        raise AuthenticationFailed("a token that had been replaced was used, so the session was ended: sign in again")
    return replace(session, serial=said.serial)


SignedIn = Annotated[OpenSession, Depends(signed_in)]


async def principal(request: Request, state: Management) -> Principal:
    """Who asks, by a session or by a key of any kind, without roles yet. Raises: AuthenticationFailed, NotReady."""
    authorization = request.headers.get("authorization", "")
    scheme, _, token = authorization.partition(" ")
    if authorization and not (scheme.lower() == "bearer" and token.strip().startswith(KEY_PREFIX)):
        session = await signed_in(request, state)
        return Principal(
            "user",
            session.user_public_id,
            email=session.email,
            user_id=session.user_id,
            platform_admin=session.platform_admin,
            second_factor=session.second_factor,
        )
    inference: InferenceState = request.app.state.inference
    key = await inference.keys.key(authorization.encode("latin-1") or None, request.scope)
    kinds = {"platform": "platform_key", "admin": "admin_key", "inference": "api_key"}
    return Principal(
        kinds[key.kind],  # type: ignore[arg-type]  # the values are exactly the literals
        f"key_{key.public_id}",
        user_id=key.user_id,
        api_key_id=key.id,
        platform_admin=key.kind == "platform",
        org_id=key.org_id,
        project_id=key.project_id,
        scopes=frozenset(scope for scope in key.scopes if _owner_may(key, scope)),
    )


def _owner_may(key: ApiKey, scope: str) -> bool:
    """An admin key does no more than its owner may by now: whoever is no admin any more has no admin's key either."""
    if key.kind != "admin" or key.user_id is None or key.owner_role is None:
        return True
    return policy().scopes[scope] <= policy().organization_roles[key.owner_role]


def address(request: Request) -> str | None:
    """Where a request comes from, by the proxies that are trusted."""
    inference: InferenceState = request.app.state.inference
    address = address_of(request.scope, inference.settings.proxies)
    return str(address) if address is not None else None


@dataclass(frozen=True, slots=True)
class Access:
    """A caller who has the permission of the route, and what the path and the headers named."""

    state: ManagementState
    principal: Principal
    organization: Organization | None
    project: Project | None
    own_user_id: int | None
    """None where everything of the scope may be touched; otherwise only what belongs to this user."""
    actor: Actor

    @property
    def org(self) -> Organization:
        """The organization of a route that is about one."""
        assert self.organization is not None
        return self.organization

    @property
    def in_project(self) -> Project:
        """The project of a route that has one in its path."""
        assert self.project is not None
        return self.project

    def require(self, permission: str, owner_user_id: int | None = None) -> None:
        """A further permission in the same scope. Raises: NotAllowed."""
        project_id = self.project.id if self.project else None
        org_id = self.organization.id if self.organization else None
        decision = policy().allowed(self.principal, permission, Scope(org_id, project_id, owner_user_id))
        if not decision.allowed:
            raise NotAllowed(decision.reason)

    async def still(self, conn: AsyncConnection, permission: str) -> None:
        """Whether the caller has the permission now, under a lock that was waited for. Raises: NotAllowed: not any more."""
        if self.principal.kind != "user":
            return
        now_is = await _with_roles(conn, self.principal, self.org.id)
        scope = Scope(self.org.id, self.project.id if self.project else None)
        decision = policy().allowed(now_is, permission, scope)
        if not decision.allowed:
            raise NotAllowed(decision.reason)

    def transaction(self) -> contextlib.AbstractAsyncContextManager[AsyncConnection]:
        """One transaction that sees this organization only; for platform routes, everything."""
        if self.organization is None:
            return transaction(self.state, None, platform=True)
        return transaction(self.state, self.organization.id)


OrganizationHeader = Annotated[
    str | None,
    Header(alias="OpenAI-Organization", max_length=64, description="Which organization, for callers who have several."),
]
Asking = Annotated[Principal, Depends(principal)]


class Needs:
    """A dependency: the caller has this permission in the organization that is meant."""

    def __init__(self, permission: str) -> None:
        if permission not in policy().permissions:
            raise KeyError(permission)
        self.permission = permission

    async def __call__(
        self, request: Request, state: Management, asking: Asking, organization: OrganizationHeader = None
    ) -> Access:
        """The access of a route without a project in its path. Raises: NotAllowed, NotFound, InvalidRequest, NotReady."""
        return await self._access(request, state, asking, organization, None)

    async def _access(
        self, request: Request, state: ManagementState, asking: Principal, named: str | None, project_id: str | None
    ) -> Access:
        actor = Actor(
            "user" if asking.kind == "user" else "api_key",
            asking.public_id,
            asking.email,
            address(request),
            requests.current_id(),
        )
        if self.permission in policy().platform:
            self._check(asking, Scope())
            return Access(state, asking, None, None, None, actor)
        async with transaction(state, None, platform=True) as conn:
            organization = await _organization(conn, asking, named)
            if organization.totp_required and asking.kind == "user" and not asking.second_factor:
                raise NotAllowed(
                    "this organization asks its members for a second factor: turn yours on with POST /v1/users/me/totp"
                )
            asking = await _with_roles(conn, asking, organization.id)
            project = await _project(conn, project_id, organization.id)
        scope = Scope(organization.id, project.id if project else None)
        own = self._check(asking, scope, hidden=project is not None)
        return Access(state, asking, organization, project, own, actor)

    def _check(self, asking: Principal, scope: Scope, *, hidden: bool = False) -> int | None:
        """The user whose things only may be touched, or None. `hidden`: without the right to read it, it does not exist."""
        decision = policy().allowed(asking, self.permission, scope)
        if decision.allowed:
            return None
        granted = policy().granted(asking, scope)
        if self.permission + OWN in granted and asking.user_id is not None:
            return asking.user_id
        if hidden and "projects.read" not in granted:
            raise NotFound("there is no such project in this organization", param="project_id")
        raise NotAllowed(decision.reason)


class NeedsInProject(Needs):
    """A dependency: the caller has this permission in the project of the path."""

    async def __call__(  # type: ignore[override]  # FastAPI calls it by its names
        self,
        request: Request,
        state: Management,
        asking: Asking,
        project_id: Annotated[str, Path(max_length=64)],
        organization: OrganizationHeader = None,
    ) -> Access:
        """The access of a route with a project in its path. Raises: NotAllowed, NotFound, InvalidRequest, NotReady."""
        return await self._access(request, state, asking, organization, project_id)


async def _organization(conn: AsyncConnection, asking: Principal, named: str | None) -> Organization:
    """The organization that is meant. Raises: NotFound: none of the caller's.  InvalidRequest: it must be named."""
    missing = NotFound(f"you have no organization {named!r}", param="OpenAI-Organization")
    if asking.org_id is not None:
        own = await principals.find_organization_by_id(conn, asking.org_id)
        if own is None or named not in {None, own.public_id}:
            raise missing
        return own
    if named is not None:
        found = await principals.find_organization(conn, named)
        if found is None:
            raise missing
        if not asking.platform_admin:
            role = (await principals.roles(conn, found.id, asking.user_id or 0)).organization_role
            if role is None:
                raise missing
        return found
    mine = await principals.organizations_of_user(conn, asking.user_id) if asking.user_id else []
    if len(mine) != 1:
        raise InvalidRequest(
            "say which organization is meant: send its id in the header OpenAI-Organization", param="OpenAI-Organization"
        )
    return mine[0]


async def _with_roles(conn: AsyncConnection, asking: Principal, org_id: int) -> Principal:
    if asking.kind != "user" or asking.user_id is None:
        return asking
    found = await principals.roles(conn, org_id, asking.user_id)
    of_organization = {org_id: found.organization_role} if found.organization_role else {}
    return replace(asking, organization_roles=of_organization, project_roles=found.project_roles)


async def _project(conn: AsyncConnection, public_id: str | None, org_id: int) -> Project | None:
    """The project of the path. Raises: NotFound."""
    if public_id is None:
        return None
    project = await principals.find_project(conn, org_id, public_id)
    if project is None:
        raise NotFound("there is no such project in this organization", param="project_id")
    return project
