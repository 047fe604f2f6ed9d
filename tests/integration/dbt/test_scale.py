"""Marts over a generated history: the same whatever order it came in, in any zone, and without reading it all again."""

import datetime as dt
import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from uuid import uuid4

import numpy as np
import psycopg
import pytest
from psycopg.sql import SQL, Identifier

from deploy.local.postgres import OWNER
from orchestration.history import writing
from orchestration.history.draws import ENCODER, Rows, draw
from orchestration.history.plan import Plan, units
from orchestration.history.world import build
from tests.dbt_runs import Dbt, table
from tests.factories import Tenant, copy_events, usage_event

TABLES = ("run", "--select", "config.materialized:incremental")
DAY_US = 86_400_000_000
# Columns that say when a table was computed and not of what.
OF_THE_RUN = ("as_of_xid", "computed_at", "complete_to", "taken_at")
ZONES = Path(__file__).with_name("zones.sql")


def _plan(rows: int, days: int) -> Plan:
    first = dt.date(2026, 3, 1) if days < 365 else dt.date(2025, 6, 1)
    return Plan(rows, 12, 5, first, days, late_basis_points=500, twice_basis_points=200)


def _history(db: psycopg.Connection, asked: Plan) -> Rows:
    """The world of a plan in the database, and its rows as columns, in the order of time."""
    world = build(asked)
    writing.put_world(db, world)
    db.execute(writing.QUERIES["create_sent_again"])
    db.commit()
    drawn = [draw(world, piece) for unit in units(asked, world.hour_weights) for piece in unit.pieces]
    rows = {name: np.concatenate([each[name] for each in drawn]) for name in ENCODER.columns} | {
        name: np.concatenate([each[name] for each in drawn]) for name in ("request_id_low", "trace_id_low")
    }
    order = np.argsort(rows["started_at"], kind="stable")
    return {name: column[order] for name, column in rows.items()}


def _tables(db: psycopg.Connection) -> dict[str, list[tuple[Any, ...]]]:
    names = db.execute(
        "select schemaname || '.' || tablename from pg_tables where schemaname in ('marts', 'intermediate')"
        r" and tablename not like 'int\_%\_horizon' order by 1"
    ).fetchall()
    assert len(names) >= 6
    return {name: table(db, name, without=OF_THE_RUN) for (name,) in names}


def test_thirty_days_in_any_order_late_and_twice_give_the_marts_of_ordered_ones(db: psycopg.Connection, dbt: Dbt) -> None:
    """30 days shuffled, 5 % late by up to 40 days, 2 % sent twice; five runs, and between them whatever has come by then."""
    rows = _history(db, _plan(6000, 30))
    writing.copy_rows(db, "raw.usage_events", ENCODER.encode(rows))
    db.commit()
    dbt.run("run")
    ordered = _tables(db)
    for name in ordered:
        db.execute(f"truncate {name}".encode())
    db.execute("truncate raw.usage_events")
    db.commit()

    chance = np.random.default_rng(6)
    late = chance.random(6000) < 0.05
    arrives = rows["started_at"] + np.where(late, chance.integers(0, 40 * DAY_US, 6000), 0)
    come = np.argsort(arrives)
    again = come[chance.random(6000) < 0.02]
    for part in np.array_split(come, 5):
        shuffled = np.array(random.Random(7).sample(part.tolist(), len(part)), np.intp)
        writing.copy_rows(db, "raw.usage_events", ENCODER.encode(rows, shuffled))
        db.commit()
        twice = np.intersect1d(part, again)
        assert writing.copy_again(db, ENCODER.encode(rows, twice)) == len(twice) > 0
        db.commit()
        dbt.run(*TABLES)
    assert _tables(db) == ordered


