"""Files of the archive on anything that fsspec reaches: written through a local file, then read back from where they lie."""

import hashlib
import json
import os
import tempfile
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from typing import Any

import fsspec
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from orchestration.archive import layout
from orchestration.jobs.row_digests import RowSet
from warehouse.base.errors import InferhouseError

ROOT = "usage_events"
BATCH_ROWS = 65_536
# Rows of a row group: 128 k rows are 5 MB of file and about 60 MB while they are read. Fewer compress worse.
GROUP_ROWS = 131_072
_BLOCK_BYTES = 1 << 20
_ZSTD_LEVEL = 19  # 2 % less than 9; rows take longer to come than to be packed


class ArchiveDamaged(InferhouseError):
    """A file of the archive is missing, or is not what the catalogue says that it is. Nothing was changed."""

    code = "archive_damaged"


@dataclass(frozen=True, slots=True)
class Written:
    """What a file is: digests in bytes."""

    path: str
    usage_rows: int
    size_bytes: int
    sha256: bytes
    row_set_digest: bytes


class ArchiveFiles:
    """The folder or bucket. `url` as `/srv/archive`, `file:///srv/archive`, `s3://bucket/archive`, `memory://archive`.

    Credentials of a bucket come from where fsspec's driver looks for them; `options` is JSON for that driver.
    """

    def __init__(self, url: str, options: str = "{}") -> None:
        self.url = url
        self._fs, self._base = fsspec.core.url_to_fs(url, **json.loads(options))

    def path_of(self, day: date, version: int) -> str:
        """Hive's way, which DuckDB, Polars and Spark read as a partition."""
        return f"{ROOT}/day={day.isoformat()}/part-{version}.parquet"

    def write(self, path: str, batches: Iterable[pa.RecordBatch]) -> Written:
        """A new file of rows in order. It is whole or not there: it is made here first, and put in place at once."""
        rows = RowSet()
        with tempfile.TemporaryDirectory(prefix="inferhouse-archive-") as folder:
            local = os.path.join(folder, "part.parquet")
            with pq.ParquetWriter(
                local, layout.FILE_SCHEMA, compression="zstd", compression_level=_ZSTD_LEVEL,
                use_dictionary=layout.DICTIONARIES, column_encoding=layout.ENCODINGS, store_schema=False,
                version="2.6", write_statistics=layout.BOUNDED,
            ) as writer:  # fmt: skip
                for group in _grouped(batches):
                    rows.add(_frame(group))
                    writer.write_table(layout.to_file(group), row_group_size=GROUP_ROWS)
            sha256, size = _sha256(open(local, "rb"))  # noqa: SIM115 - closed in there
            self._fs.makedirs(self._full(os.path.dirname(path)), exist_ok=True)
            # A copy and a move: a reader of a folder never sees half a file. A bucket shows an object when it is whole.
            self._fs.put_file(local, self._full(path) + ".incoming")
            self._fs.mv(self._full(path) + ".incoming", self._full(path))
        return Written(path, rows.usage_rows, size, sha256, rows.digest())

    def read_back(self, path: str) -> Written:
        """What the file is now, every byte and every row of it read.

        Raises: ArchiveDamaged: it is missing, or no such Parquet.
        """
        rows = RowSet()
        try:
            sha256, size = _sha256(self._fs.open(self._full(path), "rb"))
            for batch in self.batches(path):
                rows.add(_frame(batch))
        except FileNotFoundError as error:
            raise ArchiveDamaged(f"{path} is missing from the archive") from error
        except (pa.ArrowException, pl.exceptions.PolarsError, KeyError, ValueError, OSError) as error:
            raise ArchiveDamaged(f"{path} cannot be read: {error}") from error
        return Written(path, rows.usage_rows, size, sha256, rows.digest())

    def batches(self, path: str) -> Generator[pa.RecordBatch, None, None]:
        """Its rows, in order, BATCH_ROWS at a time. Memory is that of a group of rows."""
        with self._fs.open(self._full(path), "rb") as stream:
            file = pq.ParquetFile(stream, buffer_size=_BLOCK_BYTES)
            for number in range(file.num_row_groups):
                yield from layout.from_file(file.read_row_group(number)).to_batches(BATCH_ROWS)

    def fetch(self, path: str, folder: str) -> str:
        """A local file with its bytes, for readers that take a name: the file itself where it is local."""
        if isinstance(self._fs, fsspec.implementations.local.LocalFileSystem):
            return self._full(path)
        local = os.path.join(folder, path.replace("/", "_"))
        self._fs.get_file(self._full(path), local)
        return local

    def remove(self, path: str) -> None:
        """Take a file away, if it is there."""
        if self._fs.exists(self._full(path)):
            self._fs.rm_file(self._full(path))

    def _full(self, path: str) -> str:
        return f"{self._base}/{path}"


def _frame(data: pa.Table | pa.RecordBatch) -> pl.DataFrame:
    """For Polars: a uuid as its bytes."""
    plain = pa.schema([pa.field(column.name, column.type) for column in layout.COLUMNS])
    arrays = [layout.storage(data.column(column.name)) for column in layout.COLUMNS]
    return pl.DataFrame(pa.Table.from_arrays(arrays, schema=plain))


def _grouped(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.Table]:
    """Tables of GROUP_ROWS rows, the last one of what is left."""
    held: list[pa.RecordBatch] = []
    count = 0
    for batch in batches:
        rest = batch
        while count + rest.num_rows >= GROUP_ROWS:
            taken = GROUP_ROWS - count
            yield pa.Table.from_batches([*held, rest.slice(0, taken)], layout.SCHEMA)
            rest, held, count = rest.slice(taken), [], 0
        if rest.num_rows:
            held.append(rest)
            count += rest.num_rows
    if held:
        yield pa.Table.from_batches(held, layout.SCHEMA)


def _sha256(stream: Any) -> tuple[bytes, int]:
    """(digest, number of bytes) of an open file, which is closed."""
    digest, size = hashlib.sha256(), 0
    with stream:
        while block := stream.read(_BLOCK_BYTES):
            digest.update(block)
            size += len(block)
    return digest.digest(), size
