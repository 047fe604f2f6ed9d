"""The second engine over a real warehouse: what it reads and says is what raw rows and the price book say."""

import json
import random
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta

import polars as pl
import psycopg
import pytest

from orchestration.pricing import month as months
from orchestration.pricing.month import price_month, read_terms, snapshot_xid
from orchestration.pricing.parity import compare_month
from tests.dbt_runs import Dbt
from tests.factories import START, Tenant, add_model, add_tenant, copy_events, usage_event
from tests.services import ROOT

MARCH = date(2026, 3, 1)


@pytest.fixture
def conn(role_url: Callable[..., str]) -> psycopg.Connection:
    """As the role that Dagster's jobs have."""
    with psycopg.connect(role_url("inferhouse_transform")) as connection:
        yield connection


@pytest.fixture
def world(db: psycopg.Connection) -> list[Tenant]:
    """Rows of three zones over a book with an override, conditions, a discount and tiers; priced by SQL."""
    tenants = [add_tenant(db, zone) for zone in ("UTC", "Asia/Kolkata", "America/New_York")]
    model_id, _ = add_model(db, "m", (100, 50, 400))
    for org_id, priority, endpoint, length, tags, output in (
        (tenants[0].org_id, 0, None, "[0,)", {}, 300),
        (None, 10, "embeddings", "[0,)", {}, 7),
        (None, 20, None, "[1500,)", {}, 900),
        (None, 30, None, "[0,)", {"tier": 'gold "x", a'}, 1),
    ):
        db.execute(
            "insert into control.prices (model_id, org_id, priority, endpoint, input_tokens_range, tags, input_picousd,"
            " cached_input_picousd, output_picousd, reasoning_picousd, request_picousd, effective, reason)"
            " values (%s, %s, %s, %s, %s, %s, 101, 51, %s, 17, 5, tstzrange('2026-03-10 05:30+00', null), 'test')",
            [model_id, org_id, priority, endpoint, length, json.dumps(tags), output],
        )
    db.execute(
        "insert into control.discounts (org_id, basis_points, months, reason) values (%s, 333, '[2026-03-01,)', 'test')",
        [tenants[1].org_id],
    )
    db.execute(
        "insert into control.volume_tiers (model_id, token_class, above_quantity, basis_points, months, reason)"
        " values (%s, 'input', 30000, 777, '[2026-01-01,)', 'test')",
        [model_id],
    )
    chance, rows = random.Random(5), []
    for number in range(600):
        asked, answered = chance.randrange(3000), chance.randrange(500)
        rows.append(
            usage_event(
                chance.choice(tenants), number, START - timedelta(days=1) + timedelta(minutes=chance.randrange(33 * 1440)),
                model_id=model_id, endpoint=chance.choice(["chat.completions", "embeddings"]), input_tokens=asked,
                cached_input_tokens=asked // 3, output_tokens=answered, reasoning_tokens=answered // 2,
                tags=chance.choice([None, {"tier": 'gold "x", a', "team": "b"}, {"tier": "gold"}]),
                charge_class=chance.choice(["charged", "charged", "free_timed_out"]),
            )
        )  # fmt: skip
    copy_events(db, rows)
    db.execute(PRICED_BY_SQL)
    db.commit()
    return tenants


# The rule of choice and cost once more, in SQL.
PRICED_BY_SQL = """
update raw.usage_events as event
set price_id = chosen.id, cost_picousd = case when event.charge_class = 'charged' then
    (event.input_tokens - event.cached_input_tokens)::numeric * chosen.input_picousd
    + event.cached_input_tokens::numeric * chosen.cached_input_picousd
    + (event.output_tokens - event.reasoning_tokens)::numeric * chosen.output_picousd
    + event.reasoning_tokens::numeric * coalesce(chosen.reasoning_picousd, chosen.output_picousd)
    + chosen.request_picousd else 0 end
from raw.usage_events as same
cross join lateral (
    select price.* from control.prices as price
    where price.model_id = same.model_id and (price.org_id is null or price.org_id = same.org_id)
        and price.effective @> same.started_at and (price.endpoint is null or price.endpoint = same.endpoint)
        and price.input_tokens_range @> same.input_tokens and coalesce(same.tags, '{}') @> price.tags
    order by price.org_id nulls last, price.priority desc
    limit 1
) as chosen
where event.request_id = same.request_id and event.started_at = same.started_at
"""


