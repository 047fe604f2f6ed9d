"""What the programs that work on the warehouse itself have in common: addresses, tables on stdout, errors on stderr."""

import argparse
import json
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

import psycopg

from warehouse.access.addresses import DATABASE_WORDS, is_database_url
from warehouse.base.errors import InferhouseError, InvalidRequest

if TYPE_CHECKING:
    from orchestration.archive.files import ArchiveFiles

DONE, FAILED, USAGE, UNREACHABLE, DIFFERENT, FOUND = 0, 1, 2, 6, 7, 8
"""Exit codes, as those of the command."""
DATABASE, ARCHIVE, ARCHIVE_OPTIONS = "WAREHOUSE_DATABASE_URL", "ORCHESTRATION_ARCHIVE_URL", "ORCHESTRATION_ARCHIVE_OPTIONS"


def parser(name: str, about: str) -> argparse.ArgumentParser:
    """A parser with the options of those that read raw rows: they may be in the archive."""
    made = argparse.ArgumentParser(prog=f"inferhouse {name}", description=about)
    add_addresses(made)
    return made


def add_addresses(made: argparse.ArgumentParser) -> None:
    """Where the warehouse and its archive are, and how results are printed."""
    add_database(made)
    made.add_argument("--archive-url", default=os.environ.get(ARCHIVE), help=f"folder or bucket. Variable: {ARCHIVE}")
    made.add_argument("--json", action="store_true", help="print JSON")


def add_database(made: argparse.ArgumentParser) -> None:
    """Where the warehouse is."""
    made.add_argument("--database-url", default=os.environ.get(DATABASE), help=f"of the database's owner. Variable: {DATABASE}")


def database(args: argparse.Namespace) -> str:
    """The warehouse's connection string. Raises: InvalidRequest: there is none, or it can be none."""
    if not args.database_url:
        raise InvalidRequest(f"say which warehouse: --database-url, or {DATABASE}")
    if not is_database_url(args.database_url):
        raise InvalidRequest(f"this is no address of a warehouse: {DATABASE_WORDS}")
    return str(args.database_url)


def archive(args: argparse.Namespace) -> "ArchiveFiles":
    """The archive. Raises: InvalidRequest: nobody said where it is."""
    found = archive_if_any(args)
    if found is None:
        raise InvalidRequest(f"say where the archive is: --archive-url, or {ARCHIVE}")
    return found


def archive_if_any(args: argparse.Namespace) -> "ArchiveFiles | None":
    """The archive, where somebody said where it is."""
    from orchestration.archive.files import ArchiveFiles  # noqa: PLC0415 - Polars and Arrow, which `demo history` does not need

    return ArchiveFiles(args.archive_url, os.environ.get(ARCHIVE_OPTIONS) or "{}") if args.archive_url else None


def day(text: str) -> date:
    """`2026-03-01`."""
    return date.fromisoformat(text)


def month(text: str) -> date:
    """`2026-03`, as its first day."""
    return datetime.strptime(text, "%Y-%m").replace(tzinfo=UTC).date()


def run(main: Callable[[Sequence[str]], int], argv: Sequence[str] | None = None) -> int:
    """A program's exit code; what stops it is a line on stderr."""
    try:
        return main(sys.argv[1:] if argv is None else argv)
    except InvalidRequest as error:
        note(str(error))
        return USAGE
    except InferhouseError as error:
        note(f"{error.code}: {error}")
        return FAILED
    except psycopg.Error as error:
        if isinstance(error, psycopg.OperationalError) and error.sqlstate is None:
            note(f"the warehouse does not answer: {error}")
            return UNREACHABLE
        note(f"the database says: {error}")  # a schema that is not there, a role that may not, a lock that somebody holds
        return FAILED


def note(text: str) -> None:
    """For people, beside the results."""
    print(text, file=sys.stderr)  # noqa: T201


def show(rows: Sequence[Mapping[str, Any]], *, as_json: bool) -> None:
    """Results: JSON, or a table with a column for each name."""
    if as_json:
        print(json.dumps(list(rows), default=_plain, ensure_ascii=False))  # noqa: T201
        return
    if not rows:
        return
    texts = [[*rows[0]], *(["" if value is None else _plain(value) for value in row.values()] for row in rows)]
    widths = [max(len(line[column]) for line in texts) for column in range(len(texts[0]))]
    for line in texts:
        print("  ".join(text.ljust(width) for text, width in zip(line, widths, strict=True)).rstrip())  # noqa: T201


def _plain(value: object) -> str:
    if isinstance(value, bytes):
        return value.hex()
    return value.isoformat() if isinstance(value, date) else str(value)
