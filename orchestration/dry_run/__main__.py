"""`inferhouse dry-run`: which requests of a month a limit or a budget would have blocked."""

import argparse
import sys
import tempfile
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import polars as pl

from orchestration import programs
from orchestration.archive import month as months
from orchestration.archive.days import connected
from orchestration.jobs.dry_run import RATES, SCOPES, Outcome, Rule, dry_run, requests_of
from warehouse.base.errors import InvalidRequest
from warehouse.base.money import picousd


def main(argv: Sequence[str]) -> int:
    """A row per key that would have been stopped, and one of all."""
    parser = programs.parser("dry-run", "Which requests of a month a limit or a budget would have blocked.")
    parser.add_argument("--month", type=programs.month, default=_last_month(), help="as 2026-03; without it, the last one")
    parser.add_argument("--scope", choices=tuple(SCOPES), required=True, help="each one of these has the limit by itself")
    parser.add_argument("--limit", action="append", default=[], metavar="NAME=NUMBER", help=f"NAME is one of {', '.join(RATES)}")
    parser.add_argument("--budget-usd", help="what may be spent in a window")
    parser.add_argument("--window", choices=("day", "week", "month", "lifetime"), default="month")
    parser.add_argument("--organization", help="only requests of this one")
    parser.add_argument("--model", help="only requests of this one")
    args = parser.parse_args(argv)
    rule = _rule(args)
    with connected(programs.database(args)) as conn, tempfile.TemporaryDirectory(prefix="inferhouse-dry-run-") as folder:
        organizations, models, keys = months.organizations(conn, args.month), months.models(conn), months.api_keys(conn)
        if args.model is not None and args.model not in models:
            raise InvalidRequest(f"there is no model {args.model}")
        paths = months.paths_between(conn, programs.archive_if_any(args), *months.reach(args.month), folder)
        requests = _requests(paths, organizations, args, models) if paths else pl.DataFrame()
    outcome = dry_run(requests.iter_rows(), rule)
    programs.show(_table(outcome, keys), as_json=args.json)
    return programs.DONE


def _requests(
    paths: Sequence[str], organizations: pl.DataFrame, args: argparse.Namespace, models: Mapping[str, int]
) -> pl.DataFrame:
    rows = (
        months.rows_of(paths)
        .join(organizations.lazy(), on="org_id")
        .filter(pl.col("started_at").is_between("period_starts_at", "period_ends_at", closed="left"))
    )
    if args.organization is not None:
        rows = rows.filter(pl.col("organization") == args.organization)
    if args.model is not None:
        rows = rows.filter(pl.col("model_id") == models[args.model])
    return requests_of(rows, args.scope, args.window).collect(engine="streaming")


def _rule(args: argparse.Namespace) -> Rule:
    said = dict(part.split("=", 1) for part in args.limit if "=" in part)
    if len(said) != len(args.limit) or set(said) - set(RATES) or not all(number.isdigit() for number in said.values()):
        raise InvalidRequest(f"write --limit NAME=NUMBER, NAME one of {', '.join(RATES)}")
    budget = None
    if args.budget_usd is not None:
        try:
            budget = picousd(args.budget_usd)
        except ValueError as error:
            raise InvalidRequest(str(error)) from error
    if not said and budget is None:
        raise InvalidRequest("say what is to be tried: --limit or --budget-usd")
    requests, input_tokens, output_tokens = (int(said[name]) if name in said else None for name in RATES)
    return Rule(args.scope, (requests, input_tokens, output_tokens), budget)


def _table(outcome: Outcome, keys: dict[int, str]) -> list[dict[str, object]]:
    rows = [
        _row(keys.get(key, str(key)), outcome.requests[key], blocked, outcome.blocked_picousd[key])
        for key, blocked in outcome.blocked.most_common()
    ]
    return [*rows, _row("all", outcome.requests.total(), outcome.blocked.total(), outcome.blocked_picousd.total())]


def _row(key: str, requests: int, blocked: int, blocked_picousd: int) -> dict[str, object]:
    share = Decimal(blocked) / requests if requests else Decimal(0)
    return {
        "key": key, "requests": requests, "blocked": blocked, "blocked_share": f"{share:.6f}", "blocked_picousd": blocked_picousd,
    }  # fmt: skip


def _last_month() -> date:
    return (datetime.now(UTC).date().replace(day=1) - timedelta(days=1)).replace(day=1)


if __name__ == "__main__":
    sys.exit(programs.run(main))