def test_each_row_is_given_the_version_and_cost_that_sql_gives_it(
    world: list[Tenant], db: psycopg.Connection, conn: psycopg.Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    priced = price_month(conn, MARCH, read_terms(conn), snapshot_xid(conn))
    assert (priced.rows_otherwise, priced.rows_unpriced) == (0, 0)
    assert db.execute("select count(distinct price_id) from raw.usage_events").fetchone() == (5,)
    monkeypatch.setattr(months, "PART_BYTES_MAX", 1000)
    in_parts = price_month(conn, MARCH, read_terms(conn), snapshot_xid(conn), anew=True)
    assert in_parts.lines.rows() == priced.lines.rows()
    assert {*priced.lines["kind"]} == {"usage", "volume_discount", "discount"}
    by_rows = db.execute(
        "select e.org_id, sum(cost_picousd) from raw.usage_events as e inner join control.organizations as o on o.id = e.org_id"
        " where date_trunc('month', started_at at time zone time_zone) = '2026-03-01' group by 1 order by 1"
    ).fetchall()
    usage = priced.lines.filter(kind="usage").group_by("org_id").agg(pl.col("subtotal_picousd").sum()).sort("org_id")
    assert usage.select("org_id", "subtotal_picousd").rows() == [(org_id, int(cost)) for org_id, cost in by_rows]


def test_a_row_that_was_priced_by_another_version_is_counted(
    world: list[Tenant], db: psycopg.Connection, conn: psycopg.Connection
) -> None:
    db.execute(
        "update raw.usage_events set cost_picousd = cost_picousd + 1 where request_id = (select request_id from raw.usage_events"
        " where charge_class = 'charged' and started_at > '2026-03-05' order by started_at limit 1)"
    )
    db.commit()
    assert price_month(conn, MARCH, read_terms(conn), snapshot_xid(conn)).rows_otherwise == 1


def test_rows_that_are_not_below_the_horizon_are_left_out(
    world: list[Tenant], db: psycopg.Connection, conn: psycopg.Connection
) -> None:
    horizon = snapshot_xid(conn)
    conn.rollback()
    late = usage_event(world[0], 10**6, datetime(2026, 3, 3, tzinfo=UTC))
    before = price_month(conn, MARCH, read_terms(conn), horizon).rows
    copy_events(db, [late])
    conn.rollback()
    assert price_month(conn, MARCH, read_terms(conn), horizon).rows == before
    assert price_month(conn, MARCH, read_terms(conn), snapshot_xid(conn)).rows == before + 1


def test_dbt_and_polars_agree_to_the_last_pico_dollar_and_a_difference_is_named(
    world: list[Tenant], db: psycopg.Connection, conn: psycopg.Connection, role_url: Callable[..., str], dbt: Dbt
) -> None:
    url = role_url("inferhouse_transform")
    dbt.run("run", "--select", "+int_invoice_lines")
    same = compare_month(conn, MARCH)
    conn.rollback()
    assert same.differences.is_empty()
    assert same.dbt_picousd == same.polars_picousd > 0
    assert {*same.month.lines["kind"]} == {"usage", "volume_discount", "discount"}
    db.execute(
        "update intermediate.int_invoice_lines set subtotal_picousd = subtotal_picousd - 1 where kind = 'volume_discount'"
        " and period_month = '2026-03-01' and org_id = %s",
        [world[0].org_id],
    )
    db.commit()
    other = compare_month(conn, MARCH)
    assert other.differences.select("org_id", "kind").rows() == [(world[0].org_id, "volume_discount")]
    assert other.polars_picousd - other.dbt_picousd == 1
    command = [sys.executable, "-m", "orchestration.pricing", "2026-03", "--database-url", url]
    told = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert told.returncode == 8, told.stderr
    assert len(told.stdout.splitlines()) == 2, "a head and the line"
