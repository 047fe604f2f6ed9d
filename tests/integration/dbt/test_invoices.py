"""Invoices from draft to final and after it: frozen, corrected by others, and added up from lines that can be explained."""

import json
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.errors import (
    InsufficientPrivilege,
    ObjectNotInPrerequisiteState,
    RestrictViolation,
)
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from orchestration.pricing.reprice import Wish, reprice
from tests.dbt_runs import Dbt
from tests.factories import START, Tenant, add_model, add_tenant, copy_events, month_of_events, usage_event

TABLES = ("run", "--select", "+invoices")
MARCH, APRIL = date(2026, 3, 1), date(2026, 4, 1)
PASSED = Jsonb([{"name": "parity", "passed": True, "figures": {}, "words": ""}])


@pytest.fixture
def conn(role_url: Callable[..., str]) -> Iterator[psycopg.Connection]:
    """As Dagster's jobs."""
    with psycopg.connect(role_url("inferhouse_transform"), autocommit=True) as connection:
        yield connection


def _draft(conn: psycopg.Connection, month: date, tenant: Tenant) -> str:
    row = conn.execute("select invoice from billing.draft_invoices(%s, 'test', %s)", [month, tenant.org_id]).fetchone()
    assert row is not None
    return str(row[0])


def _final(conn: psycopg.Connection, month: date, tenant: Tenant) -> str:
    invoice = _draft(conn, month, tenant)
    conn.execute(
        "select billing.certify(public_id, digest, true, %s, 'test') from billing.invoices where public_id = %s",
        [PASSED, invoice],
    )
    conn.execute("select billing.finalize_invoice(%s, 'test')", [invoice])
    return invoice


def _invoice(db: psycopg.Connection, invoice: str) -> dict[str, Any]:
    with db.cursor(row_factory=dict_row) as cur:
        row = cur.execute("select * from billing.invoices where public_id = %s", [invoice]).fetchone()
    db.commit()
    assert row is not None
    return row


def _lines(db: psycopg.Connection, invoice: str) -> list[dict[str, Any]]:
    with db.cursor(row_factory=dict_row) as cur:
        rows = cur.execute(
            "select l.* from billing.invoice_lines as l join billing.invoices as i on i.id = l.invoice_id"
            " where i.public_id = %s order by l.period_month, l.line_key",
            [invoice],
        ).fetchall()
    db.commit()
    return rows


def _explained(db: psycopg.Connection) -> int:
    """Every line of every invoice says what its rows say; how many lines there are."""
    rows = db.execute(
        "select l.public_id, l.subtotal_picousd, l.row_set_digest, l.price_id, c.subtotal_picousd, c.row_set_digest,"
        " r.picousd, l.usage_rows, r.n"
        " from billing.invoice_lines as l cross join billing.check_line(l.public_id) as c"
        " cross join lateral (select sum(r.subtotal_picousd) as picousd, count(*) as n"
        "   from billing.rows_of_line(l.public_id, null, null, null, 100000) as r) as r where l.kind <> 'credit'"
    ).fetchall()
    db.commit()
    for line, subtotal, digest, price, computed, computed_digest, summed, said, there in rows:
        assert (computed, computed_digest) == (subtotal, digest), line
        if price is not None:
            assert (abs(summed), there) == (abs(subtotal), said), line
    return len(rows)


def test_a_class_of_tokens_that_comes_late_counts_its_own_rows(
    db: psycopg.Connection, dbt: Dbt, conn: psycopg.Connection
) -> None:
    tenant, model = add_tenant(db), add_model(db, "m", (10**9, 10**8, 4 * 10**9))
    priced = {"model_id": model[0], "price_id": model[1]}
    march = START + timedelta(days=3)
    early = [usage_event(tenant, number, march, input_tokens=10, cost_picousd=10**10, **priced) for number in (1, 2, 3)]
    copy_events(db, early)
    dbt.run(*TABLES)
    _final(conn, MARCH, tenant)
    copy_events(db, [usage_event(tenant, 4, march, output_tokens=10, cost_picousd=4 * 10**10, **priced)])
    dbt.run(*TABLES)
    adjusting = _draft(conn, MARCH, tenant)
    assert [(line["token_class"], line["usage_rows"]) for line in _lines(db, adjusting)] == [("output", 1)]
    assert _explained(db) == 2


