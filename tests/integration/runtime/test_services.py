"""The servers that every other test stands on are what production has."""

from collections.abc import Callable

import psycopg
import redis


def test_database_is_timescale_with_the_schema(db: psycopg.Connection) -> None:
    hypertables = db.execute("select hypertable_name from timescaledb_information.hypertables").fetchall()
    assert ("usage_events",) in hypertables
    assert db.info.server_version // 10_000 == 17


def test_each_test_has_a_database_of_its_own(database_url: str, db: psycopg.Connection) -> None:
    assert db.execute("select count(*) from control.organizations").fetchone() == (0,)
    db.execute("insert into control.organizations (public_id, name) values ('org_0123456789ab', 'left behind')")
    db.commit()


def test_nothing_is_left_of_the_test_before(db: psycopg.Connection) -> None:
    assert db.execute("select count(*) from control.organizations").fetchone() == (0,)


def test_service_role_signs_in_with_its_password(role_url: Callable[..., str]) -> None:
    with psycopg.connect(role_url("inferhouse_router")) as conn:
        assert conn.execute("select current_user, rolsuper from pg_roles where rolname = current_user").fetchone() == (
            "inferhouse_router", False,
        )  # fmt: skip


def test_redis_starts_empty(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        assert client.dbsize() == 0
        assert int(client.info("server")["redis_version"].split(".")[0]) >= 8
