"""The columns of an archived row: how they travel through CSV, and how they lie in Parquet.

A file leaves out what a row says twice: `finished_at` where it is `duration_us` after `started_at`, and the first 48 bits of a
`request_id`, a UUIDv7, where they are the millisecond of `started_at`. Within a group, rows of a price and key lie together.
Source: RFC 9562, section 5.7.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

INSTANT = pa.timestamp("us", tz="UTC")
_SPLIT = "BYTE_STREAM_SPLIT"  # numbers that differ from row to row: their high bytes are alike and cost nothing
_DELTA = "DELTA_BINARY_PACKED"  # near to the one before
_PLAIN = "PLAIN"  # DuckDB 2.0 cannot read identifiers split, Polars 2.1 not as deltas
_DICTIONARY = None


@dataclass(frozen=True, slots=True)
class Column:
    """A column of raw.usage_events, its type in Parquet, whether it may be null, and its encoding; none: a dictionary."""

    name: str
    type: pa.DataType
    nullable: bool = False
    encoding: str | None = _DICTIONARY


COLUMNS = (
    Column("request_id", pa.binary(16), encoding=_PLAIN),
    Column("attempt", pa.int16()),
    Column("started_at", INSTANT, encoding=_SPLIT),
    Column("finished_at", INSTANT, encoding=_DELTA),
    Column("recorded_at", INSTANT),
    Column("recorded_xid", pa.int64(), encoding=_DELTA),
    Column("org_id", pa.int64()),
    Column("project_id", pa.int64()),
    Column("api_key_id", pa.int64()),
    Column("user_id", pa.int64(), nullable=True),
    Column("service_account_id", pa.int64(), nullable=True),
    Column("end_user", pa.string(), nullable=True),
    Column("trace_id", pa.binary(16), nullable=True, encoding=_PLAIN),
    Column("tags", pa.string(), nullable=True),
    Column("endpoint", pa.string()),
    Column("stream", pa.bool_()),
    Column("model_asked", pa.string(), nullable=True),
    Column("model_id", pa.int32(), nullable=True),
    Column("engine_id", pa.int32(), nullable=True),
    Column("router_life", pa.int32(), nullable=True),
    Column("status", pa.string()),
    Column("http_status", pa.int16()),
    Column("error_code", pa.string(), nullable=True),
    Column("finish_reason", pa.string(), nullable=True),
    Column("input_tokens", pa.int32(), encoding=_SPLIT),
    Column("cached_input_tokens", pa.int32(), encoding=_SPLIT),
    Column("output_tokens", pa.int32(), encoding=_SPLIT),
    Column("reasoning_tokens", pa.int32(), encoding=_SPLIT),
    Column("token_source", pa.string()),
    Column("queue_us", pa.int32(), nullable=True, encoding=_SPLIT),
    Column("ttft_us", pa.int32(), nullable=True, encoding=_SPLIT),
    Column("duration_us", pa.int32(), encoding=_SPLIT),
    Column("overhead_us", pa.int32(), nullable=True, encoding=_SPLIT),
    Column("price_id", pa.int32(), nullable=True),
    Column("cost_picousd", pa.int64(), nullable=True, encoding=_SPLIT),
    Column("charge_class", pa.string()),
)
"""Every column of the row. `recorded_xid` is the order of commits in the database that wrote the file, and of no other."""

NAMES = tuple(column.name for column in COLUMNS)
UUIDS = ("request_id", "trace_id")
TAIL = "request_id_tail"
"""In files only: the last 80 bits of a request_id that is not there whole."""
_HEAD_BYTES, _UUID_BYTES = 6, 16
_KEY = ("started_at", "request_id", "attempt")
_TOGETHER = ("price_id", "status", "api_key_id", "engine_id", *_KEY)
"""What rows of a file lie by: those of a price have the model in common, and a key's the organization, project and user."""


def _parquet_type(column: Column) -> pa.DataType:
    return pa.uuid() if column.name in UUIDS else column.type


SCHEMA = pa.schema([pa.field(column.name, _parquet_type(column), nullable=column.nullable) for column in COLUMNS])
"""A row, whole."""
FILE_SCHEMA = pa.schema(
    [field.with_nullable(field.nullable or field.name in ("request_id", "finished_at")) for field in SCHEMA]
    + [pa.field(TAIL, pa.binary(_UUID_BYTES - _HEAD_BYTES))]
)
"""As it is in the file. Files of before TAIL have whole rows in the order of _KEY."""
CSV_TYPES = {column.name: pa.string() if column.name in UUIDS else column.type for column in COLUMNS}
"""As it comes through COPY: uuids as text."""
DICTIONARIES = [column.name for column in COLUMNS if column.encoding is _DICTIONARY and column.type != pa.bool_()]
BOUNDED = ["started_at"]
"""Columns of which a group of rows says its least and greatest; each group has about all that there is of the others."""
ENCODINGS = {column.name: column.encoding for column in COLUMNS if column.encoding is not None} | {TAIL: _PLAIN}


def from_csv(batch: pa.RecordBatch) -> pa.RecordBatch:
    """A batch of CSV_TYPES as one of SCHEMA."""
    arrays = []
    for field in SCHEMA:
        array = batch.column(field.name)
        arrays.append(_uuids(array) if field.name in UUIDS else array)
    return pa.RecordBatch.from_arrays(arrays, schema=SCHEMA)


