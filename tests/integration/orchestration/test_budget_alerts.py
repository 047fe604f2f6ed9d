"""A budget is told of when the rows of its window have reached a share of it: once, in the zone of its organization."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import dagster as dg
import psycopg
import pytest

from orchestration.defs.outbox.sensors import watch_budgets
from orchestration.resources import Warehouse
from tests.factories import Tenant, add_model, add_tenant, copy_events, usage_event

ZONE = "Asia/Kathmandu"  # 5:45 from UTC


@pytest.fixture
def tenant(db: psycopg.Connection) -> Tenant:
    return add_tenant(db, ZONE)


@pytest.fixture
def tick(role_url: Callable[..., str]) -> Callable[[], str]:
    """One look of the sensor; what it says."""

    def look() -> str:
        warehouse = Warehouse(database_url=role_url("inferhouse_transform"))
        with dg.build_sensor_context(resources={"warehouse": warehouse}) as context:
            return str(watch_budgets.evaluate_tick(context).skip_message)

    return look


def _budget(db: psycopg.Connection, tenant: Tenant, period: str, picousd: int, percents: list[int], **scope: Any) -> int:
    columns = ["org_id", "period", "limit_picousd", "alert_percents", "created_at", *scope]
    values = [tenant.org_id, period, picousd, percents, datetime(2020, 1, 1, tzinfo=UTC), *scope.values()]
    row = db.execute(
        f"insert into control.budgets (public_id, {', '.join(columns)})"
        f" values ('budget_' || substr(md5(random()::text), 1, 20), {', '.join(['%s'] * len(values))}) returning id".encode(),
        values,
    ).fetchone()
    db.commit()
    assert row is not None
    return int(row[0])


def _spend(db: psycopg.Connection, tenant: Tenant, model: tuple[int, int], picousd: int, at: datetime, number: int) -> None:
    row = usage_event(tenant, number, at, model_id=model[0], price_id=model[1], cost_picousd=picousd, input_tokens=1)
    copy_events(db, [row])


def _alerts(db: psycopg.Connection) -> list[tuple[int, int]]:
    rows = db.execute("select budget_id, percent from control.budget_alerts order by budget_id, percent").fetchall()
    db.commit()
    return rows


def test_each_share_is_told_once_and_by_the_sum_of_the_rows(
    db: psycopg.Connection, tenant: Tenant, tick: Callable[[], str]
) -> None:
    model, now = add_model(db, "m"), datetime.now(UTC)
    budget = _budget(db, tenant, "day", 1000, [50, 80, 100])
    _spend(db, tenant, model, 499, now, 1)
    assert tick() == "0 new alerts"
    _spend(db, tenant, model, 1, now, 2)
    assert tick() == "1 new alerts"
    assert tick() == "0 new alerts"
    _spend(db, tenant, model, 500, now, 3)
    assert tick() == "2 new alerts"
    assert _alerts(db) == [(budget, 50), (budget, 80), (budget, 100)]
    events = db.execute("select event_type, data ->> 'spent_usd' from control.outbox_events order by id").fetchall()
    assert [event[0] for event in events] == ["budget.threshold_reached", "budget.threshold_reached", "budget.exhausted"]
    assert events[0][1] == "0.0000000005"


def _look(db: psycopg.Connection, at: datetime) -> int:
    """What the sensor does, at another instant; how many alerts there are."""
    row = db.execute("select control.note_budget_alerts_as_of(%s)", [at]).fetchone()
    db.commit()
    assert row is not None
    return int(row[0])


def _midnight() -> datetime:
    return datetime.now(ZoneInfo(ZONE)).replace(hour=0, minute=0, second=0, microsecond=0).astimezone(UTC)


def test_a_day_begins_at_midnight_where_the_organization_is(db: psycopg.Connection, tenant: Tenant) -> None:
    model, midnight = add_model(db, "m"), _midnight()
    budget = _budget(db, tenant, "day", 1000, [100])
    _spend(db, tenant, model, 5000, midnight - timedelta(microseconds=1), 1)
    assert _look(db, midnight + timedelta(hours=1)) == 0
    _spend(db, tenant, model, 1000, midnight, 2)
    assert _look(db, midnight + timedelta(hours=1)) == 1
    assert _alerts(db) == [(budget, 100)]


def test_what_is_spent_just_before_midnight_is_told_after_it(db: psycopg.Connection, tenant: Tenant) -> None:
    model, midnight = add_model(db, "m"), _midnight()
    for period in ("day", "week", "month"):
        _budget(db, tenant, period, 1000, [50, 100])
    new = _budget(db, tenant, "day", 1000, [100])
    db.execute("update control.budgets set created_at = %s where id = %s", [midnight, new])
    _spend(db, tenant, model, 1000, midnight - timedelta(microseconds=1), 1)
    assert _look(db, midnight + timedelta(seconds=5)) == 6
    assert _look(db, midnight + timedelta(seconds=20)) == 0
    assert new not in [budget for budget, _ in _alerts(db)], "there was none before midnight"
    starts = db.execute("select window_start from control.budget_alerts order by window_start desc limit 1").fetchone()
    assert starts == (midnight - timedelta(days=1),)


def test_what_a_request_spends_that_runs_over_midnight_is_told(db: psycopg.Connection, tenant: Tenant) -> None:
    model, midnight = add_model(db, "m"), _midnight()
    for period in ("day", "week", "month"):
        _budget(db, tenant, period, 1000, [100])
    assert _look(db, midnight + timedelta(minutes=39)) == 0
    # As long as a request may run, and wait before it does.
    _spend(db, tenant, model, 1000, midnight - timedelta(microseconds=1), 1)
    assert _look(db, midnight + timedelta(minutes=40)) == 3
    assert _look(db, midnight + timedelta(minutes=41)) == 0


@pytest.mark.parametrize(
    ("zone", "period", "first_midnight"),
    [
        ("Atlantic/Azores", "day", datetime(2026, 10, 25, 0, tzinfo=UTC)),
        ("America/Havana", "month", datetime(2026, 11, 1, 4, tzinfo=UTC)),
    ],
)
def test_a_window_whose_midnight_comes_twice_begins_with_the_first(
    db: psycopg.Connection, zone: str, period: str, first_midnight: datetime
) -> None:
    """As an invoice does, and the router: what is spent in the hour between both is told of as any other."""
    tenant, model = add_tenant(db, zone), add_model(db, "m")
    budget = _budget(db, tenant, period, 1000, [100])
    assert _look(db, first_midnight) == 0
    _spend(db, tenant, model, 999, first_midnight - timedelta(microseconds=1), 1)
    _spend(db, tenant, model, 1000, first_midnight + timedelta(minutes=20), 2)
    assert _look(db, first_midnight + timedelta(minutes=21)) == 1
    assert _look(db, first_midnight + timedelta(minutes=90)) == 0
    starts = db.execute("select budget_id, window_start from control.budget_alerts").fetchall()
    assert starts == [(budget, first_midnight)]


def test_a_budget_is_about_its_scope_only(db: psycopg.Connection, tenant: Tenant, tick: Callable[[], str]) -> None:
    model, other, now = add_model(db, "m"), add_model(db, "other"), datetime.now(UTC)
    stranger = add_tenant(db, ZONE, "Stranger")
    mine = _budget(db, tenant, "lifetime", 10, [100], project_id=tenant.project_id, model_id=model[0])
    _budget(db, tenant, "month", 10, [100], model_id=other[0])
    _budget(db, stranger, "week", 10, [100])
    _budget(db, tenant, "month", 10, [])
    _spend(db, tenant, model, 10, now, 1)
    assert tick() == "1 new alerts"
    assert _alerts(db) == [(mine, 100)]
