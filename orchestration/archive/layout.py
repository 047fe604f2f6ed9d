"""The columns of an archived row: how they travel through CSV, and how they lie in Parquet."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

INSTANT = pa.timestamp("us", tz="UTC")
_SPLIT = "BYTE_STREAM_SPLIT"  # numbers that differ from row to row: their high bytes are alike and cost nothing
_DELTA = "DELTA_BINARY_PACKED"  # rows lie in the order of started_at
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
    Column("started_at", INSTANT, encoding=_DELTA),
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
    Column("cached_input_tokens", pa.int32()),
    Column("output_tokens", pa.int32(), encoding=_SPLIT),
    Column("reasoning_tokens", pa.int32()),
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


def _parquet_type(column: Column) -> pa.DataType:
    return pa.uuid() if column.name in UUIDS else column.type


SCHEMA = pa.schema([pa.field(column.name, _parquet_type(column), nullable=column.nullable) for column in COLUMNS])
"""As it is in the file."""
CSV_TYPES = {column.name: pa.string() if column.name in UUIDS else column.type for column in COLUMNS}
"""As it comes through COPY: uuids as text."""
DICTIONARIES = [column.name for column in COLUMNS if column.encoding is _DICTIONARY and column.type != pa.bool_()]
ENCODINGS = {column.name: column.encoding for column in COLUMNS if column.encoding is not None}


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


def _uuids(texts: pa.StringArray) -> pa.Array:
    """16 bytes of each `xxxxxxxx-xxxx-…`; null where there is none."""
    valid = np.asarray(texts.is_valid())
    digits = bytes.fromhex("".join(text.replace("-", "") for text in texts.drop_null().to_pylist()))
    whole = np.zeros((len(texts), 16), dtype=np.uint8)
    whole[valid] = np.frombuffer(digits, dtype=np.uint8).reshape(-1, 16)
    mask = None if valid.all() else pa.py_buffer(np.packbits(valid, bitorder="little").tobytes())
    storage = pa.FixedSizeBinaryArray.from_buffers(pa.binary(16), len(texts), [mask, pa.py_buffer(whole.tobytes())])
    return pa.ExtensionArray.from_storage(pa.uuid(), storage)


def _texts(uuids: pa.Array) -> pa.StringArray:
    return pa.array([None if value is None else str(value) for value in uuids.to_pylist()], pa.string())
