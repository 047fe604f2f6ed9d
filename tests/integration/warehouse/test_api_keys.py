"""Which keys are in force, as the router asks for them."""

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
from psycopg import AsyncConnection

from tests.integration.warehouse.conftest import PEPPER, Control
from warehouse.access import api_keys
from warehouse.access.api_keys import QUERIES, ApiKey, Home, KeyRow, find_by_public_ids

ACCOUNT = (
    "with account as (insert into control.service_accounts (public_id, org_id, project_id, name, deleted_at)"
    " select 'svc_000000000001', org_id, id, 'robot', {deleted_at} from control.projects order by id limit 1 returning id)"
    " update control.api_keys set user_id = null, service_account_id = account.id from account where api_keys.id = 1"
)
ENDS = {
    "revoked": "update control.api_keys set revoked_at = now()",
    "expired": "update control.api_keys set expires_at = now()",
    "organization_suspended": "update control.organizations set suspended_at = now()",
    "organization_suspended for ever": "update control.organizations set deleted_at = now()",
    "project_archived": "update control.projects set archived_at = now()",
    "user_disabled": "update control.users set disabled_at = now()",
    "user_removed": "delete from control.org_members",
    "service_account_deleted": ACCOUNT.format(deleted_at="now()"),
}
"""{status, and more where there are several ways: what ends a key}"""
STAYS = {
    "its user is of the platform": (
        "with gone as (delete from control.org_members) update control.users set platform_admin = true"
    ),
    "its user is no owner any more": "update control.org_members set role = 'member'",
    "its service account is there": ACCOUNT.format(deleted_at="null"),
    "it is rotated": "update control.api_keys set rotated_at = now(), previous_secret_until = now()",
}


@pytest.fixture
def find(role_url: Callable[..., str]) -> Callable[[str], ApiKey | None]:
    def find(public_id: str) -> ApiKey | None:
        async def read() -> ApiKey | None:
            async with await AsyncConnection.connect(role_url("inferhouse_router")) as conn:
                return (await find_by_public_ids(conn, [public_id, "1" * 16])).get(public_id)

        return asyncio.run(read())

    return find


Find = Callable[[str], ApiKey | None]


def test_a_key_in_force_is_found_with_its_owner(find: Find, control: Control) -> None:
    first = control.first
    key = find(first.secret.public_id)
    assert key is not None
    assert first.secret.matches(key.secret_hash, PEPPER)
    assert (key.org_id, key.project_id, key.user_id, key.models) == (first.org_id, first.project_id, first.user_id, None)
    assert repr(key.secret_hash) not in repr(key)


def test_an_unknown_key_is_not_found(find: Find, control: Control) -> None:
    assert find("0" * 16) is None


def _shown(role_url: Callable[..., str], control: Control) -> KeyRow:
    """The first tenant's key as the management API reads it."""
    home = Home("inference", control.first.org_id, control.first.project_id)

    async def read() -> KeyRow | None:
        async with await AsyncConnection.connect(role_url("inferhouse_management")) as conn:
            await conn.execute("select set_config('inferhouse.org_id', %s, true)", [str(control.first.org_id)])
            return await api_keys.find(conn, home, control.first.secret.public_id)

    row = asyncio.run(read())
    assert row is not None
    return row


@pytest.mark.parametrize("why", ENDS)
def test_a_key_that_is_out_of_force_is_not_found_and_says_why(
    find: Find, db: psycopg.Connection, role_url: Callable[..., str], control: Control, why: str
) -> None:
    db.execute(ENDS[why].encode())
    db.commit()
    assert find(control.first.secret.public_id) is None
    assert _shown(role_url, control).status == why.partition(" ")[0]


@pytest.mark.parametrize("what", STAYS)
def test_a_key_whose_owner_stays_is_found(
    find: Find, db: psycopg.Connection, role_url: Callable[..., str], control: Control, what: str
) -> None:
    db.execute(STAYS[what].encode())
    db.commit()
    assert find(control.first.secret.public_id) is not None
    assert _shown(role_url, control).status == "active"


