"""A change of the control tables is announced when it is committed, so that routers forget what they knew; of what decides
about keys it is announced whose keys it is about, and nothing is announced that does not decide."""

import psycopg
import pytest

from tests.integration.warehouse.conftest import Control

CHANGES = {
    "models": "update control.models set retired_at = now()",
    "engines": "update control.engines set enabled = false",
    "prices": "delete from control.prices",
}
OF_KEYS = {
    "organization suspended": ("update control.organizations set suspended_at = now() where id = 1", "organizations:1"),
    "policy for models": ("update control.organizations set key_models = '{{m}}' where id = 1", "organizations:1"),
    "policy for networks": ("update control.organizations set key_cidrs = '{{::/0}}' where id = 1", "organizations:1"),
    "project archived": ("update control.projects set archived_at = now() where id = {project_id}", "projects:{project_id}"),
    "user disabled": ("update control.users set disabled_at = now() where id = {user_id}", "users:{user_id}"),
    "member removed": (
        "delete from control.org_members where org_id = {org_id} and user_id = {user_id}", "org_members:{user_id}"
    ),
    "key revoked": ("update control.api_keys set revoked_at = now() where id = {key_id}", "api_keys:{key}"),
    "key restricted": ("update control.api_keys set models = '{{m}}' where id = {key_id}", "api_keys:{key}"),
    "key removed": ("delete from control.api_keys where id = {key_id}", "api_keys:{key}"),
}  # fmt: skip
"""{what: (statement, announcement)}"""
SILENT = (
    "update control.api_keys set last_used_at = now()",
    "update control.api_keys set name = 'another'",
    "update control.users set totp_step_last = 1",
    "update control.projects set name = 'another ' || id",
)


def _announced(listener: psycopg.Connection, timeout_s: float) -> list[str]:
    return [notice.payload for notice in listener.notifies(timeout=timeout_s, stop_after=1)]


@pytest.mark.parametrize("table", CHANGES)
@pytest.mark.usefixtures("control")
def test_a_change_is_announced_at_commit_and_not_before(database_url: str, db: psycopg.Connection, table: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as listener:
        listener.execute("listen control_changed")
        db.execute(CHANGES[table].encode())
        assert _announced(listener, 0.1) == []
        db.commit()
        assert _announced(listener, 5) == [table]


@pytest.mark.parametrize("what", OF_KEYS)
def test_a_change_of_keys_says_whose_they_are(database_url: str, db: psycopg.Connection, control: Control, what: str) -> None:
    tenant = control.first
    names = {"org_id": tenant.org_id, "project_id": tenant.project_id, "user_id": tenant.user_id, "key_id": tenant.api_key_id}
    statement, announcement = (text.format(**names, key=tenant.secret.public_id) for text in OF_KEYS[what])
    with psycopg.connect(database_url, autocommit=True) as listener:
        listener.execute("listen control_changed")
        db.execute(statement.encode())
        db.commit()
        assert _announced(listener, 5) == [announcement]


@pytest.mark.parametrize("statement", SILENT)
@pytest.mark.usefixtures("control")
def test_what_decides_about_no_key_is_not_announced(database_url: str, db: psycopg.Connection, statement: str) -> None:
    with psycopg.connect(database_url, autocommit=True) as listener:
        listener.execute("listen control_changed")
        assert db.execute(statement.encode()).rowcount
        db.commit()
        assert _announced(listener, 0.3) == []


@pytest.mark.usefixtures("control")
def test_a_change_that_is_taken_back_is_not_announced(database_url: str, db: psycopg.Connection) -> None:
    with psycopg.connect(database_url, autocommit=True) as listener:
        listener.execute("listen control_changed")
        db.execute(CHANGES["models"].encode())
        db.rollback()
        assert _announced(listener, 0.1) == []


@pytest.mark.usefixtures("control")
def test_many_rows_are_one_announcement(database_url: str, db: psycopg.Connection) -> None:
    with psycopg.connect(database_url, autocommit=True) as listener:
        listener.execute("listen control_changed")
        db.execute("update control.models set version = version + 1")
        db.execute("update control.models set version = version + 1")
        db.commit()
        assert [notice.payload for notice in listener.notifies(timeout=0.5)] == ["models"]
