"""The preview of a price: sums of quarters of an hour and single rows say the same, and both what the price book would."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from psycopg.errors import InsufficientPrivilege
from psycopg.types.json import Jsonb

from tests.dbt_runs import Dbt
from tests.factories import START, add_model, add_tenant, copy_events, month_of_events

QUERY = "select * from control.preview_price(jsonb_populate_record(null::control.prices, %s), %s)"
NEW = {"input_picousd": 70, "cached_input_picousd": 30, "output_picousd": 500, "request_picousd": 11, "priority": 0}
PLAIN = {"tags": {}, "input_tokens_range": "[0,)"}
ALL_ROWS = {"tags": {}, "input_tokens_range": "[0,2147483647)"}  # a condition that every row meets: it needs the rows


def test_quarters_of_an_hour_and_rows_give_the_same(db: psycopg.Connection, dbt: Dbt, role_url: Callable[..., str]) -> None:
    mine, other = add_tenant(db), add_tenant(db)
    model_id, price_id = add_model(db, "m")
    dear = db.execute(
        "insert into control.prices (model_id, input_picousd, cached_input_picousd, output_picousd, effective, reason, priority,"
        " endpoint) values (%s, 1, 1, 1, '[2020-01-01+00,)', 'test', 5, 'embeddings') returning id",
        [model_id],
    ).fetchone()
    events = month_of_events([mine, other], (model_id, price_id), 400)
    for event in events[:50]:  # of a version that would come before
        event.price_id, event.endpoint = dear[0] if dear else 0, "embeddings"
    for event in events[50:60]:
        event.charge_class, event.status, event.cost_picousd = "free_engine_failed", "engine_failed", 0
    copy_events(db, events)
    dbt.run("build", "--select", "+int_usage_quarter_hours", "--exclude", "resource_type:test")
    since = START + timedelta(days=10)
    wanted = [event for event in events[60:] if event.started_at >= since]
    with psycopg.connect(role_url("inferhouse_management"), autocommit=True) as conn:

        def ask(**version: Any) -> tuple[int, int, int]:
            row = conn.execute(QUERY, [Jsonb(NEW | {"model_id": model_id} | version), since]).fetchone()
            assert row is not None
            return int(row[0]), int(row[1]), int(row[2])

        with pytest.raises(InsufficientPrivilege):
            ask(**PLAIN)
        conn.execute("select set_config('inferhouse.platform', 'on', false)")
        then = sum(
            (row.input_tokens - row.cached_input_tokens) * 70 + row.cached_input_tokens * 30 + row.output_tokens * 500 + 11
            for row in wanted
        )
        assert ask(**PLAIN) == (len(wanted), sum(row.cost_picousd or 0 for row in wanted), then)
        assert ask(**ALL_ROWS) == ask(**PLAIN)
        of_mine = [row for row in wanted if row.org_id == mine.org_id]
        assert ask(**PLAIN, org_id=mine.org_id)[0] > len(of_mine), "an organization's own comes before every list price"
        assert ask(**ALL_ROWS, org_id=mine.org_id) == ask(**PLAIN, org_id=mine.org_id)
        assert ask(**PLAIN, endpoint="embeddings", priority=9) == ask(**ALL_ROWS, endpoint="embeddings", priority=9)
        assert ask(**PLAIN, endpoint="embeddings", priority=9)[0] > 0
        assert ask(**PLAIN, endpoint="rerank", priority=9) == (0, 0, 0)
