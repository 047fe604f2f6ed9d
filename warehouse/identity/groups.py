"""Groups of an identity provider, and the roles that they give."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from warehouse.identity.policy import policy

_RULE = re.compile(r"\s*(?P<group>[^=,]+?)\s*=\s*(?P<organization>org_[0-9a-z]{12,32})\s*:\s*(?P<role>[a-z]+)\s*")


@dataclass(frozen=True, slots=True)
class GroupRole:
    """Who is in this group has this role in this organization (a public id)."""

    group: str
    organization: str
    role: str


def parse_group_roles(text: str) -> tuple[GroupRole, ...]:
    """`group=org_…:role`, separated by commas. Raises: ValueError: a rule has another shape, or names a role that is none."""
    rules = []
    for part in filter(str.strip, text.split(",")):
        match = _RULE.fullmatch(part)
        if match is None:
            raise ValueError(f"write each group as group=org_…:role, not as {part.strip()!r}")
        if match["role"] not in policy().organization_roles:
            raise ValueError(f"{match['role']!r} is no role of an organization: {', '.join(policy().organization_roles)}")
        rules.append(GroupRole(match["group"], match["organization"], match["role"]))
    return tuple(rules)


def roles_of(groups: Iterable[str], rules: Iterable[GroupRole]) -> dict[str, str]:
    """{organization: role} for somebody in these groups; of several roles the one that has most permissions."""
    mine, found = frozenset(groups), dict[str, str]()
    power = {role: len(has) for role, has in policy().organization_roles.items()}
    for rule in rules:
        if rule.group in mine and power[rule.role] > power.get(found.get(rule.organization, ""), -1):
            found[rule.organization] = rule.role
    return found