def test_a_final_month_is_frozen_and_what_comes_later_is_adjusted_in_its_own_month(
    db: psycopg.Connection, dbt: Dbt, conn: psycopg.Connection
) -> None:
    tenant, model = add_tenant(db, "Europe/Berlin"), add_model(db, "m", (10**9, 10**8, 4 * 10**9))
    priced = {"model_id": model[0], "price_id": model[1]}
    db.execute(
        "insert into control.discounts (org_id, basis_points, months, reason) values (%s, 1000, '[2026-01-01,)', 'test')",
        [tenant.org_id],
    )
    db.execute("insert into billing.tax_regions (org_id, region) values (%s, 'DE')", [tenant.org_id])
    db.execute(
        "insert into billing.tax_rates (region, name, basis_points, months) values"
        " ('DE', 'VAT', 1900, '[2020-01-01,2026-04-01)'), ('DE', 'VAT', 2000, '[2026-04-01,)')"
    )
    march, april = START + timedelta(days=3), datetime(2026, 4, 5, tzinfo=UTC)
    copy_events(
        db,
        [
            usage_event(tenant, 1, march, input_tokens=1000, cost_picousd=10**12, **priced),
            usage_event(tenant, 2, april, output_tokens=100, cost_picousd=4 * 10**11, **priced),
        ],
    )
    dbt.run(*TABLES)
    first = _final(conn, MARCH, tenant)
    assert {name: _invoice(db, first)[name] for name in ("number", "amount", "tax_amount", "total", "due", "kind")} == {
        "number": f"INV-{datetime.now(UTC):%Y}-000001", "amount": Decimal("0.90"), "tax_amount": Decimal("0.17"),
        "total": Decimal("1.07"), "due": Decimal("1.07"), "kind": "invoice",
    }  # fmt: skip
    frozen = _lines(db, first)
    # A row that is late by a month, and one more in the running one.
    copy_events(db, [usage_event(tenant, 3, march + timedelta(hours=1), input_tokens=500, cost_picousd=5 * 10**11, **priced)])
    dbt.run(*TABLES)
    assert _lines(db, first) == frozen
    second = _final(conn, APRIL, tenant)
    lines = [
        (str(line["period_month"]), line["kind"], line["adjusts"], int(line["subtotal_picousd"])) for line in _lines(db, second)
    ]
    assert sorted(lines, key=str) == [
        ("2026-03-01", "adjustment", "discount", -5 * 10**10),
        ("2026-03-01", "adjustment", "usage", 5 * 10**11),
        ("2026-04-01", "discount", None, -4 * 10**10),
        ("2026-04-01", "usage", None, 4 * 10**11),
    ]
    taxes = db.execute("select period_month::text, taxable, amount from billing.tax_lines order by id").fetchall()
    # Each month by its own rate: 0.45 at 19 %, 0.36 at 20 %.
    assert taxes[1:] == [("2026-03-01", Decimal("0.45"), Decimal("0.09")), ("2026-04-01", Decimal("0.36"), Decimal("0.07"))]
    assert _explained(db) == 6
    with pytest.raises(psycopg.DatabaseError, match="nothing has come"):
        _draft(conn, MARCH, tenant)
    # The mart: what is final, with everything of a month in it, wherever it was invoiced.
    months = db.execute(
        "select period_month::text, sum(subtotal_picousd), bool_and(status = 'final') from marts.invoice_lines"
        " group by 1 order by 1"
    ).fetchall()
    assert months == [("2026-03-01", Decimal(135 * 10**10), True), ("2026-04-01", Decimal(36 * 10**10), True)]
    different = db.execute(
        "select count(*) from marts.invoices as i where i.amount <> (select sum(l.amount) from marts.invoice_lines as l"
        " where l.invoice = i.invoice)"
    ).fetchone()
    assert different == (0,)


