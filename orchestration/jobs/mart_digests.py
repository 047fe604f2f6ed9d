"""Which columns and rows of each mart a replay must give again to the byte, and the comparison: pure.

A table's digest is the SHA-256 over the digests of its rows, each as PostgreSQL writes a record in UTC, in the order of bytes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

COMPUTED = frozenset({"as_of_xid", "taken_at", "computed_at"})
"""Columns that say when a row was computed, not what of."""
LEFT_OUT: Mapping[str, frozenset[str]] = {
    # What is final is called otherwise than a draft; its lines are compared by themselves.
    "invoices": frozenset({
        "invoice", "number", "status", "digest", "certificate", "finalized_at", "credits_applied", "due", "corrects",
    }),
    "invoice_lines": frozenset({"line_id", "invoice", "status", "row_set_digest", "query"}),
    "focus_costs": frozenset({"InvoiceId"}),
}  # fmt: skip
"""Further columns of one table."""
NOT_COMPARED: Mapping[str, str] = {
    "completeness": "how far the tables are complete now",
    "budget_status": "what of a budget is left now",
    "spend_forecast": "written by a job, about days to come",
    "forecast_errors": "what a job has found about forecasts",
    "anomalies": "what a job has found as rows came",
    "credit_allocations": "no month of its own: credit_ledger has the entries",
    "requests": "the raw rows themselves, which are copied",
    "organizations": "who there is now", "projects": "who there is now", "users": "who there is now",
    "api_keys": "who there is now", "models": "what there is now", "engines": "what there is now", "prices": "what there is now",
}  # fmt: skip
"""Marts that are not about a month, and why."""
INSTANTS = ("hour_utc", "quarter_hour_at", "happened_at")
DAYS = ("day_utc",)
MONTHS = ("period_month", "BillingPeriodStart")


@dataclass(frozen=True, slots=True)
class Question:
    """What to digest of a table: its columns in order, and by which column it is of the month."""

    table: str
    columns: tuple[str, ...]
    period_column: str
    whole_months: bool
    """Whether that column says the month of an organization; else it is a day or an instant of UTC."""


@dataclass(frozen=True, slots=True)
class TableDigest:
    """Of one table in one database."""

    rows: int
    digest: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """Of one table in both. None: it is not there."""

    table: str
    source: TableDigest | None
    replayed: TableDigest | None

    @property
    def same(self) -> bool:
        return self.source == self.replayed and self.source is not None


def question(table: str, columns: Sequence[str]) -> Question | None:
    """What to digest of a mart with these columns; None where it is not compared.

    Raises: ValueError: nobody has said what of it belongs to a month.
    """
    if table in NOT_COMPARED:
        return None
    left_out = COMPUTED | LEFT_OUT.get(table, frozenset())
    for period_column in (*MONTHS, *DAYS, *INSTANTS):
        if period_column in columns:
            kept = tuple(name for name in columns if name not in left_out)
            return Question(table, kept, period_column, period_column in MONTHS)
    raise ValueError(f"marts.{table}: say in orchestration/jobs/mart_digests.py which of its rows are a month's")


def compare(source: Mapping[str, TableDigest], replayed: Mapping[str, TableDigest]) -> list[Comparison]:
    """Table by table."""
    return [Comparison(name, source.get(name), replayed.get(name)) for name in sorted({*source, *replayed})]
