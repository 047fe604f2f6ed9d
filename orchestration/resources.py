"""The warehouse as assets use it: typed reads and writes, each in one transaction."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime

import dagster as dg
import psycopg
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from warehouse.access.queries import load_queries

QUERIES = load_queries(__file__)
CONNECT_S_MAX = 5


@dataclass(frozen=True, slots=True)
class RefreshNeed:
    """What the sensor looks at. `built` is False before the first run; instants are UTC."""

    built: bool
    new_rows: bool
    unfinished: bool
    computed_at: datetime | None


class Warehouse(dg.ConfigurableResource):
    """TimescaleDB, as role inferhouse_transform."""

    database_url: str

    @contextmanager
    def connect(self) -> Iterator[psycopg.Connection]:
        """A connection; its transaction is committed at the end."""
        with psycopg.connect(self.database_url, connect_timeout=CONNECT_S_MAX) as conn:
            yield conn

    def refresh_need(self) -> RefreshNeed:
        """Whether rows have come that the marts do not have, found without reading a table whole."""
        with self.connect() as conn:
            if not marts_are_built(conn):
                return RefreshNeed(built=False, new_rows=True, unfinished=True, computed_at=None)
            with conn.cursor(row_factory=class_row(RefreshNeed)) as cur:
                need = cur.execute(QUERIES["refresh_need"]).fetchone()
        assert need is not None
        return need

    def service_marts_are_built(self) -> bool:
        """Whether the marts of service are there, with the views beneath them."""
        with self.connect() as conn:
            return bool(_one(conn, "service_marts_are_built"))

    def daily_costs(self) -> list[tuple[object, ...]]:
        """(org_id, day_utc, cost_picousd): what each organization spent on each UTC day."""
        with self.connect() as conn:
            return conn.execute(QUERIES["daily_costs"]).fetchall()

    def replace_forecast(self, rows: Iterable[tuple[object, ...]]) -> None:
        """Put a new forecast in the place of the last one. Values in the order of the query `copy_forecast`."""
        self._replace("clear_forecast", "copy_forecast", rows)

    def replace_backtests(self, rows: Iterable[tuple[object, ...]]) -> None:
        """Put new back-tests in the place of the last ones. Values in the order of the query `copy_backtests`."""
        self._replace("clear_backtests", "copy_backtests", rows)

    def _replace(self, clear: str, copy_in: str, rows: Iterable[tuple[object, ...]]) -> None:
        with self.connect() as conn, conn.cursor() as cur:
            cur.execute(QUERIES[clear])
            with cur.copy(QUERIES[copy_in]) as copy:
                for row in rows:
                    copy.write_row(row)


def marts_are_built(conn: psycopg.Connection) -> bool:
    """Whether the marts of usage are there."""
    return bool(_one(conn, "marts_are_built"))


def tell_organization(
    conn: psycopg.Connection, organization: str, event_type: str, data: Mapping[str, object], *, once: str
) -> None:
    """An event for an organization by its public id; of those with the same `once` it gets one."""
    said = {"organization": organization, "event_type": event_type, "data": Jsonb(data), "once": once}
    conn.execute(QUERIES["tell_organization"], said)


def _one(conn: psycopg.Connection, query: str) -> object:
    row = conn.execute(QUERIES[query]).fetchone()
    assert row is not None
    return row[0]