def test_nobody_changes_what_is_final(db: psycopg.Connection, dbt: Dbt, conn: psycopg.Connection) -> None:
    tenant, model = add_tenant(db), add_model(db, "m")
    copy_events(db, month_of_events([tenant], model, 30))
    dbt.run(*TABLES)
    invoice = _final(conn, MARCH, tenant)
    before = (_invoice(db, invoice), _lines(db, invoice))
    for statement in (
        "update billing.invoices set total = total + 1, amount = amount + 1, due = due + 1",
        "update billing.invoices set status = 'draft', voided_at = null",
        "update billing.invoices set status = 'void', voided_at = now(), digest = sha256('x')",
        "delete from billing.invoices",
        "truncate billing.invoices cascade",
        "update billing.invoice_lines set query = 'select 0'",
        "delete from billing.invoice_lines",
        "truncate billing.invoice_lines",
        "update billing.certificates set passed = false",
        "delete from billing.certificates",
        "truncate billing.certificates cascade",
        (
            "insert into billing.tax_lines (invoice_id, period_month, region, name, basis_points, taxable, amount)"
            " select id, period_month, 'DE', 'VAT', 0, 0, 0 from billing.invoices"
        ),
    ):
        with pytest.raises(RestrictViolation):
            db.execute(statement.encode())  # as the owner of the tables, who could do anything else
        db.rollback()
        with pytest.raises(InsufficientPrivilege):
            conn.execute(statement.encode())
    assert (_invoice(db, invoice), _lines(db, invoice)) == before
    with pytest.raises(ObjectNotInPrerequisiteState, match="is final already"):
        conn.execute("select billing.finalize_invoice(%s, 'test')", [invoice])


def test_a_draft_becomes_final_only_by_a_passing_certificate_of_exactly_itself(
    db: psycopg.Connection, dbt: Dbt, conn: psycopg.Connection
) -> None:
    tenant, model = add_tenant(db), add_model(db, "m")
    copy_events(db, month_of_events([tenant], model, 30))
    dbt.run(*TABLES)
    invoice = _draft(conn, MARCH, tenant)
    finalize = ("select billing.finalize_invoice(%s, 'test')", [invoice])
    certify = "select billing.certify(public_id, digest, %s, %s, 'test') from billing.invoices"
    with pytest.raises(ObjectNotInPrerequisiteState, match="the gate has not looked"):
        conn.execute(*finalize)
    refused = Jsonb([{"name": "prices", "passed": False, "figures": {}, "words": "3 rows are quarantined"}])
    conn.execute(certify, [False, refused])
    with pytest.raises(ObjectNotInPrerequisiteState, match="3 rows are quarantined"):
        conn.execute(*finalize)
    conn.execute(certify, [True, PASSED])
    copy_events(db, [usage_event(tenant, 10**6, START, model_id=model[0], price_id=model[1], input_tokens=1, cost_picousd=100)])
    dbt.run(*TABLES)
    assert _draft(conn, MARCH, tenant) == invoice
    with pytest.raises(ObjectNotInPrerequisiteState, match="another one than the gate"):
        conn.execute(*finalize)
    assert _draft(conn, MARCH, tenant) == invoice
    conn.execute(certify, [True, PASSED])
    digest = _invoice(db, invoice)["digest"]
    _draft(conn, MARCH, tenant)
    assert _invoice(db, invoice)["digest"] == digest, "the same rows are the same draft"
    conn.execute(*finalize)
    assert _invoice(db, invoice)["status"] == "final"


