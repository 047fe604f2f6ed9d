"""`inferhouse archive`: days to Parquet, checked, dropped from the database, brought back."""

import argparse
import dataclasses
import json
import sys
from collections.abc import Sequence
from datetime import date, timedelta
from pathlib import Path

import psycopg

from orchestration import programs
from orchestration.archive import catalogue, chain, days
from orchestration.archive.catalogue import ArchivedDay
from orchestration.jobs.daily_chain import document
from warehouse.base.errors import InvalidRequest

_DAYS_MAX = 3660


def main(argv: Sequence[str]) -> int:
    """One command on one day or some."""
    args = _parser().parse_args(argv)
    code: int = args.run(args)
    return code


def _parser() -> argparse.ArgumentParser:
    made = argparse.ArgumentParser(prog="inferhouse archive", description="History as Parquet.")
    commands = made.add_subparsers(required=True, metavar="COMMAND")
    for name, about, function in (
        ("write", "write days to the archive, and read them back", _write),
        ("verify", "read the files of days back", _verify),
        ("drop", "take archived days out of the database", _drop),
        ("restore", "bring dropped days back", _restore),
    ):
        command = commands.add_parser(name, help=about, description=about)
        command.add_argument("first", type=programs.day, metavar="DAY", help="a UTC day, as 2026-03-01")
        command.add_argument("last", type=programs.day, metavar="LAST", nargs="?", help="the last of several days")
        programs.add_addresses(command)
        command.set_defaults(run=function)
        if name == "drop":
            command.add_argument("--yes", "-y", action="store_true", help="do not ask")
    listing = commands.add_parser("list", help="which days are in the archive")
    programs.add_addresses(listing)
    listing.set_defaults(run=_list)
    publish = commands.add_parser("digests", help="the chain of daily digests as a document to publish")
    publish.add_argument("--to", type=Path, help="write it to this file")
    programs.add_addresses(publish)
    publish.set_defaults(run=_publish)
    return made


def _days(args: argparse.Namespace) -> list[date]:
    last = args.last or args.first
    count = (last - args.first).days + 1
    if not 0 < count <= _DAYS_MAX:
        raise InvalidRequest(f"from {args.first} to {last} are {count} days; at least 1 and at most {_DAYS_MAX} can be named")
    return [args.first + timedelta(days=number) for number in range(count)]


def _write(args: argparse.Namespace) -> int:
    with days.connected(programs.database(args)) as conn:
        present = set(catalogue.raw_days(conn))
        wanted = [day for day in _days(args) if day in present or args.last is None]
        programs.show([_row(days.archive_day(conn, programs.archive(args), day)) for day in wanted], as_json=args.json)
    return programs.DONE


def _verify(args: argparse.Namespace) -> int:
    with days.connected(programs.database(args)) as conn:
        known = catalogue.archived_days(conn, args.first, args.last or args.first)
        wanted = [day for day in _days(args) if day in known or args.last is None]
        programs.show([_row(days.verify_day(conn, programs.archive(args), day)) for day in wanted], as_json=args.json)
    return programs.DONE


def _drop(args: argparse.Namespace) -> int:
    with days.connected(programs.database(args)) as conn:
        chosen = _with_file(conn, args, dropped=False)
        programs.note(f"{len(chosen)} days will be in the archive only; `inferhouse archive restore` brings them back.")
        if not args.yes and not _sure():
            return programs.FAILED
        programs.show([_row(days.drop_day(conn, programs.archive(args), day)) for day in chosen], as_json=args.json)
    return programs.DONE


def _sure() -> bool:
    """Raises: InvalidRequest: nobody can be asked."""
    if not sys.stdin.isatty():
        raise InvalidRequest("nobody can be asked here: --yes says yes")
    programs.note("Go on? [y/N]")  # results alone go to stdout, where `input` would ask
    return sys.stdin.readline().strip().lower() in {"y", "yes"}


def _restore(args: argparse.Namespace) -> int:
    with days.connected(programs.database(args)) as conn:
        files = programs.archive(args)
        chosen = _with_file(conn, args, dropped=True)
        rows = [{"day": day, "usage_rows": days.restore_day(conn, files, day)} for day in chosen]
    programs.show(rows, as_json=args.json)
    return programs.DONE


def _with_file(conn: psycopg.Connection, args: argparse.Namespace, *, dropped: bool) -> list[date]:
    """The days named; of a range, those that are, or are not, dropped."""
    if args.last is None:
        return [args.first]
    known = catalogue.archived_days(conn, args.first, args.last)
    return [day for day, file in known.items() if (file.dropped_at is not None) == dropped]


def _list(args: argparse.Namespace) -> int:
    with days.connected(programs.database(args)) as conn:
        programs.show([_row(file) for file in catalogue.archived_days(conn).values()], as_json=args.json)
    return programs.DONE


def _publish(args: argparse.Namespace) -> int:
    with days.connected(programs.database(args)) as conn:
        text = json.dumps(document(chain.entries(conn)), indent=1)
    if args.to is None:
        print(text)
    else:
        args.to.write_text(text + "\n")
    return programs.DONE


def _row(file: ArchivedDay) -> dict[str, object]:
    fields = dataclasses.asdict(file)
    return {**fields, "bytes_per_row": round(file.size_bytes / file.usage_rows, 2)}


if __name__ == "__main__":
    sys.exit(programs.run(main))
