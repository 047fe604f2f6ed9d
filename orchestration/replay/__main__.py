"""`inferhouse replay MONTH --into URL`: exit code 7 where a digest differs."""

import dataclasses
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from datetime import date
from pathlib import Path

from psycopg.conninfo import conninfo_to_dict

from orchestration import programs
from orchestration.archive.days import connected
from orchestration.jobs.mart_digests import Comparison, compare
from orchestration.replay import comparing, copying
from orchestration.settings import DBT_PROJECT
from warehouse.base.errors import InferhouseError
from warehouse.migrations.runner import migrate

_DBT = Path(sys.executable).with_name("dbt")


class BuildFailed(InferhouseError):
    """dbt could not build the marts in the new database; the message has what it said."""

    code = "replay_build_failed"


def main(argv: Sequence[str]) -> int:
    """Migrate, copy, build, compare."""
    parser = programs.parser("replay", "Compute a month again in an empty database, and compare.")
    parser.add_argument("month", type=programs.month, help="as 2026-03")
    parser.add_argument("--into", required=True, metavar="URL", help="an empty database, as its owner")
    parser.add_argument("--from", dest="place", choices=("raw", "archive", "either"), default="either",
                        help="where raw rows are read; either: what was dropped from the archive")  # fmt: skip
    parser.add_argument("--report", type=Path, metavar="FILE", help="write the comparison there as JSON")
    args = parser.parse_args(argv)
    with connected(programs.database(args)) as source, connected(args.into) as target:
        copying.check_empty(target)
        programs.note("migrating")
        migrate(args.into)
        programs.note("copying")
        tables = copying.copy_control(source, target)
        counts = copying.copy_rows(source, target, args.month, programs.archive_if_any(args), args.place)
        programs.note(f"{tables} tables; days of rows: {counts['raw']} from raw, {counts['archive']} from the archive; building")
        build(args.into)
        programs.note("comparing")
        frozen, drafted = comparing.invoice_lines(source, args.month, "final"), comparing.draft(target, args.month)
        of_frozen, of_drafted = comparing.invoice_digests(frozen, drafted)
        compared = compare(
            comparing.mart_digests(source, args.month) | of_frozen, comparing.mart_digests(target, args.month) | of_drafted
        )
    return _report(args.month, compared, counts, args.report, as_json=args.json)


def build(url: str) -> None:
    """`dbt build` as the role that owns the marts, in a database that we own.

    Raises: BuildFailed.
    """
    parts = conninfo_to_dict(url)
    connection = {
        "DBT_HOST": parts.get("host", "127.0.0.1"), "DBT_PORT": parts.get("port", 5432), "DBT_USER": parts.get("user", ""),
        "DBT_PASSWORD": parts.get("password", ""), "DBT_DATABASE": parts.get("dbname", ""),
        "DBT_EXCLUDE_RESOURCE_TYPES": "unit_test", "PGOPTIONS": "-c role=inferhouse_transform",
    }  # fmt: skip
    with tempfile.TemporaryDirectory(prefix="inferhouse-replay-") as folder:
        places = ["--project-dir", str(DBT_PROJECT), "--profiles-dir", str(DBT_PROJECT), "--target-path", folder]
        done = subprocess.run(
            [str(_DBT), "--quiet", "build", *places, "--log-path", folder, "--exclude", "test_type:data"],
            env={**os.environ, **{name: str(value) for name, value in connection.items()}},
            capture_output=True, text=True, check=False,
        )  # fmt: skip
    if done.returncode:
        raise BuildFailed(f"dbt cannot build the marts:\n{done.stdout[-4000:]}{done.stderr[-1000:]}")


def _report(month: date, compared: list[Comparison], counts: dict[str, int], path: Path | None, *, as_json: bool) -> int:
    rows = [
        {
            "table": one.table, "rows": one.source.rows if one.source else None, "same": "yes" if one.same else "NO",
            "source": one.source.digest if one.source else None, "replayed": one.replayed.digest if one.replayed else None,
        }
        for one in compared
    ]  # fmt: skip
    programs.show(rows if as_json else [{**row, "source": str(row["source"])[:16], "replayed": str(row["replayed"])[:16]}
                                        for row in rows], as_json=as_json)  # fmt: skip
    different = [one.table for one in compared if not one.same]
    if path is not None:
        report = {"month": month.isoformat()[:7], "same": not different, "days_read": counts,
                  "tables": [dataclasses.asdict(one) | {"same": one.same} for one in compared]}  # fmt: skip
        path.write_text(json.dumps(report, indent=1) + "\n")
    programs.note(f"Different: {', '.join(different)}." if different else "Each digest is the same.")
    return programs.DIFFERENT if different else programs.DONE


if __name__ == "__main__":
    sys.exit(programs.run(main))
