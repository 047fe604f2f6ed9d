"""Groups of an identity provider and the roles they give."""

import pytest

from warehouse.identity.groups import GroupRole, parse_group_roles, roles_of

ACME, OTHER = "org_0123456789ab", "org_ba9876543210"


def test_rules_are_read() -> None:
    rules = parse_group_roles(f" platform team = {ACME}:admin , devs={OTHER}:member,")
    assert rules == (GroupRole("platform team", ACME, "admin"), GroupRole("devs", OTHER, "member"))
    assert parse_group_roles("") == ()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("devs", "write each group"),
        (f"devs={ACME}", "write each group"),
        ("devs=acme:member", "write each group"),
        (f"devs={ACME}:boss", "boss"),
    ],
)
def test_another_shape_says_what_to_write(text: str, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        parse_group_roles(text)


def test_of_several_groups_the_role_with_most_permissions_counts() -> None:
    rules = parse_group_roles(f"devs={ACME}:member,leads={ACME}:admin,finance={ACME}:billing,devs={OTHER}:auditor")
    assert roles_of(["devs", "leads"], rules) == {ACME: "admin", OTHER: "auditor"}
    assert roles_of(["leads", "devs", "unknown"], reversed(rules)) == {ACME: "admin", OTHER: "auditor"}
    assert roles_of(["Devs"], rules) == {}
