"""Permissions that a caller may have in an organization, or only in some of its projects: lists show what is in reach."""

from dataclasses import dataclass

from fastapi import Request

from router.management.access import Access, Asking, Management, Needs, OrganizationHeader
from warehouse.base.errors import NotFound
from warehouse.identity.policy import Principal, Scope, policy


@dataclass(frozen=True, slots=True)
class Reach:
    """A caller, and the internal ids of the projects that count for the route; None: the whole organization."""

    access: Access
    project_ids: frozenset[int] | None

    @property
    def projects(self) -> list[int] | None:
        """For a query: null, or the ids."""
        return None if self.project_ids is None else sorted(self.project_ids)

    def check(self, project_id: int | None) -> None:
        """Raises: NotFound: the project of a thing is out of reach, so the thing does not exist for this caller."""
        if self.project_ids is not None and project_id not in self.project_ids:
            raise NotFound("there is no such thing in the projects that you may look at")


class NeedsSomewhere(Needs):
    """A dependency: the caller has this permission in the organization, or in at least one of its projects."""

    async def __call__(  # type: ignore[override]  # FastAPI calls it by its names
        self, request: Request, state: Management, asking: Asking, organization: OrganizationHeader = None
    ) -> Reach:
        """What is in reach. Raises: NotAllowed, NotFound, InvalidRequest, NotReady."""
        access = await self._access(request, state, asking, organization, None)
        return Reach(access, self._projects(access.principal, access.org.id))

    def _check(self, asking: Principal, scope: Scope, *, hidden: bool = False) -> int | None:
        if scope.org_id is not None and self._projects(asking, scope.org_id):
            return None
        return super()._check(asking, scope, hidden=hidden)

    def _projects(self, asking: Principal, org_id: int) -> frozenset[int] | None:
        if policy().allowed(asking, self.permission, Scope(org_id)).allowed:
            return None
        mine = [asking.project_id] if asking.project_id is not None else list(asking.project_roles)
        return frozenset(
            project_id for project_id in mine if policy().allowed(asking, self.permission, Scope(org_id, project_id)).allowed
        )
