"""Lines of invoices: what they are for, what they come to, and that their own query says the same."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import psycopg
from psycopg.rows import dict_row

from tests.dbt_runs import Dbt
from tests.factories import START, add_model, add_tenant, copy_events, month_of_events, usage_event

TABLES = ("run", "--select", "+invoices")


def lines_of(db: psycopg.Connection, where: str = "true") -> list[dict[str, Any]]:
    """Lines of the mart, in a stable order."""
    with db.cursor(row_factory=dict_row) as cur:
        found = cur.execute(
            f"select * from marts.invoice_lines where {where} order by org_id, period_month, kind, model, price_id, token_class,"
            " above_quantity".encode()
        ).fetchall()
    db.commit()
    return found


def _terms(db: psycopg.Connection, table: str, **values: Any) -> None:
    values = {"months": "[2026-01-01,)", "reason": "test"} | values
    db.execute(
        f"insert into control.{table} ({', '.join(values)}) values ({', '.join(['%s'] * len(values))})".encode(),
        [*values.values()],
    )
    db.commit()


def test_each_class_tier_and_discount_has_its_line_and_its_query_says_the_same(db: psycopg.Connection, dbt: Dbt) -> None:
    tenant, other = add_tenant(db), add_tenant(db)
    model_id, price_id = add_model(db, "m", (100, 10, 400))
    row = db.execute(
        "update control.prices set request_picousd = 7, reasoning_picousd = 900 where id = %s returning id", [price_id]
    ).fetchone()
    assert row == (price_id,)
    priced = {"model_id": model_id, "price_id": price_id}
    events = [
        usage_event(
            owner, 10 * number + n, START + timedelta(hours=n), input_tokens=100, cached_input_tokens=40, output_tokens=50,
            reasoning_tokens=20, cost_picousd=60 * 100 + 40 * 10 + 30 * 400 + 20 * 900 + 7, **priced,
        )
        for number, owner in enumerate((tenant, other)) for n in range(3)
    ]  # fmt: skip
    copy_events(db, events)
    dbt.run(*TABLES)
    plain = {line["token_class"]: line for line in lines_of(db, f"org_id = {tenant.org_id}")}
    assert {name: (int(line["quantity"]), int(line["subtotal_picousd"])) for name, line in plain.items()} == {
        "input": (180, 18000), "cached_input": (120, 1200), "output": (90, 36000), "reasoning": (60, 54000), "request": (3, 21),
    }  # fmt: skip
    # Terms change afterwards, without a new row: the months are computed again.
    everybody = {"model_id": model_id, "token_class": "input", "months": "[2026-03-01,2026-04-01)"}
    _terms(db, "volume_tiers", above_quantity=50, basis_points=9000, **everybody)
    for above, points in ((100, 1000), (150, 3333)):
        _terms(db, "volume_tiers", org_id=tenant.org_id, above_quantity=above, basis_points=points, **everybody)
    _terms(db, "discounts", org_id=tenant.org_id, basis_points=5000)
    _terms(db, "discounts", org_id=tenant.org_id, basis_points=1234, model_id=model_id)
    dbt.run(*TABLES)
    lines = lines_of(db, f"org_id = {tenant.org_id}")
    tiers = [line for line in lines if line["kind"] == "volume_discount"]
    # 50 of 180 units at 1000 basis points, 30 at 3333, of 18,000 for all.
    assert [(int(t["quantity"]), t["above_quantity"], int(t["subtotal_picousd"])) for t in tiers] == [
        (50, 100, -500), (30, 150, -1000),
    ]  # fmt: skip
    (discount,) = [line for line in lines if line["kind"] == "discount"]
    base = 18000 + 1200 + 36000 + 54000 + 21 - 500 - 1000
    assert (discount["basis_points"], int(discount["subtotal_picousd"])) == (1234, -round(Decimal(base) * 1234 / 10000))
    everybodys = lines_of(db, f"org_id = {other.org_id} and kind = 'volume_discount'")
    assert [(int(t["quantity"]), int(t["subtotal_picousd"])) for t in everybodys] == [(130, -11700)]
    for line in lines_of(db):
        assert db.execute(line["query"]).fetchone() == (line["subtotal_picousd"],), line
    sums = "select org_id, sum(subtotal_picousd), sum(amount) from marts.invoice_lines group by 1 order by 1"
    invoices = "select org_id, subtotal_picousd, total from marts.invoices order by 1"
    assert db.execute(invoices).fetchall() == db.execute(sums).fetchall()


def test_terms_of_another_month_or_tenant_change_nothing(db: psycopg.Connection, dbt: Dbt) -> None:
    tenant, other, model = add_tenant(db), add_tenant(db), add_model(db, "m")
    copy_events(db, month_of_events([tenant], model, 50))
    dbt.run(*TABLES)
    before = lines_of(db)
    _terms(db, "discounts", org_id=tenant.org_id, basis_points=5000, months="[2026-04-01,2026-05-01)")
    _terms(db, "discounts", org_id=other.org_id, basis_points=5000)
    dbt.run(*TABLES)
    assert lines_of(db) == before


def test_half_a_cent_is_rounded_away_from_zero_on_the_line_and_nowhere_before(db: psycopg.Connection, dbt: Dbt) -> None:
    tenant, model = add_tenant(db), add_model(db, "m", (10**9, 10**9, 10**9))
    priced = {"model_id": model[0], "price_id": model[1]}
    # Two rows of 0.0025 USD: each would be 0.00 by itself, the line is 0.005.
    rows = [usage_event(tenant, n, START, input_tokens=2, cost_picousd=2 * 10**9, **priced) for n in range(2)]
    rows.append(usage_event(tenant, 3, START, input_tokens=1, cost_picousd=10**9, **priced))
    copy_events(db, rows)
    _terms(db, "discounts", org_id=tenant.org_id, basis_points=10000)
    dbt.run(*TABLES)
    assert [(line["kind"], line["amount"]) for line in lines_of(db)] == [
        ("discount", Decimal("-0.01")), ("usage", Decimal("0.01")),
    ]  # fmt: skip


FIRST_INSTANTS = {
    "Asia/Kathmandu": datetime(2026, 2, 28, 18, 15, tzinfo=UTC),
    "America/Havana": datetime(2020, 11, 1, 4, tzinfo=UTC),  # midnight comes twice: the first
    "America/Asuncion": datetime(2023, 10, 1, 4, tzinfo=UTC),  # there is no midnight
    "Europe/Berlin": datetime(2026, 3, 31, 22, tzinfo=UTC),  # the clocks have changed within the month before
}


def test_a_month_begins_and_ends_where_its_organization_is(db: psycopg.Connection, dbt: Dbt) -> None:
    """One token in the last microsecond of a month, two in the first of the next one."""
    model = add_model(db, "m")
    events, wanted = [], []
    for number, (zone, first) in enumerate(FIRST_INSTANTS.items()):
        tenant = add_tenant(db, zone)
        month = first.astimezone(ZoneInfo(zone)).date()
        wanted += [(tenant.org_id, (month - timedelta(days=1)).replace(day=1), 1), (tenant.org_id, month, 2)]
        for tokens, at in ((1, first - timedelta(microseconds=1)), (2, first)):
            priced = {"model_id": model[0], "price_id": model[1], "cost_picousd": 400 * tokens, "output_tokens": tokens}
            events.append(usage_event(tenant, 10 * number + tokens, at, **priced))
    copy_events(db, events)
    dbt.run(*TABLES)
    lines = lines_of(db)
    assert [(line["org_id"], line["period_month"], int(line["quantity"])) for line in lines] == wanted
    assert (
        {line["period_starts_at"] for line in lines} >= set(FIRST_INSTANTS.values()) <= {line["period_ends_at"] for line in lines}
    )
    for line in lines:
        assert db.execute(line["query"]).fetchone() == (line["subtotal_picousd"],), line
