"""The gate: no draft becomes final unless each check holds. What it found is kept as a certificate of exactly that draft."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any

import psycopg
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

from orchestration.defs.billing.closing import QUERIES
from orchestration.defs.billing.expectations import judge

AUTHOR = "gate"
NAMED_MAX = 5  # days and hours that a message names; the rest is counted
RECONCILIATION, HOURS = "marts.reconciliation_daily", "marts.engine_hourly"

Differences = Callable[[psycopg.Connection, date], Mapping[int, int]]
"""Of a month: {org_id: lines that the two pricing engines have differently}."""

WORDS: Mapping[str, tuple[str, str]] = {
    "parity_lines": (
        "parity",
        "dbt and the second pricing engine differ on {} lines: run `python -m orchestration.pricing` for them",
    ),
    "is_complete": ("completeness", "rows are complete to {complete_to} only: wait, or see which router's journal is behind"),
    "rows_undecided": (
        "prices",
        (
            "{} rows are quarantined, to be charged and of unknown cost: `inferhouse reprice --from {first_month:%Y-%m} "
            "--to {last_month:%Y-%m} --apply --reason ... --author ...` bills them, with `--book FILE` where the price book has "
            "no price for their time, with `--unmetered` where their engine stated no usage; then draft again"
        ),
    ),
    "adjustments_missing": ("prices", "{} adjustments of re-pricing are not on the draft: draft again"),
    "lines_unpriced": ("prices", "{} lines have no price: draft again"),
    "lines_without_digest": (
        "prices",
        "{} lines have no digest, since not all rows are there: restore the days that are only in the archive, draft again",
    ),
    "lines_difference_usd": ("sums", "lines and invoice differ by {} USD: draft again"),
    "lines_difference_picousd": ("sums", "lines and invoice differ by {} pico-dollars: draft again"),
    "rows_difference_picousd": (
        "sums",
        (
            "lines and recorded costs of their rows differ by {} pico-dollars: draft again, for rows that have come since; if "
            "that does not help, the test rows_are_priced_by_the_version_in_force of verify_marts names rows with a wrong cost"
        ),
    ),
    "days_difference_picousd": ("days", "days and month differ by {} pico-dollars: run verify_marts, then rebuild usage_daily"),
    "engine_days_off": ("reconciliation", "{engine_words}"),
    "hours_missing": ("hours", "{hour_words}"),
    "digest_holds": ("draft", "the draft is not what its digest says: draft again"),
}
"""{figure: (its check, what to do when it is not what it must be)}."""
SAID = ("complete_to", "first_month", "last_month", "engine_words", "hour_words")
"""What the words may name beside the figure."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Of one draft. `words`: why not, one sentence for each check that failed."""

    invoice: str
    organization: str
    passed: bool
    words: tuple[str, ...]


def examine(
    conn: psycopg.Connection, invoices: Sequence[str], differences: Differences, *, without_counters: bool = False
) -> list[Verdict]:
    """Look at drafts and certify each, passed or not; of those that did not, their organization is told.

    Args: without_counters: whether days on which an engine's counters were not read at all are let through.
    """
    drafts = _figures(conn, invoices)
    if not drafts:
        return []
    _add_parity(conn, drafts, differences)
    _add_engines(conn, drafts, without_counters=without_counters)
    judged = judge(drafts)
    return [_certify(conn, draft, judged.broken[draft["invoice"]]) for draft in drafts]


def _figures(conn: psycopg.Connection, invoices: Sequence[str]) -> list[dict[str, Any]]:
    with conn.cursor(row_factory=dict_row) as cur:
        return cur.execute(QUERIES["figures"], {"invoices": list(invoices)}).fetchall()


def _add_parity(conn: psycopg.Connection, drafts: list[dict[str, Any]], differences: Differences) -> None:
    months = sorted({month for draft in drafts for month in draft["months"] or ()})
    found = {month: differences(conn, month) for month in months}
    for draft in drafts:
        draft["parity_lines"] = sum(found[month].get(draft["org_id"], 0) for month in draft["months"] or ())