def test_credits_pay_and_come_back_and_a_void_month_is_invoiced_again(
    db: psycopg.Connection, dbt: Dbt, conn: psycopg.Connection
) -> None:
    tenant, model = add_tenant(db), add_model(db, "m", (10**9, 10**9, 10**9))
    priced = {"model_id": model[0], "price_id": model[1]}
    copy_events(db, [usage_event(tenant, 1, START, input_tokens=1000, cost_picousd=10**12, **priced)])
    # 0.2055 USD: what is left of a cent stays in the wallet.
    db.execute("select ledger.grant_credit(%s, 205500000000, 'promotional', null, 'start', 'test', 'test')", [tenant.org_id])
    db.commit()
    dbt.run(*TABLES)
    invoice = _final(conn, MARCH, tenant)
    sums = _invoice(db, invoice)
    assert (sums["total"], sums["credits_applied"], sums["due"]) == (Decimal("1.00"), Decimal("0.20"), Decimal("0.80"))
    left = "select sum(remaining_picousd) from ledger.credits"
    assert db.execute(left).fetchone() == (5500000000,)
    with pytest.raises(ObjectNotInPrerequisiteState, match=r"1\.00 USD before taxes are left"):
        db.execute("select billing.credit_invoice(%s, 1.01, 'too much', 'test')", [invoice])
    db.rollback()
    (note,) = db.execute("select billing.credit_invoice(%s, 0.40, 'slow days', 'test')", [invoice]).fetchone() or ("",)
    assert [_invoice(db, note)[name] for name in ("kind", "status", "total")] == ["credit_note", "final", Decimal("-0.40")]
    with pytest.raises(ObjectNotInPrerequisiteState, match="void these first"):
        db.execute("select billing.void_invoice(%s, 'a mistake', 'test')", [invoice])
    db.rollback()
    for wrong in (note, invoice):
        db.execute("select billing.void_invoice(%s, 'a mistake', 'test')", [wrong])
        db.commit()
    assert db.execute(left).fetchone() == (205500000000,)
    assert db.execute("select sum(due), sum(total) from billing.invoices").fetchone() == (0, 0)
    again = _final(conn, MARCH, tenant)
    assert again != invoice
    assert _invoice(db, again)["due"] == Decimal("0.80")
    numbers = [
        number for (number,) in db.execute("select right(number, 6) from billing.invoices where kind = 'invoice' order by id")
    ]
    assert sorted(numbers) == ["000001", "000002", "000003"], "numbers have no gap"
    assert _explained(db) == 3
    events = [name for (name,) in db.execute("select event_type from control.outbox_events order by id")]
    assert events == ["invoice.finalized", "invoice.finalized", "invoice.voided", "invoice.voided", "invoice.finalized"]


def test_two_drafts_do_not_adjust_the_same_rows_twice(db: psycopg.Connection, dbt: Dbt, conn: psycopg.Connection) -> None:
    tenant, model = add_tenant(db), add_model(db, "m")
    priced = {"model_id": model[0], "price_id": model[1], "input_tokens": 10, "cost_picousd": 1000}
    copy_events(db, [usage_event(tenant, 1, START, **priced), usage_event(tenant, 2, datetime(2026, 4, 5, tzinfo=UTC), **priced)])
    dbt.run(*TABLES)
    _final(conn, MARCH, tenant)
    copy_events(db, [usage_event(tenant, 3, START + timedelta(days=1), **priced)])
    dbt.run(*TABLES)
    april = _draft(conn, APRIL, tenant)
    conn.execute(
        "select billing.certify(public_id, digest, true, %s, 'test') from billing.invoices where status = 'draft'", [PASSED]
    )
    own = _final(conn, MARCH, tenant)
    assert _invoice(db, own)["purpose"] == "adjustments"
    with pytest.raises(ObjectNotInPrerequisiteState, match="adjusted one of these months"):
        conn.execute("select billing.finalize_invoice(%s, 'test')", [april])
    _final(conn, APRIL, tenant)
    assert db.execute("select sum(subtotal_picousd) from billing.invoice_lines").fetchone() == (3000,)
    assert _explained(db) == 3


def test_two_drafts_do_not_adjust_a_month_twice_where_no_row_came(
    db: psycopg.Connection, dbt: Dbt, conn: psycopg.Connection
) -> None:
    tenant, model = add_tenant(db), add_model(db, "m")
    priced = {"model_id": model[0], "price_id": model[1], "input_tokens": 1000, "cost_picousd": 100_000}
    copy_events(db, [usage_event(tenant, 1, START, **priced), usage_event(tenant, 2, datetime(2026, 4, 5, tzinfo=UTC), **priced)])
    dbt.run(*TABLES)
    _final(conn, MARCH, tenant)
    db.execute(
        "insert into control.discounts (org_id, basis_points, months, reason)"
        " values (%s, 1000, '[2026-03-01,2026-04-01)', 'test')",
        [tenant.org_id],
    )
    db.commit()
    dbt.run(*TABLES)
    april = _draft(conn, APRIL, tenant)
    conn.execute(
        "select billing.certify(public_id, digest, true, %s, 'test') from billing.invoices where status = 'draft'", [PASSED]
    )
    assert [int(line["subtotal_picousd"]) for line in _lines(db, _final(conn, MARCH, tenant))] == [-10_000]
    with pytest.raises(ObjectNotInPrerequisiteState, match="adjusted one of these months"):
        conn.execute("select billing.finalize_invoice(%s, 'test')", [april])
    _final(conn, APRIL, tenant)
    assert db.execute("select sum(subtotal_picousd) from billing.invoice_lines").fetchone() == (190_000,)


