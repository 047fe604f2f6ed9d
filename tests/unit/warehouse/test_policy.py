"""Who may do what, as `roles.toml` says."""

import pytest

from warehouse.identity.policy import Principal, Scope, parse, policy

ORG, OTHER_ORG, PROJECT, OTHER_PROJECT = 1, 2, 10, 11


def user(role: str, project_role: str | None = None) -> Principal:
    projects = {PROJECT: project_role} if project_role else {}
    return Principal("user", "user_x", user_id=7, organization_roles={ORG: role}, project_roles=projects)


@pytest.mark.parametrize("role", policy().organization_roles)
def test_no_role_reaches_into_another_organization(role: str) -> None:
    for permission in policy().organization:
        assert not policy().allowed(user(role), permission, Scope(OTHER_ORG)).allowed, permission


@pytest.mark.parametrize("role", policy().organization_roles)
def test_no_role_of_an_organization_has_a_permission_of_the_platform(role: str) -> None:
    assert not policy().organization_roles[role] & policy().platform
    for permission in policy().platform:
        assert not policy().allowed(user(role), permission, Scope()).allowed, permission


def test_only_owners_touch_owners() -> None:
    assert [name for name, has in policy().organization_roles.items() if "owners.write" in has] == ["owner"]


def test_an_auditor_changes_nothing() -> None:
    assert all(permission.endswith(".read") for permission in policy().organization_roles["auditor"])


def test_a_role_in_a_project_says_nothing_about_its_sibling() -> None:
    assert policy().allowed(user("member", "admin"), "api_keys.create", Scope(ORG, PROJECT)).allowed
    assert not policy().allowed(user("member", "admin"), "api_keys.create", Scope(ORG, OTHER_PROJECT)).allowed


def test_a_project_member_writes_keys_of_its_own_only() -> None:
    member = user("member", "member")
    assert policy().allowed(member, "api_keys.write", Scope(ORG, PROJECT, owner_user_id=7)).allowed
    assert not policy().allowed(member, "api_keys.write", Scope(ORG, PROJECT, owner_user_id=8)).allowed
    assert not policy().allowed(member, "api_keys.write", Scope(ORG, PROJECT)).allowed


def test_a_key_does_what_its_scopes_say_where_it_belongs() -> None:
    key = Principal("api_key", "key_x", org_id=ORG, project_id=PROJECT, scopes=frozenset({"inference", "usage.read"}))
    assert policy().allowed(key, "usage.read", Scope(ORG, PROJECT)).allowed
    for permission, scope in (
        ("usage.read", Scope(ORG, OTHER_PROJECT)), ("usage.read", Scope(ORG)), ("usage.read", Scope(OTHER_ORG, PROJECT)),
        ("api_keys.read", Scope(ORG, PROJECT)),
    ):  # fmt: skip
        assert not policy().allowed(key, permission, scope).allowed, (permission, scope)
    admin = Principal("admin_key", "key_y", org_id=ORG, scopes=frozenset({"admin"}))
    assert policy().granted(admin, Scope(ORG)) == policy().organization_roles["admin"]


def test_a_refusal_says_who_may() -> None:
    said = policy().allowed(user("member"), "projects.create", Scope(ORG))
    assert said.reason == "this needs the permission projects.create, which organization owners and admins, platform admins have"


def test_nobody_gives_away_a_role_above_their_own() -> None:
    assert policy().at_most(user("owner"), "owner", ORG)
    assert policy().at_most(user("admin"), "auditor", ORG)
    assert not policy().at_most(user("admin"), "owner", ORG)
    assert not policy().at_most(user("billing"), "admin", ORG)
    assert not policy().at_most(user("owner"), "member", OTHER_ORG)


def test_a_permission_that_is_not_listed_is_a_fault() -> None:
    with pytest.raises(KeyError):
        policy().allowed(user("owner"), "everything", Scope(ORG))
    with pytest.raises(ValueError, match=r"nothing\.read"):
        parse(
            "[platform]\npermissions = []\n[organization]\npermissions = []\n"
            "[organization.roles]\nowner = ['nothing.read']\n[project.roles]\n[scopes]\n"
        )
