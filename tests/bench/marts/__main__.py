"""`python -m tests.bench.marts`: what marts cost as the history grows, beside hand-written SQL that makes the same sums.

For each size, in a database of its own: the history is generated, every model is built, the same sums are made by hand, and
everything is vacuumed. Then 10,000 rows come five times, to each size in turn, as a machine is not equally fast all the time.
All of it takes 35 GB of disk meanwhile.
`--sizes 1,5` takes some, `--write` puts the table into docs/benchmarks.md. Exit code 1: a sum differs.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

import psycopg

from orchestration.archive import catalogue
from orchestration.archive.days import archive_day, connected
from orchestration.archive.files import ArchiveFiles
from orchestration.history.__main__ import make
from tests.bench.marts.world import NEW_ROWS, TABLES, Warehouse, plan_of, server, warehouse
from tests.bench.router.machine import described
from tests.bench.router.report import Bar, Section, put_between_marks, written
from tests.services import ROOT
from warehouse.access.queries import parse_queries

QUERIES = parse_queries(Path(__file__).with_name("by_hand.sql").read_text())
DOCUMENT, MARK = ROOT / "docs" / "benchmarks.md", "bench-marts"
BY_HAND = {"quarter_hours": "int_usage_quarter_hours", "hourly": "usage_hourly", "daily": "usage_daily"}
RUNS = 5
ARCHIVED_DAYS = 7
GROWTH_MAX, OVERHEAD_MAX, REBUILD_S_MAX, WIDTH_MAX, ARCHIVED_MAX, RATE_MIN = 1.2, 1.2, 900, 250, 40, 200_000
COLUMNS = (
    "rows", "rows/s made", "bytes a row", "index bytes a row", "archived", "rebuild, s", "of it the sums, s", "by hand, s",
    "ratio", "10,000 rows, s", "models alone, s",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Figures:
    """Of one size."""

    rows: int
    rate: int
    row_bytes: float
    index_bytes: float
    archived_bytes: float
    """A row in the archive."""
    rebuild_s: float
    sums_s: float
    by_hand_s: float
    differing: int
    runs: list[tuple[float, float]] = field(default_factory=list)
    """Of 10,000 rows each: (seconds, of it the models)."""

    @property
    def incremental_s(self) -> float:
        """The first run reads pages and plans that the others find."""
        return statistics.median(seconds for seconds, _ in self.runs[1:])

    @property
    def models_s(self) -> float:
        """Of it the models, without dbt's start."""
        return statistics.median(models for _, models in self.runs[1:])

    @property
    def overhead(self) -> float:
        """Of dbt's sums over those by hand."""
        return self.sums_s / self.by_hand_s

    def row(self) -> tuple[str, ...]:
        """Of the table."""
        return (
            f"{self.rows:,}", f"{self.rate:,}", f"{self.row_bytes:.0f}", f"{self.index_bytes:.0f}",
            f"{self.archived_bytes:.1f}", f"{self.rebuild_s:.1f}", f"{self.sums_s:.1f}", f"{self.by_hand_s:.1f}",
            f"{self.overhead:.2f}", f"{self.incremental_s:.2f}", f"{self.models_s:.2f}",
        )  # fmt: skip


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", default="1,5,10,50", help="millions of rows, the smallest first")
    parser.add_argument("--write", action="store_true", help="put the table into docs/benchmarks.md")
    said = parser.parse_args(argv)
    machine = described(ROOT)
    sizes = sorted(float(part) for part in said.sizes.split(","))
    with ExitStack() as stack:
        superuser = stack.enter_context(server())
        warehouses = [stack.enter_context(warehouse(superuser, plan_of(round(size * 1_000_000)))) for size in sizes]
        figures = [built(has) for has in warehouses]
        for _ in range(RUNS + 1):
            for has, figure in zip(warehouses, figures, strict=True):
                figure.runs.append(new_rows(has))
    options = " --write" if said.write else ""
    report = written(
        machine,
        f"python -m tests.bench.marts --sizes {said.sizes}{options}",
        f"{datetime.now(UTC):%Y-%m-%d}",
        [Section("Marts as the history grows", COLUMNS, tuple(each.row() for each in figures))],
        bars(figures),
    )
    print(report)
    if said.write:
        put_between_marks(DOCUMENT, report, MARK)
    return int(any(each.differing for each in figures))