def test_rows_that_went_to_the_archive_before_their_invoice_leave_no_digest_of_the_others(
    db: psycopg.Connection, dbt: Dbt, conn: psycopg.Connection
) -> None:
    absent = (
        "insert into archive.files (day, version, path, usage_rows, bytes, sha256, row_set_digest, verified_at, dropped_at)"
        " values (%s, 1, 'day', 1, 1, sha256(''), sha256(''), now(), now())"
    )
    tenant, model = add_tenant(db), add_model(db, "m")
    priced = {"model_id": model[0], "price_id": model[1], "input_tokens": 10, "cost_picousd": 1000}
    april = datetime(2026, 4, 5, tzinfo=UTC)
    copy_events(db, [usage_event(tenant, 1, START, **priced), usage_event(tenant, 2, april, **priced)])
    dbt.run(*TABLES)
    _final(conn, MARCH, tenant)
    late = START + timedelta(days=1)
    copy_events(db, [usage_event(tenant, 3, late, **priced), usage_event(tenant, 4, late + timedelta(days=1), **priced)])
    dbt.run(*TABLES)
    digests = [line["row_set_digest"] for line in _lines(db, _draft(conn, APRIL, tenant))]
    assert len(digests) == 2
    assert None not in digests
    db.execute("delete from raw.usage_events where started_at = %s", [late])
    db.execute(absent, [late.date()])
    db.commit()
    assert [line["row_set_digest"] is None for line in _lines(db, _draft(conn, APRIL, tenant))] == [True, False]
    db.execute(absent, [april.date()])
    db.commit()
    with pytest.raises(ObjectNotInPrerequisiteState, match="restore its days first"):
        _draft(conn, APRIL, tenant)


def test_a_past_that_was_priced_again_is_adjusted_in_its_own_month_once(
    db: psycopg.Connection, dbt: Dbt, conn: psycopg.Connection, tmp_path: Path
) -> None:
    tenant, model = add_tenant(db), add_model(db, "m", (10**9, 10**8, 4 * 10**9))
    priced = {"model_id": model[0], "price_id": model[1]}
    db.execute(
        "insert into control.discounts (org_id, basis_points, months, reason) values (%s, 1000, '[2026-01-01,)', 'test')",
        [tenant.org_id],
    )
    march, april = START + timedelta(days=3), datetime(2026, 4, 5, tzinfo=UTC)
    copy_events(
        db,
        [
            usage_event(tenant, 1, march, input_tokens=1000, cost_picousd=10**12, **priced),
            usage_event(tenant, 2, april, input_tokens=10, cost_picousd=10**10, **priced),
        ],
    )
    dbt.run(*TABLES)
    _final(conn, MARCH, tenant)
    book = tmp_path / "book.json"
    book.write_text(
        json.dumps([{"model": "m", "input_picousd": 6 * 10**8, "cached_input_picousd": 10**8, "output_picousd": 4 * 10**9}])
    )
    found, _ = reprice(conn, Wish([MARCH], book, "it was too dear", "ann@example.org"), apply=True)
    assert sum(found.left["subtotal_picousd"]) == -36 * 10**10  # 0.40 less, of which a tenth was never paid
    second = _final(conn, APRIL, tenant)
    lines = [
        (str(line["period_month"]), line["adjusts"], int(line["subtotal_picousd"]))
        for line in _lines(db, second)
        if line["kind"] == "adjustment"
    ]
    assert sorted(lines) == [("2026-03-01", "price", -4 * 10**11), ("2026-03-01", "price", 4 * 10**10)]
    assert _invoice(db, second)["kind"] == "credit_note"
    assert _explained(db) == 6
    with pytest.raises(psycopg.DatabaseError, match="nothing has come"):
        _draft(conn, MARCH, tenant)
    # Taken back with its invoice, it is due again; nothing else is.
    db.execute("select billing.void_invoice(%s, 'wrong', 'test')", [second])
    db.commit()
    third = _draft(conn, MARCH, tenant)
    assert [line["adjusts"] for line in _lines(db, third)] == ["price", "price"]
