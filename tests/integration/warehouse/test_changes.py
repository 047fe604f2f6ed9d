"""A change of the control tables is announced when it is committed, so that routers forget what they knew."""

import psycopg
import pytest

from tests.integration.warehouse.conftest import Control

CHANGES = {
    "organizations": "update control.organizations set suspended_at = now()",
    "projects": "update control.projects set archived_at = now()",
    "users": "update control.users set disabled_at = now()",
    "api_keys": "update control.api_keys set revoked_at = now()",
    "models": "update control.models set retired_at = now()",
    "engines": "update control.engines set enabled = false",
    "prices": "delete from control.prices",
}


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


@pytest.mark.usefixtures("control")
def test_a_change_that_is_taken_back_is_not_announced(database_url: str, db: psycopg.Connection) -> None:
    with psycopg.connect(database_url, autocommit=True) as listener:
        listener.execute("listen control_changed")
        db.execute(CHANGES["api_keys"].encode())
        db.rollback()
        assert _announced(listener, 0.1) == []


def test_many_rows_are_one_announcement(database_url: str, db: psycopg.Connection, control: Control) -> None:
    with psycopg.connect(database_url, autocommit=True) as listener:
        listener.execute("listen control_changed")
        db.execute("update control.api_keys set name = name || '!'")
        db.execute("update control.api_keys set name = name || '?'")
        db.commit()
        assert [notice.payload for notice in listener.notifies(timeout=0.5)] == ["api_keys"]