def built(has: Warehouse) -> Figures:
    """The history and its marts, with a line on stderr for each step."""
    rows = has.plan.rows
    made = make(has.owner_url, has.plan, owner=None, others_too=False)
    _say(rows, f"made, {made['rows_a_second']:,} a second")
    with psycopg.connect(has.owner_url, autocommit=True) as conn:
        conn.execute(QUERIES["prepare"])
        _say(rows, "read once")
        rebuild_s, models = has.dbt()
        _say(rows, f"every model built in {rebuild_s:.1f} s")
        by_hand_s = 0.0
        for name in BY_HAND:
            began = time.monotonic()
            conn.execute(QUERIES[name])
            by_hand_s += time.monotonic() - began
        _say(rows, f"the same sums by hand in {by_hand_s:.1f} s")
        differing = conn.execute(QUERIES["same_sums"]).fetchone()
        conn.execute(QUERIES["remove"])
    archived_bytes = archived(has)
    _say(rows, f"archived at {archived_bytes:.1f} bytes a row")
    has.settle()
    _say(rows, "vacuumed")
    return Figures(
        rows=rows,
        rate=int(str(made["rows_a_second"])),
        row_bytes=int(str(made["table_bytes"])) / rows,
        index_bytes=int(str(made["index_bytes"])) / rows,
        archived_bytes=archived_bytes,
        rebuild_s=rebuild_s,
        sums_s=sum(models[model] for model in BY_HAND.values()),
        by_hand_s=by_hand_s,
        differing=differing[0] if differing else 1,
    )


def archived(has: Warehouse) -> float:
    """Bytes a row of the last days in the archive, as the flow writes them."""
    with TemporaryDirectory() as folder, connected(has.transform_url) as conn:
        days = catalogue.raw_days(conn)[-ARCHIVED_DAYS:]
        files = [archive_day(conn, ArchiveFiles(f"file://{folder}"), day) for day in days]
    return sum(file.size_bytes for file in files) / sum(file.usage_rows for file in files)


def new_rows(has: Warehouse) -> tuple[float, float]:
    """10,000 of them: (seconds of the run that follows, of it the models)."""
    has.add_rows()
    seconds, took = has.dbt("--select", TABLES)
    slowest = ", ".join(f"{name} {took[name]:.2f}" for name in sorted(took, key=took.__getitem__, reverse=True)[:5])
    _say(has.plan.rows, f"{NEW_ROWS:,} new rows: {seconds:.2f} s, of it the models {sum(took.values()):.2f} s; {slowest}")
    return seconds, sum(took.values())


def bars(figures: Sequence[Figures]) -> list[Bar]:
    """Figures to reach, of the largest size, and its growth over the smallest."""
    small, large = figures[0], figures[-1]
    growth = large.incremental_s / small.incremental_s
    return [
        Bar("rows a second", f"{large.rate:,}", f">= {RATE_MIN:,}", large.rate >= RATE_MIN),
        Bar("bytes a row", f"{large.row_bytes:.0f}", f"<= {WIDTH_MAX}", large.row_bytes <= WIDTH_MAX),
        Bar("archived bytes a row", f"{large.archived_bytes:.1f}", f"<= {ARCHIVED_MAX}", large.archived_bytes <= ARCHIVED_MAX),
        Bar(f"rebuild of {large.rows:,}", f"{large.rebuild_s:.0f} s", f"< {REBUILD_S_MAX} s", large.rebuild_s < REBUILD_S_MAX),
        Bar("dbt's sums over those by hand", f"{large.overhead:.2f}", f"<= {OVERHEAD_MAX}", large.overhead <= OVERHEAD_MAX),
        Bar(
            f"10,000 rows at {large.rows:,} over {small.rows:,}", f"{growth:.2f}", f"<= {GROWTH_MAX}", growth <= GROWTH_MAX
        ),
        Bar("sums that differ", str(sum(each.differing for each in figures)), "0", not any(each.differing for each in figures)),
    ]  # fmt: skip


def _say(rows: int, what: str) -> None:
    print(f"{rows:>12,} rows: {what}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