@pytest.fixture(scope="module")
def year(
    admin: psycopg.Connection,
    template: str,
    server_dsn: str,
    role_passwords: dict[str, str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[tuple[psycopg.Connection, Dbt]]:
    """A database with a year of rows, and its marts."""
    name = f"test_{uuid4().hex}"
    admin.execute(
        SQL("create database {} template {} owner {}").format(Identifier(name), Identifier(template), Identifier(OWNER))
    )
    parts = psycopg.conninfo.conninfo_to_dict(server_dsn)

    def url(role: str) -> str:
        return f"postgresql://{role}:{role_passwords[role]}@{parts['host']}:{parts['port']}/{name}"

    with psycopg.connect(url(OWNER)) as conn:
        rows = _history(conn, _plan(6000, 365))
        writing.copy_rows(conn, "raw.usage_events", ENCODER.encode(rows))
        conn.commit()
        dbt = Dbt(url("inferhouse_transform"), tmp_path_factory.mktemp("dbt-of-year"))
        dbt.run("run")
        yield conn, dbt
    admin.execute(SQL("drop database {} with (force)").format(Identifier(name)))


Year = tuple[psycopg.Connection, Dbt]


def _one(db: psycopg.Connection, query: str) -> tuple[Any, ...]:
    row = db.execute(query.encode()).fetchone()
    db.commit()
    assert row is not None
    return row


def test_hours_days_and_months_of_every_zone_with_summer_time_add_up(year: Year) -> None:
    """From quarters of an hour, as the marts have them, and from the rows themselves: the same local hours, days and months."""
    db, _ = year
    zones, different = _one(db, ZONES.read_text())
    assert zones > 100
    assert different == 0


def test_an_incremental_run_reads_no_table_whole(year: Year) -> None:
    """But for the days of organizations, which `completeness` sums up: a year has few."""
    db, dbt = year
    read = """
    select coalesce(sum(s.seq_tup_read) filter (where s.schemaname <> 'control'), 0), max(c.rows) from pg_stat_user_tables as s
    cross join (select count(*) as rows from raw.usage_events) as c
    where s.schemaname in ('marts', 'intermediate', '_timescaledb_internal')
        and s.relname not in ('int_usage_horizon', 'int_usage_days')
    """
    _add(db, 1, dt.datetime(2026, 5, 30, 12, 5, tzinfo=dt.UTC))
    before = _one(db, read)[0]
    dbt.run(*TABLES, "--exclude", "tag:service")  # those are on a schedule of their own
    assert _one(db, "select sum(usage_rows) from marts.usage_hourly") == _one(db, "select count(*) from raw.usage_events")
    after, rows = _one(db, read)
    hourly = _one(db, "select count(*) from marts.usage_hourly")[0]
    assert after - before <= hourly + rows  # one pass is the query of this test over usage_hourly, one its count of raw rows


def test_rows_of_a_clock_that_jumped_are_where_they_say_and_harm_nothing(year: Year) -> None:
    db, dbt = year
    until = _one(db, "select max(complete_to) from marts.completeness")[0]
    for number, at in ((2, dt.datetime(2001, 2, 3, tzinfo=dt.UTC)), (3, dt.datetime(2097, 2, 3, tzinfo=dt.UTC))):
        _add(db, number, at)
    dbt.run(*TABLES)
    assert _one(db, "select sum(usage_rows) from marts.usage_hourly") == _one(db, "select count(*) from raw.usage_events")
    days = _one(db, "select min(day_utc), max(day_utc) from marts.usage_daily")
    assert days == (dt.date(2001, 2, 3), dt.date(2097, 2, 3))
    complete_to, now = _one(db, "select max(complete_to), now() from marts.completeness")
    assert until <= complete_to <= now
    # The check of prices looks at the last days that there were, not at those of the future.
    assert "PASS=1" in dbt.run("test", "--select", "rows_are_priced_by_the_version_in_force")


def test_a_mart_that_is_rebuilt_while_rows_arrive_misses_none(year: Year) -> None:
    db, dbt = year
    with psycopg.connect(db.info.dsn, password=db.info.password) as writer:
        building = _Building(dbt)
        number = 10
        while building.goes_on():
            number += 1
            _add(writer, number, dt.datetime(2026, 5, 1, tzinfo=dt.UTC) + dt.timedelta(minutes=7 * number))
        assert building.failed() is None
    assert number > 20
    dbt.run(*TABLES)
    incremental = _tables(db)
    assert _one(db, "select sum(usage_rows) from marts.usage_hourly") == _one(db, "select count(*) from raw.usage_events")
    dbt.run(*TABLES, "--full-refresh")
    assert _tables(db) == incremental


class _Building:
    """A full build in the background."""

    def __init__(self, dbt: Dbt) -> None:
        self._pool = ThreadPoolExecutor(1)
        self._done = self._pool.submit(dbt.run, *TABLES, "--full-refresh")

    def goes_on(self) -> bool:
        return not self._done.done()

    def failed(self) -> BaseException | None:
        self._pool.shutdown()
        return self._done.exception()


def _add(db: psycopg.Connection, number: int, at: dt.datetime) -> None:
    """One row of the first key, at the price of its model, committed."""
    key = _one(db, "select org_id, project_id, id from control.api_keys order by id limit 1")
    price, model, picousd = _one(
        db, "select id, model_id, output_picousd from control.prices where org_id is null and effective @> "
        f"'{at.isoformat()}'::timestamptz order by model_id limit 1"
    )  # fmt: skip
    event = usage_event(
        Tenant(*key, organization=""),
        10**9 + number,
        at,
        model_id=model,
        price_id=price,
        output_tokens=3,
        cost_picousd=3 * picousd,
    )
    copy_events(db, [event])
