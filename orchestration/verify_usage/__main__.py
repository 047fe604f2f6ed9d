"""`inferhouse verify-usage`: are the raw rows those whose digests were chained, and published?"""

import dataclasses
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from orchestration import programs
from orchestration.archive import chain
from orchestration.archive.catalogue import EARLIEST, LATEST
from orchestration.archive.days import connected
from orchestration.jobs.daily_chain import Entry, read_document
from warehouse.base.errors import InvalidRequest


def main(argv: Sequence[str]) -> int:
    """Exit code 8 where a day differs."""
    parser = programs.parser("verify-usage", "Compute each day's digest again, from the database or the archive.")
    parser.add_argument("--from", dest="first", type=programs.day, default=EARLIEST, metavar="DAY")
    parser.add_argument("--to", dest="last", type=programs.day, default=LATEST, metavar="DAY")
    parser.add_argument("--against", type=Path, metavar="FILE", help="what `inferhouse archive digests` wrote earlier")
    args = parser.parse_args(argv)
    published = _published(args.against) if args.against else []
    with connected(programs.database(args)) as conn:
        found = chain.verify(conn, programs.archive_if_any(args), args.first, args.last, published)
    programs.show([dataclasses.asdict(finding) for finding in found.findings], as_json=args.json)
    looked = f"{found.entries} entries, {found.days_from_raw} days from the database, {found.days_from_archive} from the archive"
    programs.note(f"{looked}: {f'{len(found.findings)} findings' if found.findings else 'each as it was chained'}.")
    return programs.FOUND if found.findings else programs.DONE


def _published(path: Path) -> list[Entry]:
    try:
        return read_document(json.loads(path.read_text()))
    except (OSError, ValueError) as error:
        raise InvalidRequest(f"{path}: {error}") from error


if __name__ == "__main__":
    sys.exit(programs.run(main))
