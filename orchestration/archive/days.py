"""What is done with a day: write it to the archive, verify it, drop it from the database, bring it back."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, date, datetime, timedelta

import psycopg

from orchestration.archive import catalogue
from orchestration.archive.catalogue import QUERIES, ArchivedDay
from orchestration.archive.files import ArchiveDamaged, ArchiveFiles, Written
from warehouse.base.errors import InferhouseError

CONNECT_S_MAX = 5
DAYS_AT_ONCE_MAX = 31  # runs that one tick asks for; the next tick asks for the rest
REFUSED = "IH001"


class DayRefused(InferhouseError):
    """The day cannot be archived, dropped or restored as it is; the message says why. Nothing was changed."""

    code = "archive_day_refused"


@contextmanager
def connected(database_url: str) -> Iterator[psycopg.Connection]:
    """A connection in UTC whose transactions are the caller's."""
    with psycopg.connect(database_url, connect_timeout=CONNECT_S_MAX, autocommit=True, options="-c timezone=UTC") as conn:
        yield conn


def archive_day(conn: psycopg.Connection, files: ArchiveFiles, day: date) -> ArchivedDay:
    """Bring the archive up to date with a day: a new version of its file unless the one in force has the same rows.

    The file is verified before it takes the last one's place, against what the database itself computed of the same snapshot.

    Raises: DayRefused: the day is not over, has no rows, or its rows were dropped.
        ArchiveDamaged: what was read back is not what was written.
    """
    if catalogue.bounds(day)[1] > datetime.now(UTC):
        raise DayRefused(f"{day} is not over")
    with _one_writer(conn, day), conn.transaction():
        conn.execute("set transaction isolation level repeatable read")
        current = catalogue.archived_days(conn, day, day).get(day)
        if current is not None and current.dropped_at is not None:
            raise DayRefused(f"the rows of {day} are only in the archive: restore it first")
        usage_rows, digest = catalogue.day_digest(conn, day)
        if not usage_rows:
            raise DayRefused(f"{day} has no rows")
        if current is not None and current.row_set_digest == digest and _is_whole(files, current):
            conn.execute(QUERIES["mark_verified"], {"day": day, "version": current.version})
            return catalogue.archived_days(conn, day, day)[day]
        version = _next_version(conn, day)
        with closing(catalogue.rows_between(conn, *catalogue.bounds(day))) as batches:
            written = files.write(files.path_of(day, version), batches)
        expected = Written(written.path, usage_rows, written.size_bytes, written.sha256, digest)
        _compare(files.read_back(written.path), expected)
        conn.execute(
            QUERIES["add_file"],
            {
                "day": day, "version": version, "path": written.path, "usage_rows": usage_rows, "size_bytes": written.size_bytes,
                "sha256": written.sha256, "row_set_digest": digest,
            },
        )  # fmt: skip
        conn.execute(QUERIES["mark_verified"], {"day": day, "version": version})
        superseded = [row[0] for row in conn.execute(QUERIES["mark_superseded"], {"day": day, "version": version})]
    for path in superseded:
        files.remove(path)
    with conn.transaction():
        return catalogue.archived_days(conn, day, day)[day]


def verify_day(conn: psycopg.Connection, files: ArchiveFiles, day: date) -> ArchivedDay:
    """Read the file of a day back, whole, and note that it is what the catalogue says.

    Raises: DayRefused: the day has no file.  ArchiveDamaged: the file is missing or another one.
    """
    file = _file_of(conn, day)
    _compare(files.read_back(file.path), Written(file.path, file.usage_rows, file.size_bytes, file.sha256, file.row_set_digest))
    with conn.transaction():
        conn.execute(QUERIES["mark_verified"], {"day": day, "version": file.version})
    return file


def drop_day(conn: psycopg.Connection, files: ArchiveFiles, day: date) -> ArchivedDay:
    """Take the rows of a day out of the database, after its file was read back once more.

    Raises: DayRefused: rows are not in the file, or the marts or the chain do not have them, or the day is too young.
        ArchiveDamaged: the file is missing or another one.
    """
    file = verify_day(conn, files, day)
    with _refusals(), conn.transaction():
        conn.execute(QUERIES["drop_day"], {"day": day, "version": file.version})
    return file


