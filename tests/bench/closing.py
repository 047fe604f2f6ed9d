"""`python -m tests.bench.closing`: the close of a month of 10,000 organizations: drafts, the gate, final invoices.

The history ends in the middle of June, and May is closed, as the job `close_month` does it, without engines' counters; then 1,000
lines are explained, as `inferhouse explain invoice-line` does it. Exit code 1: an invoice is not final, or not the sum of its
lines; or the rows of a line do not sum up to it, or its query or digest says something else. `--write` puts the table into
docs/benchmarks.md.
"""

import argparse
import sys
import time
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta

import psycopg

from orchestration.defs.billing import closing
from orchestration.defs.billing.gate import examine
from orchestration.defs.billing.parity import differences
from orchestration.history.__main__ import make
from orchestration.history.plan import Plan
from tests.bench.marts.world import END, server, warehouse
from tests.bench.router.machine import described
from tests.bench.router.report import Bar, Section, put_between_marks, written
from tests.services import ROOT

DOCUMENT, MARK = ROOT / "docs" / "benchmarks.md", "bench-closing"
MONTH = date(2026, 5, 1)
DAYS = (END - MONTH).days + 1
CLOSE_S_MAX = 1200
CLOSED = """
select
    count(*) filter (where i.status = 'final'),
    count(*),
    (select count(*) from billing.invoice_lines),
    sum(i.subtotal_picousd) - (select sum(l.subtotal_picousd) from billing.invoice_lines as l)
from billing.invoices as i
"""

EXPLAINED = 1000
# Chosen by a digest of their ids: the same lines for the same invoices.
NOT_EXPLAINED = """
with chosen as (
    select public_id, price_id, usage_rows, subtotal_picousd, row_set_digest
    from billing.invoice_lines order by md5(public_id) limit %s
)
select count(*), count(*) filter (
    where checked.subtotal_picousd is distinct from chosen.subtotal_picousd
        or checked.row_set_digest is distinct from chosen.row_set_digest
        or (chosen.price_id is not null and (chosen.usage_rows, chosen.subtotal_picousd) is distinct from (rows.n, rows.picousd))
)
from chosen
cross join billing.check_line(chosen.public_id) as checked
cross join lateral (
    select count(*) as n, sum(row.subtotal_picousd) as picousd
    from billing.rows_of_line(chosen.public_id, null, null, null, 10000000) as row
) as rows
"""


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--organizations", type=int, default=10_000)
    parser.add_argument("--rows", type=int, default=2_000_000)
    parser.add_argument("--write", action="store_true", help="put the table into docs/benchmarks.md")
    said = parser.parse_args(argv)
    machine = described(ROOT)
    plan = Plan(said.rows, said.organizations, 1, END - timedelta(days=DAYS), DAYS, late_basis_points=500, twice_basis_points=100)
    with server() as superuser, warehouse(superuser, plan) as has:
        make(has.owner_url, plan, owner=None, others_too=False)
        has.dbt()
        _say("built")
        with psycopg.connect(has.transform_url) as conn:
            steps = dict(_close(conn))
        with psycopg.connect(has.owner_url) as conn:
            final, invoices, lines, difference = conn.execute(CLOSED).fetchone() or (0, 0, 0, None)
            explained, unexplained = conn.execute(NOT_EXPLAINED, [EXPLAINED]).fetchone() or (0, None)
        _say(f"{explained} lines explained")
    total = sum(steps.values())
    asked = f"--organizations {said.organizations} --rows {said.rows}{' --write' if said.write else ''}"
    row = (f"{said.organizations:,}", f"{invoices:,}", f"{lines:,}", *(f"{s:.1f}" for s in steps.values()), f"{total:.1f}")
    columns = ("organizations", "invoices", "lines", *(f"{name}, s" for name in steps), "in all, s")
    report = written(
        machine,
        f"python -m tests.bench.closing {asked}",
        f"{datetime.now(UTC):%Y-%m-%d}",
        [Section("The close of a month", columns, (row,))],
        [
            Bar("close of a month", f"{total:.0f} s", f"< {CLOSE_S_MAX} s", total < CLOSE_S_MAX),
            Bar("final of all invoices", f"{final:,}", f"{invoices:,}", 0 < final == invoices),
            Bar("invoices less their lines, pico-dollars", str(difference), "0", difference == 0),
            Bar(f"of {explained:,} lines: rows, query or digest differ", str(unexplained), "0", unexplained == 0 < explained),
        ],
    )
    print(report)
    if said.write:
        put_between_marks(DOCUMENT, report, MARK)
    return int(not 0 < final == invoices or difference != 0 or unexplained != 0)


def _close(conn: psycopg.Connection) -> list[tuple[str, float]]:
    """Seconds of each step of the job `close_month`."""
    took = []
    for name, step in (
        ("drafts", lambda: closing.draft(conn, MONTH)),
        ("gate", lambda: examine(conn, closing.drafts_of(conn, MONTH), differences, without_counters=True)),
        ("final", lambda: closing.finalize(conn, closing.drafts_of(conn, MONTH))),
    ):
        began = time.monotonic()
        step()
        conn.commit()
        took.append((name, time.monotonic() - began))
        _say(f"{name} {took[-1][1]:.1f} s")
    return took


def _say(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
