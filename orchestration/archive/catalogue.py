"""The archive's tables, as its flows use them. The caller owns connection and transaction."""

import io
from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

import psycopg
import pyarrow as pa
import pyarrow.csv as pa_csv
from psycopg import sql
from psycopg.rows import class_row

from orchestration.archive import layout
from warehouse.access.queries import load_queries

QUERIES = load_queries(__file__)
_CSV_BLOCK_BYTES = 16 << 20
EARLIEST, LATEST = date(1970, 1, 1), date(9999, 12, 30)


@dataclass(frozen=True, slots=True)
class ArchivedDay:
    """The file in force of a day. With `dropped_at`, its rows are only in the file."""

    day: date
    version: int
    path: str
    usage_rows: int
    size_bytes: int
    sha256: bytes
    row_set_digest: bytes
    verified_at: datetime
    dropped_at: datetime | None


def bounds(day: date) -> tuple[datetime, datetime]:
    """The instants between which a UTC day lies."""
    starts_at = datetime.combine(day, time(), UTC)
    return starts_at, starts_at + timedelta(days=1)


def raw_days(conn: psycopg.Connection) -> list[date]:
    """Days of which raw.usage_events has a chunk."""
    return [row[0] for row in conn.execute(QUERIES["raw_days"])]


def archived_days(conn: psycopg.Connection, first: date = EARLIEST, last: date = LATEST) -> dict[date, ArchivedDay]:
    """The files in force, by day."""
    with conn.cursor(row_factory=class_row(ArchivedDay)) as cur:
        return {file.day: file for file in cur.execute(QUERIES["files_in_force"], {"first": first, "last": last})}


def day_digest(conn: psycopg.Connection, day: date) -> tuple[int, bytes]:
    """(rows, digest) of what raw.usage_events has of a day, computed by the database."""
    row = conn.execute(QUERIES["day_digest"], {"day": day}).fetchone()
    assert row is not None
    return row[0], row[1]


def rows_between(conn: psycopg.Connection, starts_at: datetime, ends_at: datetime) -> Generator[pa.RecordBatch, None, None]:
    """Raw rows in their order, streamed. Who may stop half-way closes the iterator: the connection is busy until then."""
    query = sql.SQL(QUERIES["copy_day"].decode()).format(
        columns=_columns("event"), starts_at=sql.Literal(starts_at), ends_at=sql.Literal(ends_at)
    )
    with conn.cursor() as cur, cur.copy(query) as copy:
        reader = _BlockReader(iter(copy))
        if not reader.peek():
            return
        reading = pa_csv.open_csv(
            pa.PythonFile(reader, mode="r"),
            read_options=pa_csv.ReadOptions(column_names=list(layout.NAMES), block_size=_CSV_BLOCK_BYTES, use_threads=False),
            parse_options=pa_csv.ParseOptions(newlines_in_values=True),
            convert_options=pa_csv.ConvertOptions(
                column_types=layout.CSV_TYPES, true_values=["t"], false_values=["f"], null_values=[""],
                strings_can_be_null=True, quoted_strings_can_be_null=False,
            ),
        )  # fmt: skip
        with reading as batches:
            for batch in batches:
                yield layout.from_csv(batch)


def put_incoming(conn: psycopg.Connection, batches: Iterable[pa.RecordBatch]) -> None:
    """Rows of a file into archive.incoming_rows, and nothing else there."""
    conn.execute(QUERIES["clear_incoming"])
    query = sql.SQL(QUERIES["copy_incoming"].decode()).format(columns=_columns())
    with conn.cursor() as cur, cur.copy(query) as copy:
        for batch in batches:
            copy.write(csv_of(batch))


def csv_of(batch: pa.RecordBatch, without: Sequence[str] = ()) -> bytes:
    """A batch as COPY reads it: null is nothing, an empty text is quoted."""
    buffer = io.BytesIO()
    texts = layout.to_csv(batch)
    pa_csv.write_csv(
        texts.select([name for name in layout.NAMES if name not in without]), buffer, pa_csv.WriteOptions(include_header=False)
    )
    return buffer.getvalue()


def _columns(table: str | None = None) -> sql.Composable:
    return sql.SQL(", ").join(sql.Identifier(table, name) if table else sql.Identifier(name) for name in layout.NAMES)


class _BlockReader(io.RawIOBase):
    """What COPY sends, as a file that Arrow reads."""

    def __init__(self, blocks: Iterator[memoryview | bytes]) -> None:
        self._blocks = blocks
        self._held = b""

    def peek(self) -> bytes:
        """What comes next, left where it is; nothing at the end."""
        while not self._held:
            block = next(self._blocks, None)
            if block is None:
                break
            self._held = bytes(block)
        return self._held

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        parts, wanted = [], size if size >= 0 else 1 << 62
        while wanted > 0 and self.peek():
            part, self._held = self._held[:wanted], self._held[wanted:]
            parts.append(part)
            wanted -= len(part)
        return b"".join(parts)
