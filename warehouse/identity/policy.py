"""May this principal do that there? Everything by `roles.toml`, and always with a reason."""

import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Literal

Kind = Literal["user", "admin_key", "api_key", "platform_key"]
OWN = ":own"


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks. `organization_roles` and `project_roles` are by internal id; a key has neither, but one organization."""

    kind: Kind
    public_id: str
    email: str | None = None
    user_id: int | None = None
    api_key_id: int | None = None
    platform_admin: bool = False
    second_factor: bool = False
    org_id: int | None = None
    project_id: int | None = None
    scopes: frozenset[str] = frozenset()
    organization_roles: Mapping[int, str] = field(default_factory=dict)
    project_roles: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Scope:
    """Where: nothing is the platform; `owner_user_id` is whose thing it is, where it is somebody's."""

    org_id: int | None = None
    project_id: int | None = None
    owner_user_id: int | None = None


@dataclass(frozen=True, slots=True)
class Decision:
    """The answer, and the sentence that a refused caller reads: who may do it."""

    allowed: bool
    reason: str


@dataclass(frozen=True, slots=True)
class Policy:
    """`roles.toml`, checked."""

    platform: frozenset[str]
    organization: frozenset[str]
    organization_roles: Mapping[str, frozenset[str]]
    project_roles: Mapping[str, frozenset[str]]
    scopes: Mapping[str, frozenset[str]]

    @property
    def permissions(self) -> frozenset[str]:
        """Every permission there is."""
        return self.platform | self.organization

    def granted(self, principal: Principal, scope: Scope) -> frozenset[str]:
        """Permissions of the principal there, `:own` ones included."""
        if principal.platform_admin:
            return self.permissions
        if scope.org_id is None:
            return frozenset()
        if principal.kind in {"admin_key", "api_key"}:
            return self._of_key(principal, scope)
        role = principal.organization_roles.get(scope.org_id)
        if role is None:
            return frozenset()
        in_project = principal.project_roles.get(scope.project_id or 0)
        return self.organization_roles[role] | (self.project_roles[in_project] if in_project else frozenset())

    def _of_key(self, principal: Principal, scope: Scope) -> frozenset[str]:
        if principal.org_id != scope.org_id:
            return frozenset()
        if principal.project_id is not None and principal.project_id != scope.project_id:
            return frozenset()
        return frozenset().union(*(self.scopes[scope_name] for scope_name in principal.scopes))

    def allowed(self, principal: Principal, permission: str, scope: Scope) -> Decision:
        """Whether, and why not. Raises: KeyError: there is no such permission, a fault of ours."""
        if permission not in self.permissions:
            raise KeyError(permission)
        granted = self.granted(principal, scope)
        if permission in granted:
            return Decision(allowed=True, reason=f"{principal.public_id} has {permission}")
        if permission + OWN in granted and principal.user_id is not None and principal.user_id == scope.owner_user_id:
            return Decision(allowed=True, reason=f"{principal.public_id} has {permission} for what is its own")
        return Decision(allowed=False, reason=f"this needs the permission {permission}, which {self.who_may(permission)} have")

    def who_may(self, permission: str) -> str:
        """The holders of a permission, in words: `organization owners and admins, project admins, platform admins`."""
        parts = []
        for label, roles in (("organization", self.organization_roles), ("project", self.project_roles)):
            names = [role for role, has in roles.items() if permission in has or permission + OWN in has]
            if names:
                parts.append(f"{label} {' and '.join(f'{name}s' if name != 'billing' else 'billing users' for name in names)}")
        return ", ".join([*parts, "platform admins"])

    def at_most(self, principal: Principal, role: str, org_id: int) -> bool:
        """Whether the principal has itself everything that an organization role would give away."""
        return self.organization_roles[role] <= self.granted(principal, Scope(org_id))


@cache
def policy() -> Policy:
    """The policy of this installation. Raises: ValueError: the file names a permission that it does not list."""
    return parse(Path(__file__).with_name("roles.toml").read_text())


def parse(text: str) -> Policy:
    """A policy from TOML. Raises: ValueError: a role has a permission that is not listed."""
    data = tomllib.loads(text)
    platform, organization = frozenset(data["platform"]["permissions"]), frozenset(data["organization"]["permissions"])

    def role(permissions: Iterable[str]) -> frozenset[str]:
        names = frozenset(permissions)
        if "*" in names:
            return organization
        unknown = {name.removesuffix(OWN) for name in names} - organization
        if unknown:
            raise ValueError(f"roles.toml gives away permissions that it does not list: {', '.join(sorted(unknown))}")
        return names

    organization_roles = {name: role(has) for name, has in data["organization"]["roles"].items()}
    scopes = {name: organization_roles[has] if isinstance(has, str) else role(has) for name, has in data["scopes"].items()}
    project_roles = {name: role(has) for name, has in data["project"]["roles"].items()}
    return Policy(platform, organization, organization_roles, project_roles, scopes)


def table() -> str:
    """Roles x permissions as Markdown, for docs/roles.md; a test compares."""
    has = policy()
    columns = [(f"{role}", names) for role, names in has.organization_roles.items()]
    columns += [(f"project {role}", names) for role, names in has.project_roles.items()]
    lines = [f"| Permission | {' | '.join(name for name, _ in columns)} |", "|---" * (len(columns) + 1) + "|"]
    for permission in sorted(has.organization):
        cells = ["yes" if permission in names else "own" if permission + OWN in names else "" for _, names in columns]
        lines.append(f"| `{permission}` | {' | '.join(cells)} |")
    return "\n".join(lines)
