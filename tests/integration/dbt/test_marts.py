"""The marts are the raw rows, in whatever order those came."""

import random
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from tests.dbt_runs import Dbt, table
from tests.factories import START, Tenant, add_model, add_tenant, copy_events, month_of_events, usage_event

MARTS = ("marts.usage_hourly", "marts.usage_daily", "marts.invoice_lines", "intermediate.int_usage_quarter_hours")

TABLES_ONLY = ("build", "--select", "config.materialized:incremental", "--exclude", "resource_type:test")


def _sums(db: psycopg.Connection, query: str) -> tuple[object, ...]:
    row = db.execute(query).fetchone()  # type: ignore[arg-type]
    db.commit()
    assert row is not None
    return row


def test_late_shuffled_and_repeated_rows_give_the_marts_of_ordered_ones(db: psycopg.Connection, dbt: Dbt) -> None:
    tenants = [add_tenant(db, zone) for zone in ("UTC", "Asia/Kolkata", "America/New_York")]
    events = month_of_events(tenants, add_model(db, "m"), 3000, seed=1)
    shuffled = random.Random(2).sample(events, len(events))
    for batch in range(3):  # three runs, each row in any of them, a few sent twice
        part = shuffled[batch * 1000 : (batch + 1) * 1000]
        copy_events(db, part)
        copy_events(db, part[:20], replay=True)
        dbt.run("build")
    incremental = {mart: table(db, mart) for mart in MARTS}
    dbt.run("build", "--full-refresh")
    assert {mart: table(db, mart) for mart in MARTS} == incremental
    raw = _sums(db, "select count(*), sum(input_tokens), sum(output_tokens), sum(cost_picousd) from raw.usage_events")
    for mart in ("marts.usage_hourly", "marts.usage_daily"):
        sums = f"select sum(usage_rows), sum(input_tokens), sum(output_tokens), sum(cost_picousd) from {mart}"
        assert _sums(db, sums) == raw
    assert _sums(db, "select sum(subtotal_picousd) from marts.invoice_lines")[0] == raw[3]


def test_a_new_row_reopens_only_its_own_hour(db: psycopg.Connection, dbt: Dbt) -> None:
    tenant, model = add_tenant(db), add_model(db, "m")
    copy_events(db, month_of_events([tenant], model, 500))
    dbt.run("build")
    before = dict(db.execute("select hour_utc, as_of_xid::text from marts.usage_hourly").fetchall())
    late = START + timedelta(days=3, hours=5, minutes=20)
    copy_events(db, [usage_event(tenant, 10**6, late, model_id=model[0], price_id=model[1], cost_picousd=400, output_tokens=1)])
    dbt.run("build")
    after = dict(db.execute("select hour_utc, as_of_xid::text from marts.usage_hourly").fetchall())
    changed = {hour for hour in after if after[hour] != before.get(hour)}
    assert changed == {late.replace(minute=0)}


def test_a_row_that_is_committed_late_is_not_missed(db: psycopg.Connection, dbt: Dbt, database_url: str) -> None:
    tenant, model = add_tenant(db), add_model(db, "m")
    db.commit()
    slow, quick = (usage_event(tenant, n, START, model_id=model[0], price_id=model[1], cost_picousd=0) for n in (1, 2))
    with psycopg.connect(database_url) as behind:
        behind.execute("create temporary table t (x int)")  # takes its transaction id now, commits last
        behind.execute("insert into t select pg_current_xact_id()::text::int where false")
        behind.execute("select pg_current_xact_id()")
        copy_events(db, [quick])
        dbt.run("build", "--exclude", "test_type:data")
        assert _sums(db, "select count(*) from marts.usage_hourly") == (0,), "a row above the horizon is counted with the next"
        copy_events(behind, [slow])
    dbt.run("build")
    assert _sums(db, "select sum(usage_rows) from marts.usage_hourly") == (2,)


def test_two_builds_at_once_count_nothing_twice(db: psycopg.Connection, dbt: Dbt, database_url: str) -> None:
    tenant, model = add_tenant(db), add_model(db, "m")
    copy_events(db, month_of_events([tenant], model, 200))
    dbt.run("build")
    late = [START + timedelta(days=2, minutes=n) for n in range(200)]
    priced = {"model_id": model[0], "price_id": model[1], "cost_picousd": 400, "output_tokens": 1}
    copy_events(db, [usage_event(tenant, 10**6 + n, instant, **priced) for n, instant in enumerate(late)])
    with psycopg.connect(database_url) as gate, ThreadPoolExecutor() as both:
        gate.execute("select pg_advisory_xact_lock(hashtextextended('inferhouse.marts', 0))")
        builds = [both.submit(dbt.process, *TABLES_ONLY, target=dbt.target / str(n)) for n in range(2)]
        _wait_until(
            db, "select count(*) = 2 from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"
        )
        gate.rollback()  # both go on from the same place
        outputs = [build.result() for build in builds]
    assert [done.returncode for done in outputs] == [0, 0], outputs[0].stdout + outputs[1].stdout
    raw = _sums(db, "select count(*), sum(cost_picousd) from raw.usage_events")
    for mart in ("intermediate.int_usage_quarter_hours", "marts.usage_hourly", "marts.usage_daily"):
        assert _sums(db, f"select sum(usage_rows), sum(cost_picousd) from {mart}") == raw
    assert _sums(db, "select sum(subtotal_picousd) from marts.invoice_lines") == raw[1:]