def to_csv(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The way back: text for uuids, so that COPY reads it."""
    arrays = [_texts(batch.column(name)) if name in UUIDS else batch.column(name) for name in NAMES]
    return pa.RecordBatch.from_arrays(arrays, names=list(NAMES))


def to_file(group: pa.Table) -> pa.Table:
    """A group of rows of SCHEMA as one of FILE_SCHEMA."""
    rows = _sorted(group, _TOGETHER)
    ids = _bytes(rows["request_id"])
    says_more = ~(_heads(rows["started_at"]) == ids[:, :_HEAD_BYTES]).all(axis=1)
    finished_at = pc.if_else(pc.equal(rows["finished_at"], _ends(rows)), pa.scalar(None, INSTANT), rows["finished_at"])
    columns = {name: rows[name] for name in NAMES} | {
        "request_id": pa.ExtensionArray.from_storage(pa.uuid(), _fixed(ids, says_more)),
        "finished_at": finished_at,
        TAIL: _fixed(ids[:, _HEAD_BYTES:], ~says_more),
    }
    return pa.table([columns[name] for name in FILE_SCHEMA.names], schema=FILE_SCHEMA)


def from_file(group: pa.Table) -> pa.Table:
    """The way back, for a group of any file: whole rows in the order of started_at, request_id, attempt.

    Raises: ValueError: a row has no request_id.
    """
    ids = group["request_id"].combine_chunks()
    if TAIL in group.column_names:
        tails = group[TAIL].combine_chunks()
        if not pc.all(pc.xor(ids.is_valid(), tails.is_valid())).as_py():
            raise ValueError("a row has no request_id, or two")
        rest = np.hstack([_heads(group["started_at"]), _bytes(tails)])
        whole = np.where(np.asarray(ids.is_valid())[:, None], _bytes(ids), rest)
        ids = pa.ExtensionArray.from_storage(pa.uuid(), _fixed(whole, np.ones(len(whole), dtype=bool)))
    columns = {name: group[name] for name in NAMES} | {
        "request_id": ids,
        "finished_at": pc.coalesce(group["finished_at"], _ends(group)),
    }
    return _sorted(pa.table([columns[name].cast(SCHEMA.field(name).type) for name in NAMES], schema=SCHEMA), _KEY)


def storage(column: Any) -> Any:
    """A uuid as its bytes; anything else as it is."""
    if not isinstance(column.type, pa.BaseExtensionType):
        return column
    if isinstance(column, pa.ChunkedArray):
        return pa.chunked_array([chunk.storage for chunk in column.chunks], column.type.storage_type)
    return column.storage


def _sorted(rows: pa.Table, names: tuple[str, ...]) -> pa.Table:
    keys = pa.table({name: storage(rows[name]) for name in names})
    return rows.take(pc.sort_indices(keys, [(name, "ascending") for name in names]))


def _ends(rows: pa.Table) -> pa.ChunkedArray:
    """The instants at which rows end by what they say of their start and duration."""
    return pc.add(rows["started_at"], rows["duration_us"].cast(pa.int64()).cast(pa.duration("us")))


def _heads(started_at: pa.ChunkedArray) -> NDArray[np.uint8]:
    """(rows, 6): milliseconds since 1970 of each instant, the first 48 bits of a UUIDv7 of then."""
    ms = started_at.cast(pa.int64()).to_numpy() // 1000
    return ms.astype(">i8").view(np.uint8).reshape(-1, 8)[:, 8 - _HEAD_BYTES :]


def _bytes(column: pa.Array | pa.ChunkedArray) -> NDArray[np.uint8]:
    """(rows, width): the bytes of values of a fixed width; of a null, whatever they are."""
    array = storage(column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column)
    width = array.type.byte_width
    held = np.frombuffer(array.buffers()[1], np.uint8, len(array) * width, array.offset * width)
    return held.reshape(-1, width)


def _fixed(values: NDArray[np.uint8], valid: NDArray[np.bool_]) -> pa.FixedSizeBinaryArray:
    """Values of a fixed width, and null where they are not valid."""
    mask = None if valid.all() else pa.py_buffer(np.packbits(valid, bitorder="little").tobytes())
    data = pa.py_buffer(np.ascontiguousarray(values).tobytes())
    return pa.FixedSizeBinaryArray.from_buffers(pa.binary(values.shape[1]), len(values), [mask, data])


def _uuids(texts: pa.StringArray) -> pa.Array:
    """16 bytes of each `xxxxxxxx-xxxx-…`; null where there is none."""
    valid = np.asarray(texts.is_valid())
    digits = bytes.fromhex("".join(text.replace("-", "") for text in texts.drop_null().to_pylist()))
    whole = np.zeros((len(texts), _UUID_BYTES), dtype=np.uint8)
    whole[valid] = np.frombuffer(digits, dtype=np.uint8).reshape(-1, _UUID_BYTES)
    return pa.ExtensionArray.from_storage(pa.uuid(), _fixed(whole, valid))


def _texts(uuids: pa.Array) -> pa.StringArray:
    return pa.array([None if value is None else str(value) for value in uuids.to_pylist()], pa.string())
