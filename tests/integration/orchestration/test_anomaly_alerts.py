"""A key that runs away is told of within five minutes, once; what it does every day is not told of."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta

import dagster as dg
import psycopg
import pytest

from orchestration.defs.findings.anomalies import QUIET, watch, watch_anomalies
from orchestration.resources import Warehouse
from tests.dbt_runs import Dbt
from tests.factories import Tenant, add_model, add_tenant, copy_events, usage_event

QUICK = ("run", "--select", "int_usage_horizon", "int_usage_quarter_hours", "staging")


@pytest.fixture
def tenant(db: psycopg.Connection) -> Tenant:
    return add_tenant(db)


@pytest.fixture
def model(db: psycopg.Connection) -> tuple[int, int]:
    return add_model(db, "m")


@pytest.fixture
def conn(role_url: Callable[..., str]) -> Iterator[psycopg.Connection]:
    with psycopg.connect(role_url("inferhouse_transform"), autocommit=True) as connection:
        yield connection


def _burst(db: psycopg.Connection, tenant: Tenant, model: tuple[int, int], first: datetime, count: int, number: int = 0) -> None:
    """Four requests a second."""
    priced = {"model_id": model[0], "price_id": model[1], "cost_picousd": 400, "output_tokens": 1}
    copy_events(db, [usage_event(tenant, number + n, first + timedelta(seconds=n / 4), **priced) for n in range(count)])


def _events(db: psycopg.Connection) -> list[tuple[str, str, datetime]]:
    rows = db.execute("select event_type, data ->> 'metric', created_at from control.outbox_events order by id").fetchall()
    db.commit()
    return rows


def _days_of_use(db: psycopg.Connection, dbt: Dbt, tenant: Tenant, model: tuple[int, int], until: datetime) -> None:
    """Five days of 90 requests each quarter of an hour, in the marts' quarters of hours."""
    quarters = [until - timedelta(minutes=15 * n) for n in range(1, 5 * 96 + 1)]
    priced = {"model_id": model[0], "price_id": model[1], "cost_picousd": 400, "output_tokens": 1}
    rows = [
        usage_event(tenant, 10**6 + 100 * q + n, quarter + timedelta(seconds=10 * n), **priced)
        for q, quarter in enumerate(quarters)
        for n in range(90)
    ]
    copy_events(db, rows)
    dbt.run(*QUICK)


def test_a_runaway_is_told_of_within_five_minutes_and_once(
    db: psycopg.Connection,
    role_url: Callable[..., str],
    tenant: Tenant,
    model: tuple[int, int],
    dbt: Dbt,
) -> None:
    now = datetime.now(UTC)
    begun = now - timedelta(minutes=3)
    _days_of_use(db, dbt, tenant, model, begun)
    warehouse = Warehouse(database_url=role_url("inferhouse_transform"))

    def tick() -> str:
        with dg.build_sensor_context(resources={"warehouse": warehouse}) as context:
            return str(watch_anomalies.evaluate_tick(context).skip_message)

    begun = datetime.now(UTC) - timedelta(minutes=2)
    _burst(db, tenant, model, begun, 40)
    assert tick() == "0 new anomalies", (
        "the usual 90 a quarter of an hour are thirty in five minutes, and a runaway is more than twice that"
    )
    _burst(db, tenant, model, begun + timedelta(seconds=60), 60, number=60)
    assert tick() == "1 new anomalies"
    assert tick() == "0 new anomalies"
    ((event_type, metric, told_at),) = _events(db)
    assert (event_type, metric) == ("usage.anomaly", "requests")
    assert told_at - begun < timedelta(minutes=5)
    noted = db.execute("select baseline, expected, threshold, observed from findings.anomalies").fetchone()
    assert noted is not None
    assert noted[:3] == ("key", 30, 60)
    assert 100 <= noted[3] < 120, "and what was usual before"


def test_an_episode_ends_and_the_next_one_is_told_of_again(
    db: psycopg.Connection, conn: psycopg.Connection, tenant: Tenant, model: tuple[int, int]
) -> None:
    start = datetime(2026, 3, 2, 10, tzinfo=UTC)
    _burst(db, tenant, model, start, 700)
    told = [watch(conn, start + timedelta(minutes=minute)) for minute in range(1, 25)]
    assert sum(told) == 1, "no history: ten times the floors, and one episode"
    assert watch(conn, start + QUIET + timedelta(minutes=20)) == 0
    again = start + timedelta(hours=2)
    _burst(db, tenant, model, again, 300, number=1000)
    assert watch(conn, again + timedelta(minutes=5)) == 0
    _burst(db, tenant, model, again + timedelta(hours=1), 700, number=2000)
    assert sum(watch(conn, again + timedelta(hours=1, minutes=minute)) for minute in range(1, 15)) == 1
    rows = db.execute("select ended_at is null from findings.anomalies order by id").fetchall()
    assert rows == [(False,), (True,)]
    assert len(_events(db)) == 2


def test_spend_of_a_runaway_is_in_dollars(
    db: psycopg.Connection, conn: psycopg.Connection, tenant: Tenant, model: tuple[int, int]
) -> None:
    start = datetime(2026, 3, 2, 10, tzinfo=UTC)
    dear = {"model_id": model[0], "price_id": model[1], "cost_picousd": 15 * 10**11, "output_tokens": 1}
    copy_events(db, [usage_event(tenant, n, start + timedelta(seconds=n), **dear) for n in range(20)])
    assert watch(conn, start + timedelta(minutes=1)) == 1
    row = db.execute("select data ->> 'observed', data ->> 'threshold', data ->> 'unit' from control.outbox_events").fetchone()
    assert row == ("30", "10", "usd")