def restore_day(conn: psycopg.Connection, files: ArchiveFiles, day: date) -> int:
    """Bring a dropped day's rows back, beside those that have come since; how many came from the file.

    The marts then compute the day again from whole rows, so that nothing is counted twice and nothing is lost.

    Raises: DayRefused: it was not dropped.  ArchiveDamaged: the file is missing or another one.
    """
    file = _file_of(conn, day)
    if file.dropped_at is None:
        raise DayRefused(f"{day} was not dropped: its rows are in the database")
    verify_day(conn, files, day)
    with _refusals(), conn.transaction():
        catalogue.put_incoming(conn, files.batches(file.path))
        row = conn.execute(QUERIES["restore_day"], {"day": day}).fetchone()
    assert row is not None
    return int(row[0])


def restore_late_days(conn: psycopg.Connection, files: ArchiveFiles) -> list[date]:
    """Restore every dropped day for which a row has come; those days."""
    with conn.transaction():
        days = [row[0] for row in conn.execute(QUERIES["days_with_late_rows"])]
    for day in days:
        restore_day(conn, files, day)
    return days


def days_ago(count: int) -> date:
    """The UTC day so many days before today."""
    return datetime.now(UTC).date() - timedelta(days=count)


def days_of_the_last(conn: psycopg.Connection, age: timedelta) -> list[date]:
    """Days with a file, of this age at most."""
    with conn.transaction():
        return list(catalogue.archived_days(conn, first=days_ago(age.days)))


def days_to_archive(conn: psycopg.Connection) -> list[date]:
    """Days of the chain, oldest first, that have no file of just these rows; at most DAYS_AT_ONCE_MAX."""
    with conn.transaction():
        return [row[0] for row in conn.execute(QUERIES["days_to_archive"], {"limit": DAYS_AT_ONCE_MAX})]


def days_to_drop(conn: psycopg.Connection, days_kept: int) -> list[date]:
    """Days with a file whose rows are in the database and older than `days_kept` whole days."""
    last = days_ago(days_kept)
    with conn.transaction():
        present = set(catalogue.raw_days(conn))
        files = catalogue.archived_days(conn, last=last)
    return sorted(day for day, file in files.items() if file.dropped_at is None and day in present)


@contextmanager
def _one_writer(conn: psycopg.Connection, day: date) -> Iterator[None]:
    """One process at a time writes a day; other days go on beside it. Taken before the snapshot that the day is read in."""
    conn.execute(QUERIES["lock_day"], {"day": day})
    try:
        yield
    finally:
        conn.execute(QUERIES["unlock_day"], {"day": day})


def _file_of(conn: psycopg.Connection, day: date) -> ArchivedDay:
    with conn.transaction():
        file = catalogue.archived_days(conn, day, day).get(day)
    if file is None:
        raise DayRefused(f"{day} is not in the archive")
    return file


def _is_whole(files: ArchiveFiles, file: ArchivedDay) -> bool:
    """Whether the file is there as it was written; one that is not is written again, while the rows are here."""
    try:
        return files.read_back(file.path).sha256 == file.sha256
    except ArchiveDamaged:
        return False


def _next_version(conn: psycopg.Connection, day: date) -> int:
    row = conn.execute(QUERIES["next_version"], {"day": day}).fetchone()
    assert row is not None
    return int(row[0])


def _compare(found: Written, expected: Written) -> None:
    for field, what in (("sha256", "bytes"), ("usage_rows", "number of rows"), ("row_set_digest", "rows")):
        if getattr(found, field) != getattr(expected, field):
            raise ArchiveDamaged(f"{expected.path}: its {what} are not those that the catalogue and the database say")


@contextmanager
def _refusals() -> Iterator[None]:
    """What the database's own functions refuse, and a chunk that somebody else holds for longer than they wait."""
    try:
        yield
    except psycopg.errors.LockNotAvailable as error:
        raise DayRefused("its rows are being read or written: try again later") from error
    except psycopg.Error as error:
        if error.sqlstate != REFUSED:
            raise
        raise DayRefused(str(error.diag.message_primary)) from error