def _add_engines(conn: psycopg.Connection, drafts: list[dict[str, Any]], *, without_counters: bool) -> None:
    """Engines serve everybody: what they counted closes the month of every organization that it lies in."""
    names = {name for (name,) in conn.execute(QUERIES["marts"], {"names": [RECONCILIATION, HOURS]})}
    known: dict[tuple[datetime, datetime], dict[str, Any]] = {}
    for draft in drafts:
        span = draft["period_starts_at"], draft["period_ends_at"]
        if span not in known:
            known[span] = _engines(conn, names, span, without_counters=without_counters)
        draft.update(known[span])


def _engines(
    conn: psycopg.Connection, marts: set[str], span: tuple[datetime, datetime], *, without_counters: bool
) -> dict[str, Any]:
    values = {"starts_at": span[0], "ends_at": span[1]}
    figures: dict[str, Any] = {"engine_days_off": None, "hours_missing": None}
    missing = "{} is not there, so nothing says what the engines counted: build the marts (job build_marts)"
    figures |= {"engine_words": missing.format(RECONCILIATION), "hour_words": missing.format(HOURS)}
    if RECONCILIATION in marts:
        days = conn.execute(QUERIES["engine_days"], values).fetchall()
        off = [
            f"{engine} on {day} ({status if settled else 'its counters are not settled yet'})"
            for day, engine, status, settled in days
            if not (settled and status == "no_samples" and without_counters)
        ]
        figures["engine_days_off"] = len(off)
        figures["engine_words"] = (
            f"rows and engine counters do not agree: {_named(off)}. Look at {RECONCILIATION}; where rows are missing, bring the "
            "router's journal back (runbook journal-growing); where counters are late, wait for them"
        )
    if HOURS in marts:
        hours = conn.execute(QUERIES["missing_hours"], values).fetchall()
        figures["hours_missing"] = len(hours)
        named = _named([f"{hour:%Y-%m-%d %H:00}Z on {engine} ({tokens} tokens)" for hour, engine, tokens in hours])
        figures["hour_words"] = (
            f"engines counted tokens in hours without a row: {named}. Bring the router's journal of that time back, or the chunk "
            "from the archive"
        )
    return figures


def _named(things: Sequence[str]) -> str:
    more = f" and {len(things) - NAMED_MAX} more" if len(things) > NAMED_MAX else ""
    return ", ".join(things[:NAMED_MAX]) + more


def _certify(conn: psycopg.Connection, draft: Mapping[str, Any], broken: frozenset[str]) -> Verdict:
    checks: dict[str, dict[str, Any]] = {}
    for figure, (check, words) in WORDS.items():
        entry = checks.setdefault(check, {"name": check, "passed": True, "figures": {}, "words": ""})
        value = draft[figure]
        entry["figures"][figure] = value if isinstance(value, bool) or value is None else str(value)
        if figure in broken:
            entry["passed"] = False
            said = words.format(value, **{name: draft[name] for name in SAID})
            entry["words"] = "; ".join(filter(None, (entry["words"], said)))
    passed = not broken
    found = list(checks.values())
    author = {"invoice": draft["invoice"], "digest": draft["digest"], "passed": passed, "author": AUTHOR}
    conn.execute(QUERIES["certify"], author | {"checks": Jsonb(found)})
    words_of_all = tuple(entry["words"] for entry in found if not entry["passed"])
    if not passed:
        # Once for a draft: what is examined again with the same result is no news.
        names = [entry["name"] for entry in found if not entry["passed"]]
        about = {"checks": names, "digest": draft["digest"].hex(), "words": "; ".join(words_of_all)}
        conn.execute(QUERIES["tell_blocked"], {"invoice": draft["invoice"], "about": Jsonb(about)})
    return Verdict(draft["invoice"], draft["organization"], passed, words_of_all)
