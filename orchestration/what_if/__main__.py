"""`inferhouse what-if`: what a month would have cost under other prices, of another model, or without caching."""

import dataclasses
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from orchestration import programs
from orchestration.archive import month as months
from orchestration.archive.days import connected
from orchestration.jobs.what_if import Question, cost, read_book
from warehouse.base.errors import InvalidRequest


def main(argv: Sequence[str]) -> int:
    """A row per organization, and one of all."""
    parser = programs.parser("what-if", "What a month would have cost, next to what it cost.")
    parser.add_argument("--month", type=programs.month, required=True, help="as 2026-03")
    parser.add_argument("--prices", type=Path, metavar="FILE", help="another price list, in TOML")
    parser.add_argument("--model", help="as if every request had asked for this model")
    parser.add_argument("--no-cache", action="store_true", help="as if no token had been cached")
    args = parser.parse_args(argv)
    if not (args.prices or args.model or args.no_cache):
        raise InvalidRequest("say what is to be different: --prices, --model or --no-cache")
    with connected(programs.database(args)) as conn, tempfile.TemporaryDirectory(prefix="inferhouse-what-if-") as folder:
        organizations = months.organizations(conn, args.month)
        names = dict(organizations.select("organization", "org_id").iter_rows())
        models = months.models(conn)
        if args.model is not None and args.model not in models:
            raise InvalidRequest(f"there is no model {args.model}")
        try:
            book = read_book(args.prices.read_text(), models, names) if args.prices else months.book(conn)
        except (OSError, ValueError) as error:
            raise InvalidRequest(f"{args.prices}: {error}") from error
        asked = Question(book, not (args.prices or args.model), models.get(args.model), args.no_cache)
        paths = months.paths_between(conn, programs.archive_if_any(args), *months.reach(args.month), folder)
        costs = cost(paths, organizations, asked) if paths else []
    by_id = {number: name for name, number in names.items()}
    rows = [{"organization": by_id[one.org_id], **dataclasses.asdict(one)} for one in costs]
    fields = ("usage_rows", "rows_unpriced", "actual_picousd", "what_if_picousd")
    rows.append({"organization": "all", "org_id": None, **{name: sum(row[name] for row in rows) for name in fields}})
    for row in rows:
        row["difference_picousd"] = row["what_if_picousd"] - row["actual_picousd"]
        del row["org_id"]
    programs.show(rows, as_json=args.json)
    if rows[-1]["rows_unpriced"]:
        programs.note(f"{rows[-1]['rows_unpriced']} rows have no price in this list, and are not in its sums.")
    return programs.DONE


if __name__ == "__main__":
    sys.exit(programs.run(main))
