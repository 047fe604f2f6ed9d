"""`python -m orchestration.history`: months of usage into a database that has none. `inferhouse demo history` starts it.

One JSON object with what was done goes to stdout, everything else to stderr.
"""

import argparse
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation

import psycopg

from orchestration import programs
from orchestration.history import writing
from orchestration.history.plan import HistoryRefused, Plan, plan
from warehouse.base.clock import now


def parser() -> argparse.ArgumentParser:
    """The options."""
    made = argparse.ArgumentParser(
        prog="inferhouse demo history",
        description="Fill a database with months of usage: organizations in several zones, price changes, cut streams, "
        "failures, late rows and rows sent twice. The same plan and seed make the same rows, ids included.",
    )
    made.add_argument("--rows", type=int, default=1_000_000, help="usage rows in all (default: %(default)s)")
    made.add_argument("--months", type=int, default=6, help="months they are spread over (default: %(default)s)")
    made.add_argument("--organizations", type=int, default=50, help="organizations they are of (default: %(default)s)")
    made.add_argument("--seed", type=int, default=1, help="another number makes other rows (default: %(default)s)")
    made.add_argument("--end", metavar="YYYY-MM", help="the last month (default: this one, up to yesterday)")
    made.add_argument("--late", type=_basis_points, default=500, metavar="5%", help="share that comes days late (default: 5%%)")
    made.add_argument("--twice", type=_basis_points, default=100, metavar="1%", help="share that is sent twice (default: 1%%)")
    made.add_argument("--owner", metavar="EMAIL", help="a user who becomes an owner of every organization that is made")
    programs.add_database(made)
    made.add_argument("--yes", action="store_true", help="also where organizations have usage that are no demonstration")
    return made


@dataclass
class Progress:
    """Says on stderr how far it is."""

    rows: int
    began: float = field(default_factory=time.monotonic)

    def __call__(self, written: int) -> None:
        rate = written / (time.monotonic() - self.began)
        programs.note(f"{written:>12,} rows, {written * 100 // self.rows:>3} %, {rate:>9,.0f} a second")


def main(argv: Sequence[str]) -> int:
    """Make a history; the exit code. Raises: HistoryRefused, psycopg.Error."""
    said = parser().parse_args(argv)
    asked = plan(
        rows=said.rows, months=said.months, organizations=said.organizations, seed=said.seed, end=said.end,
        late=said.late, twice=said.twice, today=now().date(),
    )  # fmt: skip
    print(json.dumps(make(programs.database(said), asked, owner=said.owner, others_too=said.yes)))
    return programs.DONE


def make(url: str, asked: Plan, *, owner: str | None, others_too: bool) -> dict[str, object]:
    """Check, write, count; what was done. Raises: HistoryRefused, psycopg.Error."""
    with psycopg.connect(url, autocommit=True) as conn:
        writing.check(conn, others_too=others_too)
    programs.note(f"{asked.rows:,} rows from {asked.starts_at:%Y-%m-%d} to {asked.ends_at:%Y-%m-%d}, seed {asked.seed}")
    written = writing.write(url, asked, Progress(asked.rows))
    with psycopg.connect(url, autocommit=True) as conn:
        if owner is not None and not conn.execute(writing.QUERIES["put_owner"], {"email": owner}).rowcount:
            raise HistoryRefused(f"the rows are there, but nobody has the address {owner}", param="--owner")
        conn.execute("analyze raw.usage_events")
        table_bytes, index_bytes = conn.execute(writing.QUERIES["size"]).fetchone() or (0, 0)
    return {
        "rows": written.rows,
        "organizations": asked.organizations,
        "starts_at": asked.starts_at.isoformat(),
        "ends_at": asked.ends_at.isoformat(),
        "sent_twice_and_refused": written.refused,
        "seconds": round(written.seconds, 1),
        "rows_a_second": round(written.rows / written.seconds),
        "table_bytes": int(table_bytes),
        "index_bytes": int(index_bytes),
    }


def _basis_points(text: str) -> int:
    """`5%` or `0.5%`."""
    try:
        points = Decimal(text.removesuffix("%")) * 100
        if points != int(points) or not 0 <= points <= 10_000:
            raise argparse.ArgumentTypeError(f"{text} is no share from 0% to 100% in steps of 0.01%")
    except InvalidOperation as error:
        raise argparse.ArgumentTypeError(f"{text} is no share such as 5%") from error
    return int(points)


if __name__ == "__main__":
    sys.exit(programs.run(main))