def _wait_until(db: psycopg.Connection, query: str, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while _sums(db, query) != (True,):
        assert time.monotonic() < end, f"still not so after {seconds} s: {query}"
        time.sleep(0.1)


def test_the_models_own_unit_tests_pass(db: psycopg.Connection, dbt: Dbt) -> None:
    dbt.run("build")
    assert "PASS=0" not in dbt.run("test", "--select", "test_type:unit")


def test_a_cost_that_the_price_book_does_not_give_is_named(db: psycopg.Connection, dbt: Dbt) -> None:
    """A wrong sum, and a version that another one comes before: of more input, of a tag, of the organization."""
    tenant, other, (model_id, listed) = add_tenant(db), add_tenant(db), add_model(db, "m", (100, 10, 400))
    book: dict[str, int] = {}
    for name, condition in {
        "long": "null, 2, null, '[200,)', '{}', null",
        "batch": "null, 1, null, '[0,)', '{\"batch\": \"true\"}', 100",
        "embeddings": "null, 3, 'embeddings', '[0,)', '{}', null",
        "own": f"{other.org_id}, 0, null, '[0,)', '{{}}', null",
    }.items():
        row = db.execute(
            "insert into control.prices (model_id, input_picousd, cached_input_picousd, output_picousd, request_picousd,"
            " effective, reason, org_id, priority, endpoint, input_tokens_range, tags, reasoning_picousd)"
            f" values (%s, 1, 1, 4, 7, '[2020-01-01+00,)', 'test', {condition}) returning id".encode(),
            [model_id],
        ).fetchone()
        book[name] = row[0] if row else 0
    batch = {"tags": {"batch": "true", "team": "a"}, "reasoning_tokens": 3}
    rows: list[tuple[Tenant, str, int, dict[str, Any]]] = [
        (tenant, "", 4000, {}), (tenant, "long", 200 + 40 + 7, {"input_tokens": 200}),
        (tenant, "", 19900 + 4000, {"input_tokens": 199}),
        (tenant, "batch", 7 * 4 + 3 * 100 + 7, batch), (tenant, "long", 247, {"input_tokens": 200, **batch}),
        (tenant, "embeddings", 47, {"endpoint": "embeddings"}), (other, "own", 47, {"endpoint": "embeddings"}),
        # Wrong ones:
        (tenant, "", 3999, {}), (tenant, "", 24000, {"input_tokens": 200}), (tenant, "", 4000, batch),
        (tenant, "batch", 7 * 4 + 3 * 100, batch), (other, "", 4000, {}),
    ]  # fmt: skip
    copy_events(
        db,
        [
            usage_event(
                who, number, START, model_id=model_id, price_id=book.get(name, listed), cost_picousd=cost,
                **{"output_tokens": 10, **fields},
            )
            for number, (who, name, cost, fields) in enumerate(rows)
        ],
    )  # fmt: skip
    assert "WARN 5 rows_are_priced_by_the_version_in_force" in dbt.run("build")


MONTHS = [
    ("Europe/Berlin", datetime(2026, 2, 28, 22, 59, 59, tzinfo=UTC), "2026-02-01"),
    ("Europe/Berlin", datetime(2026, 2, 28, 23, 0, tzinfo=UTC), "2026-03-01"),
    ("Europe/Berlin", datetime(2026, 3, 31, 21, 59, 59, tzinfo=UTC), "2026-03-01"),  # summer time by then
    ("Europe/Berlin", datetime(2026, 3, 31, 22, 0, tzinfo=UTC), "2026-04-01"),
    ("Asia/Kolkata", datetime(2026, 2, 28, 18, 29, 59, tzinfo=UTC), "2026-02-01"),
    ("Asia/Kolkata", datetime(2026, 2, 28, 18, 30, tzinfo=UTC), "2026-03-01"),
    ("Asia/Kathmandu", datetime(2026, 2, 28, 18, 14, 59, tzinfo=UTC), "2026-02-01"),
    ("Asia/Kathmandu", datetime(2026, 2, 28, 18, 15, tzinfo=UTC), "2026-03-01"),
]


def test_months_are_those_of_the_organizations_zone(db: psycopg.Connection, dbt: Dbt) -> None:
    model_id, price_id = add_model(db, "m")
    tenants = [add_tenant(db, zone) for zone, _, _ in MONTHS]
    priced = {"model_id": model_id, "price_id": price_id, "cost_picousd": 400, "output_tokens": 1}
    instants = [instant for _, instant, _ in MONTHS]
    copy_events(db, [usage_event(tenants[n], n, instant, **priced) for n, instant in enumerate(instants)])
    dbt.run("build")
    months = dict(db.execute("select org_id, period_month::text from marts.invoice_lines").fetchall())
    assert [months[tenant.org_id] for tenant in tenants] == [month for _, _, month in MONTHS]


def test_cached_tokens_have_their_own_line_and_price(db: psycopg.Connection, dbt: Dbt) -> None:
    tenant, (model_id, price_id) = add_tenant(db), add_model(db, "m", (100, 10, 400))
    cost = 60 * 100 + 40 * 10 + 7 * 400
    copy_events(
        db,
        [
            usage_event(
                tenant,
                1,
                START,
                model_id=model_id,
                price_id=price_id,
                cost_picousd=cost,
                input_tokens=100,
                cached_input_tokens=40,
                output_tokens=7,
            )
        ],
    )
    dbt.run("build")
    lines = db.execute(
        "select token_class, quantity::int, unit_price_picousd, subtotal_picousd::int, amount, status, query "
        "from marts.invoice_lines order by token_class"
    ).fetchall()
    assert [line[:4] for line in lines] == [("cached_input", 40, 10, 400), ("input", 60, 100, 6000), ("output", 7, 400, 2800)]
    for line in lines:
        assert db.execute(line[6]).fetchone() == (line[3],)


def test_a_row_without_a_price_is_quarantined_not_free(db: psycopg.Connection, dbt: Dbt) -> None:
    tenant, model = add_tenant(db), add_model(db, "m")
    copy_events(db, [usage_event(tenant, 1, START, model_id=model[0], input_tokens=5, output_tokens=5)])
    dbt.run("build")
    assert _sums(db, "select rows_quarantined, usage_rows from marts.completeness") == (1, 1)
    assert _sums(db, "select count(*) from marts.invoice_lines") == (0,)


def test_complete_to_is_what_the_slowest_worker_says(db: psycopg.Connection, dbt: Dbt) -> None:
    add_tenant(db)
    db.execute("insert into raw.journal_positions (worker, reported_at, complete_to) values ('a', now(), '2026-03-05+00')")
    db.execute("insert into raw.journal_positions (worker, reported_at, complete_to) values ('b', now(), '2026-03-04+00')")
    db.commit()
    dbt.run("build")
    assert _sums(db, "select complete_to from marts.completeness") == (datetime(2026, 3, 4, tzinfo=UTC),)


def test_complete_to_stops_at_a_row_that_the_run_left_out(db: psycopg.Connection, dbt: Dbt, database_url: str) -> None:
    """No worker reports any more, but behind an open transaction a committed row is not in the marts yet."""
    tenant, model = add_tenant(db), add_model(db, "m")
    db.commit()
    with psycopg.connect(database_url) as behind:
        behind.execute("select pg_current_xact_id()")
        copy_events(db, [usage_event(tenant, 1, START, model_id=model[0], price_id=model[1], cost_picousd=0)])
        dbt.run("build", "--exclude", "test_type:data")
        assert _sums(db, "select complete_to from marts.completeness") == (START,)
    dbt.run("build")
    assert _sums(db, "select complete_to > now() - interval '1 minute' from marts.completeness") == (True,)


def test_no_tenant_sees_anothers_row(db: psycopg.Connection, dbt: Dbt, role_url: Callable[..., str], database_url: str) -> None:
    mine, other = add_tenant(db, name="Mine"), add_tenant(db, name="Other")
    model = add_model(db, "m")
    copy_events(db, month_of_events([mine, other], model, 200))
    login = f"inferhouse_sql_{mine.organization.removeprefix('org_')}"
    db.execute("select control.create_sql_login(%s, %s, 'pw')", [login, mine.org_id])
    db.commit()
    dbt.run("build")
    marts = ("usage_hourly", "usage_daily", "invoice_lines", "completeness", "requests", "spend_forecast")
    with psycopg.connect(role_url("inferhouse_portal")) as portal:
        for mart in marts:
            assert portal.execute(f"select count(*) from marts.{mart}").fetchone() == (0,), "no organization is set"  # type: ignore[arg-type]
        portal.execute(f"set inferhouse.org_id = {other.org_id}")  # type: ignore[arg-type]
        for mart in marts[:5]:
            assert portal.execute(f"select distinct org_id from marts.{mart}").fetchall() == [(other.org_id,)]  # type: ignore[arg-type]
    with psycopg.connect(role_url(login, "pw")) as tenant:
        tenant.execute(f"set inferhouse.org_id = {other.org_id}")  # type: ignore[arg-type]
        for mart in marts[:5]:
            assert tenant.execute(f"select distinct org_id from marts.{mart}").fetchall() == [(mine.org_id,)]  # type: ignore[arg-type]
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            tenant.execute("select * from raw.usage_events")
    with psycopg.connect(role_url("inferhouse_platform")) as platform:
        for mart in marts[:5]:
            found = platform.execute(f"select count(distinct org_id) from marts.{mart}").fetchone()  # type: ignore[arg-type]
            assert found == (2,)
    db.execute(f"drop owned by {login}")  # type: ignore[arg-type]
    db.execute(f"drop role {login}")  # type: ignore[arg-type]
    db.commit()
