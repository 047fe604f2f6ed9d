"""The raw usage row as bytes: one tuple of PostgreSQL's binary COPY.

It is made once, when a record enters the journal, and goes from there to the database as it is, in the same life or after a
crash. A column is only ever added at the end of `COLUMNS`: the tuple says how many fields it has, so that a journal written
before an upgrade is read after it.
Source: PostgreSQL, COPY, file formats, binary format; numbers big-endian, instants microseconds since 2000-01-01.
"""

import struct
from collections.abc import Callable, Iterable
from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import Any
from uuid import UUID

import msgspec
import orjson


class UsageEvent(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    """One row of raw.usage_events; enumerations as their labels. First what is known when an attempt begins."""

    request_id: UUID
    attempt: int
    started_at: datetime
    org_id: int
    project_id: int
    api_key_id: int
    stream: bool
    user_id: int | None
    service_account_id: int | None
    model_id: int | None
    engine_id: int | None
    router_life: int | None
    endpoint: str
    model_asked: str | None
    end_user: str | None
    trace_id: UUID | None
    tags: dict[str, str] | None
    finished_at: datetime
    duration_us: int
    input_tokens: int
    cached_input_tokens: int
    output_tokens: int
    reasoning_tokens: int
    http_status: int
    queue_us: int | None
    ttft_us: int | None
    overhead_us: int | None
    price_id: int | None
    cost_picousd: int | None
    status: str
    token_source: str
    charge_class: str
    error_code: str | None
    finish_reason: str | None


COLUMNS = UsageEvent.__struct_fields__
_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_NEW = UsageEvent(
    request_id=UUID(int=0),
    attempt=0,
    started_at=_EPOCH,
    org_id=0,
    project_id=0,
    api_key_id=0,
    stream=False,
    user_id=None,
    service_account_id=None,
    model_id=None,
    engine_id=None,
    router_life=None,
    endpoint="",
    model_asked=None,
    end_user=None,
    trace_id=None,
    tags=None,
    finished_at=_EPOCH,
    duration_us=0,
    input_tokens=0,
    cached_input_tokens=0,
    output_tokens=0,
    reasoning_tokens=0,
    http_status=0,
    queue_us=None,
    ttft_us=None,
    overhead_us=None,
    price_id=None,
    cost_picousd=0,
    status="router_lost",
    token_source="none",
    charge_class="free_router_lost",
    error_code="router_lost",
    finish_reason=None,
)
_copy_new: Callable[[], UsageEvent] = _NEW.__copy__  # type: ignore[attr-defined]  # every Struct has it
_FIRST = struct.Struct(">hi16sihiqiqiqiqi?")  # number of fields, then request_id to stream
_COUNTS = struct.Struct(">iqiiiiiiiiiiih")  # finished_at to http_status
_STARTED_AT = slice(28, 40)  # of the beginning: its length and its value
_ORG_ID = slice(44, 52)
_INT8, _INT4 = struct.Struct(">iq"), struct.Struct(">ii")
_LENGTH = struct.Struct(">i")
_NULL = _LENGTH.pack(-1)
_NO_TEXTS = _NULL * 4
_TIME_US_MAX = 2**31 - 1  # what the columns hold: 35 minutes
_HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_TRAILER = b"\xff\xff"
_Middle = tuple[int | None, int | None, int | None, int | None, int | None, str]
_middles: dict[_Middle, bytes] = {}
MIDDLES_MAX = 10_000  # callers x engines whose fields are kept as bytes, about 300 bytes each; above it all are made anew
_End = tuple[str, str, str, str | None, str | None]
_ends: dict[_End, bytes] = {}
ENDS_MAX = 1000  # ways to end, of which there are far fewer; above it all are made anew


def new(request_id: UUID, attempt: int, started_at: datetime) -> UsageEvent:
    """An attempt that begins, as it is recorded if its router dies; whose it is and of what is to be added."""
    event = _copy_new()  # a quarter of the time that it takes to name every column
    event.request_id, event.attempt, event.started_at, event.finished_at = request_id, attempt, started_at, started_at
    return event


def encode(event: UsageEvent) -> bytes:
    """The tuple of a row. Raises: struct.error: a number that its column cannot hold."""
    return beginning(event) + ending(event)


def beginning(event: UsageEvent) -> bytes:
    """The fields that are known when an attempt begins, and do not change."""
    key = event.user_id, event.service_account_id, event.model_id, event.engine_id, event.router_life, event.endpoint
    return b"".join(
        (
            _FIRST.pack(
                34, 16, event.request_id.bytes, 2, event.attempt, 8, _us(event.started_at),
                8, event.org_id, 8, event.project_id, 8, event.api_key_id, 1, event.stream,
            ),
            _middles.get(key) or _middle(key),
            _texts(event),
        )
    )  # fmt: skip


def ending(event: UsageEvent) -> bytes:
    """The other fields. Raises: struct.error: as `encode`, but for times, of which the longest that there is takes the place."""
    labels = event.status, event.token_source, event.charge_class, event.error_code, event.finish_reason
    try:
        return b"".join(
            (
                _COUNTS.pack(
                    8, _us(event.finished_at), 4, event.duration_us, 4, event.input_tokens, 4, event.cached_input_tokens,
                    4, event.output_tokens, 4, event.reasoning_tokens, 2, event.http_status,
                ),
                _int4(event.queue_us),
                _int4(event.ttft_us),
                _int4(event.overhead_us),
                _int4(event.price_id),
                _int8(event.cost_picousd),
                _ends.get(labels) or _end(labels),
            )
        )  # fmt: skip
    except struct.error:
        if not _clip_times(event):
            raise
        return ending(event)


def lost_ending(beginning: bytes) -> bytes:
    """The other fields of an attempt that is as `new` made it: it ends when it began, and nothing came of it."""
    return beginning[_STARTED_AT] + _LOST


def copy_data(rows: Iterable[bytes]) -> bytes:
    """What COPY reads: rows of `encode`, all with the same number of fields."""
    return b"".join((_HEADER, *rows, _TRAILER))


def by_width(rows: Iterable[bytes]) -> list[tuple[int, list[bytes]]]:
    """(number of fields, rows) for rows of several versions of this program."""
    ordered = sorted(rows, key=width)
    return [(fields, list(group)) for fields, group in groupby(ordered, key=width)]


def width(row: bytes) -> int:
    """The number of fields of a row."""
    return int.from_bytes(row[:2], "big")


def started_at(row: bytes) -> datetime:
    """Of a row of `encode`, without reading the rest of it."""
    return _instant(row[_STARTED_AT][4:])


def org_id(row: bytes) -> int:
    """The same for whose it is."""
    return _integer(row[_ORG_ID])


def is_whole(row: bytes) -> bool:
    """Whether the bytes are a row, of this version or of one before it, from its first byte to its last."""
    fields, position = width(row), 2
    if not 0 < fields <= len(COLUMNS):
        return False
    for _ in range(fields):
        if position + 4 > len(row):
            return False
        (length,) = _LENGTH.unpack_from(row, position)
        position += 4 + max(length, 0)
    return position == len(row)


def decode(row: bytes) -> UsageEvent:
    """The row of a tuple; columns that it does not have are None."""
    values: list[bytes | None] = []
    position = 2
    for _ in range(width(row)):
        (length,) = _LENGTH.unpack_from(row, position)
        position += 4
        values.append(None if length < 0 else row[position : position + length])
        position += max(length, 0)
    named: dict[str, Any] = dict.fromkeys(COLUMNS) | {
        name: None if value is None else _READ[name](value) for name, value in zip(COLUMNS, values, strict=False)
    }
    return UsageEvent(**named)


def _clip_times(event: UsageEvent) -> bool:
    """A machine that stood still within a request, as one that was paused, makes it longer than 35 minutes: it has its row."""
    longer = [
        name for name in ("duration_us", "queue_us", "ttft_us", "overhead_us") if (getattr(event, name) or 0) > _TIME_US_MAX
    ]
    for name in longer:
        setattr(event, name, _TIME_US_MAX)
    return bool(longer)


def _us(at: datetime) -> int:
    since = at - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds


def _int4(value: int | None) -> bytes:
    return _NULL if value is None else _INT4.pack(4, value)


def _int8(value: int | None) -> bytes:
    return _NULL if value is None else _INT8.pack(8, value)


def _end(key: _End) -> bytes:
    """status to finish_reason, which most requests have in common."""
    made = b"".join(map(_text, key))
    if len(_ends) >= ENDS_MAX:
        _ends.clear()
    _ends[key] = made
    return made


def _middle(key: _Middle) -> bytes:
    """user_id to endpoint, which requests of one caller have in common."""
    user_id, service_account_id, model_id, engine_id, router_life, endpoint = key
    owners = _int8(user_id) + _int8(service_account_id)
    made = owners + _int4(model_id) + _int4(engine_id) + _int4(router_life) + _text(endpoint)
    if len(_middles) >= MIDDLES_MAX:
        _middles.clear()
    _middles[key] = made
    return made


def _text(text: str | None) -> bytes:
    if text is None:
        return _NULL
    data = text.encode("utf-8", "replace").replace(b"\0", b"?")  # neither lone surrogates nor NUL are text to PostgreSQL
    return _LENGTH.pack(len(data)) + data


def _texts(event: UsageEvent) -> bytes:
    if event.model_asked is None and event.end_user is None and event.trace_id is None and event.tags is None:
        return _NO_TEXTS
    trace = _NULL if event.trace_id is None else _LENGTH.pack(16) + event.trace_id.bytes
    return b"".join((_text(event.model_asked), _text(event.end_user), trace, _tags(event.tags)))


def _tags(tags: dict[str, str] | None) -> bytes:
    if tags is None:
        return _NULL
    data = b"\x01" + orjson.dumps(tags)  # jsonb's binary form: a version, then JSON
    return _LENGTH.pack(len(data)) + data


def _integer(data: bytes) -> int:
    return int.from_bytes(data, "big", signed=True)


def _instant(data: bytes) -> datetime:
    return _EPOCH + timedelta(microseconds=_integer(data))


def _uuid(data: bytes) -> UUID:
    return UUID(bytes=data)


_OTHERS: dict[str, Callable[[bytes], Any]] = {
    "request_id": _uuid,
    "trace_id": _uuid,
    "started_at": _instant,
    "finished_at": _instant,
    "stream": lambda data: data == b"\x01",
    "tags": lambda data: orjson.loads(data[1:]),
}
_TEXTS = {
    "endpoint", "model_asked", "end_user", "status", "token_source", "charge_class", "error_code", "finish_reason"
}  # fmt: skip
_READ = {name: _OTHERS.get(name, bytes.decode if name in _TEXTS else _integer) for name in COLUMNS}
_LOST = ending(_NEW)[_STARTED_AT.stop - _STARTED_AT.start :]
