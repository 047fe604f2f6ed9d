"""The policy: what each role has is what docs/roles.md says, and every refusal says who may."""

from pathlib import Path

import pytest

from warehouse.identity.policy import OWN, Principal, Scope, parse, policy, table

DOCUMENT = Path(__file__).parents[3] / "docs" / "roles.md"
ORGANIZATION, PROJECT = 1, 2
ROLES = sorted(policy().organization_roles)


def _user(role: str, in_project: str | None = None) -> Principal:
    projects = {PROJECT: in_project} if in_project else {}
    return Principal("user", "user_1", user_id=7, organization_roles={ORGANIZATION: role}, project_roles=projects)


def test_the_document_is_the_policy() -> None:
    assert table() in DOCUMENT.read_text()


def test_an_unknown_permission_is_a_fault() -> None:
    with pytest.raises(KeyError):
        policy().allowed(_user("owner"), "moon.read", Scope(ORGANIZATION))


def test_a_role_cannot_have_a_permission_that_is_not_listed() -> None:
    lists = '[platform]\npermissions=[]\n[organization]\npermissions=["a"]\n'
    text = lists + '[organization.roles]\nx=["b"]\n[project.roles]\n[scopes]\n'
    with pytest.raises(ValueError, match="b"):
        parse(text)


@pytest.mark.parametrize("role", ROLES)
def test_nobody_below_an_owner_touches_owners(role: str) -> None:
    decision = policy().allowed(_user(role), "owners.write", Scope(ORGANIZATION))
    assert decision.allowed == (role == "owner")
    assert role == "owner" or "organization owners, platform admins" in decision.reason


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("permission", sorted(policy().permissions))
def test_a_role_ends_at_its_organization(role: str, permission: str) -> None:
    assert not policy().allowed(_user(role), permission, Scope(ORGANIZATION + 1)).allowed
    assert not policy().allowed(_user(role), permission, Scope()).allowed


@pytest.mark.parametrize("role", sorted(policy().project_roles))
def test_a_role_in_a_project_ends_at_it_and_needs_a_membership(role: str) -> None:
    assert policy().allowed(_user("member", role), "projects.read", Scope(ORGANIZATION, PROJECT)).allowed
    assert not policy().allowed(_user("member", role), "projects.read", Scope(ORGANIZATION, PROJECT + 1)).allowed
    stranger = Principal("user", "user_1", user_id=7, project_roles={PROJECT: role})
    assert not policy().allowed(stranger, "projects.read", Scope(ORGANIZATION, PROJECT)).allowed


def test_what_is_allowed_for_ones_own_is_not_for_somebody_elses() -> None:
    member = _user("member", "member")
    assert policy().allowed(member, "api_keys.write", Scope(ORGANIZATION, PROJECT, 7)).allowed
    assert not policy().allowed(member, "api_keys.write", Scope(ORGANIZATION, PROJECT, 8)).allowed
    assert not policy().allowed(member, "api_keys.write", Scope(ORGANIZATION, PROJECT)).allowed


@pytest.mark.parametrize("permission", sorted(policy().permissions))
def test_who_may_names_exactly_the_holders(permission: str) -> None:
    said = policy().who_may(permission)
    assert said.endswith("platform admins")
    for role, has in policy().organization_roles.items():
        holds = permission in has or permission + OWN in has
        named = "billing users" if role == "billing" else f"{role}s"
        organization = said.partition("project ")[0]
        assert (named in organization.replace("platform admins", "")) == holds


@pytest.mark.parametrize("role", ROLES)
def test_nobody_gives_away_more_than_is_ones_own(role: str) -> None:
    for given, has in policy().organization_roles.items():
        assert policy().at_most(_user(role), given, ORGANIZATION) == (has <= policy().organization_roles[role])
