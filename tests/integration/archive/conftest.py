"""A warehouse with days of history, and an empty archive."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from orchestration.archive import chain, days
from orchestration.archive.days import connected
from orchestration.archive.files import ArchiveFiles
from tests.dbt_runs import Dbt
from tests.factories import START, Tenant, add_model, add_tenant, copy_events, month_of_events, usage_event

DAY = START.date()


@dataclass(frozen=True, slots=True)
class History:
    """Three tenants in three zones, one model, and rows of some days in March."""

    tenants: list[Tenant]
    model: tuple[int, int]

    def row(self, number: int, started_at: datetime, **fields: Any) -> Any:
        """A row of the first tenant that costs 400 pico-dollars."""
        priced = {"model_id": self.model[0], "price_id": self.model[1], "cost_picousd": 400, "output_tokens": 1}
        return usage_event(self.tenants[0], number, started_at, **priced | fields)


@pytest.fixture
def history(db: psycopg.Connection) -> History:
    tenants = [add_tenant(db, zone) for zone in ("UTC", "Asia/Kolkata", "America/New_York")]
    model = add_model(db, "m")
    copy_events(db, month_of_events(tenants, model, 1200, seed=3, days=4))
    made = History(tenants, model)
    copy_events(db, strange_rows(made))
    return made


def strange_rows(history: History) -> list[Any]:
    """Rows whose texts and nulls are easily written wrong."""
    at = START + timedelta(hours=7)
    return [
        history.row(10**7, at, end_user="", error_code="", model_asked="a|b,\"c\"\n\\N\té\u2028\x7f\x01", stream=True),
        history.row(10**7 + 1, at, end_user="NULL", tags={"team": "söz, \"x\"\n", "a": "1"}, trace_id=UUID(int=5)),
        history.row(10**7 + 2, at, tags={}, queue_us=0, ttft_us=5, overhead_us=7, router_life=-3, engine_id=None),
        history.row(10**7 + 3, at, attempt=0, status="refused", http_status=429, error_code="rate_limited", finish_reason=None,
                    model_id=None, price_id=None, cost_picousd=None, output_tokens=0, charge_class="free_refused",
                    token_source="none", model_asked="nothing"),
        history.row(10**7 + 4, at, attempt=2, cost_picousd=None, price_id=None),
        history.row(10**7 + 4, at, attempt=3),
        *rows_as_written(history),
    ]  # fmt: skip


def rows_as_written(history: History) -> list[Any]:
    """Rows with identifiers of their own millisecond, and some that are nearly so, in the first and last one of the day."""
    first, last = START, START + timedelta(days=1) - timedelta(microseconds=1)
    ends = timedelta(microseconds=250_000)
    return [
        history.row(1, at, request_id=uuid7(at + off, number), finished_at=at + ends + late, attempt=attempt)
        for number, (at, off, late, attempt) in enumerate(
            (at, off, late, attempt)
            for at in (first, last, first + timedelta(microseconds=999), last - timedelta(milliseconds=1))
            for off in (timedelta(), timedelta(milliseconds=1), timedelta(milliseconds=-1))
            for late in (timedelta(), timedelta(microseconds=1), timedelta(seconds=3))
            for attempt in (1, 2)
        )
    ]


def uuid7(at: datetime, number: int) -> UUID:
    """An identifier of that millisecond. Source: RFC 9562, section 5.7."""
    ms = (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
    return UUID(int=ms << 80 | 7 << 76 | 2 << 62 | number)


@pytest.fixture
def transform(history: History, role_url: Callable[..., str]) -> Iterator[psycopg.Connection]:
    """As Dagster connects."""
    with connected(role_url("inferhouse_transform")) as conn:
        yield conn


@pytest.fixture
def files(tmp_path: Path) -> ArchiveFiles:
    return ArchiveFiles(f"file://{tmp_path}/archive")


@pytest.fixture
def dbt(history: History, dbt: Dbt) -> Dbt:
    """dbt on a database that has the marts of the history."""
    dbt.run("build", "--exclude", "test_type:data")
    return dbt


@pytest.fixture
def ready(dbt: Dbt, transform: psycopg.Connection, files: ArchiveFiles) -> psycopg.Connection:
    """The first of March is in the marts, the chain and the archive."""
    chain.extend(transform)
    days.archive_day(transform, files, DAY)
    return transform


def as_before(files: ArchiveFiles, path: str) -> None:
    """A file of the archive written anew as files were before they left anything out."""
    rows = pa.Table.from_batches(files.batches(path))
    pq.write_table(rows, files.fetch(path, ""), compression="zstd", store_schema=False)


def later(day: date, n: int) -> date:
    return day + timedelta(days=n)


def midnight(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC)
