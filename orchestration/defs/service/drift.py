"""Whether engines and rows agree, and whether somebody is told where they do not."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from decimal import Decimal

from psycopg import Connection
from psycopg.rows import class_row, scalar_row

from orchestration.resources import tell_organization
from warehouse.access.queries import load_queries

QUERIES = load_queries(__file__)
ENGINES_SHOWN_MAX = 50


@dataclass(frozen=True, slots=True)
class Drift:
    """A day of an engine in which it counted other tokens than its rows have, and no cause is known."""

    day_utc: date
    engine: str
    is_settled: bool
    input_tokens_unexplained: int
    output_tokens_unexplained: int
    drift_share: Decimal

    def __str__(self) -> str:
        return (
            f"{self.engine} on {self.day_utc}: {self.drift_share:.2%}, {self.input_tokens_unexplained:+} input and "
            f"{self.output_tokens_unexplained:+} output tokens that rows do not have"
        )


def drifting(conn: Connection, *, days: int) -> list[Drift]:
    """Days of engines that do not agree, the worst first: today's, and those of the last `days` days."""
    with conn.cursor(row_factory=class_row(Drift)) as cur:
        return cur.execute(QUERIES["drifting"], {"days": days, "rows_max": ENGINES_SHOWN_MAX}).fetchall()


def unsampled(conn: Connection, *, seconds: float) -> list[str]:
    """Enabled engines with counters that nobody has read for so long."""
    with conn.cursor(row_factory=scalar_row) as cur:
        return cur.execute(QUERIES["unsampled"], {"seconds": seconds, "rows_max": ENGINES_SHOWN_MAX}).fetchall()


def tell(conn: Connection, organization: str, found: Sequence[Drift]) -> None:
    """An event `reconciliation.drift` for the organization of the platform's operator, once for an engine and a day."""
    for drift in found:
        data = {
            "engine": drift.engine,
            "day": drift.day_utc.isoformat(),
            "drift_percent": f"{drift.drift_share * 100:.4f}",
            "input_tokens_unexplained": drift.input_tokens_unexplained,
            "output_tokens_unexplained": drift.output_tokens_unexplained,
        }
        once = f"reconciliation {drift.engine} {drift.day_utc}"
        tell_organization(conn, organization, "reconciliation.drift", data, once=once)