@pytest.mark.parametrize("is_admin", [True, False])
def test_a_platform_key_works_while_its_user_is_of_the_platform(
    find: Find, db: psycopg.Connection, control: Control, is_admin: bool
) -> None:
    db.execute("update control.users set platform_admin = %s", [is_admin])
    db.execute("update control.api_keys set kind = 'platform', org_id = null, project_id = null, scopes = '{admin}'")
    db.commit()
    assert (find(control.first.secret.public_id) is not None) == is_admin


def test_models_are_those_that_key_and_organization_both_name(find: Find, db: psycopg.Connection, control: Control) -> None:
    for of_key, of_organization, both in (
        (None, None, None),
        (["a", "b"], None, {"a", "b"}),
        (None, ["b", "c"], {"b", "c"}),
        (["a", "b"], ["b", "c"], {"b"}),
        (["a"], ["b"], set()),
    ):
        db.execute("update control.api_keys set models = %s", [of_key])
        db.execute("update control.organizations set key_models = %s", [of_organization])
        db.commit()
        key = find(control.first.secret.public_id)
        assert key is not None
        assert (None if key.models is None else set(key.models)) == both


def test_uses_are_noted_once_and_never_go_back(db: psycopg.Connection, role_url: Callable[..., str], control: Control) -> None:
    first, second = control.first.api_key_id, control.second.api_key_id
    noon = datetime(2026, 1, 15, 12, tzinfo=UTC)

    async def note(uses: dict[int, datetime]) -> None:
        async with await AsyncConnection.connect(role_url("inferhouse_router")) as conn:
            await api_keys.note_uses(conn, uses)

    asyncio.run(note({first: noon, second: noon}))
    asyncio.run(note({first: noon - timedelta(hours=1), second: noon + timedelta(hours=1)}))
    db.execute("select from control.api_keys where id = %s for update", [second])
    asyncio.run(note({first: noon + timedelta(hours=2), second: noon + timedelta(hours=2)}))
    rows = db.execute("select last_used_at, version from control.api_keys order by id").fetchall()
    assert rows == [(noon + timedelta(hours=2), 1), (noon + timedelta(hours=1), 1)]


def test_a_key_is_found_by_an_index(db: psycopg.Connection, role_url: Callable[..., str], control: Control) -> None:
    """Of many rows one is wanted: nothing may be scanned. Statistics are made, as they are on a table in use."""
    db.execute(
        "insert into control.api_keys (public_id, secret_hash, kind, name, org_id, project_id, user_id)"
        " select lpad(n::text, 16, '0'), %s, 'inference', 'key', %s, %s, %s from generate_series(1, 5000) as n",
        [b"\0" * 32, control.first.org_id, control.first.project_id, control.first.user_id],
    )
    db.commit()
    db.autocommit = True
    db.execute("analyze control.api_keys")
    with psycopg.connect(role_url("inferhouse_router")) as conn:
        for names in ([control.first.secret.public_id], [str(n).zfill(16) for n in range(10)]):
            plan = conn.execute(b"explain " + QUERIES["find_by_public_ids"], {"public_ids": names}).fetchall()
            text = "\n".join(line for (line,) in plan)
            assert "api_keys_public_id_key" in text, text
            assert "Seq Scan on api_keys" not in text, text


def test_a_key_that_expires_later_is_in_force(find: Find, db: psycopg.Connection, control: Control) -> None:
    db.execute("update control.api_keys set expires_at = now() + interval '1 minute', models = array['m']")
    db.commit()
    key = find(control.first.secret.public_id)
    assert key is not None
    assert key.models == ["m"]


def test_a_key_of_one_organization_cannot_be_put_into_a_project_of_another(db: psycopg.Connection, control: Control) -> None:
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        db.execute(
            "update control.api_keys set project_id = %s where id = %s", [control.second.project_id, control.first.api_key_id]
        )
