"""Reads of marts. Each is one read-only transaction of a role that sees one organization and no other.

Hours are hours of the clock in UTC, days those of the organization's time zone. What no model served is counted under '—'.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pandas as pd
import psycopg
import streamlit as st
from psycopg.errors import InvalidSchemaName, UndefinedTable
from psycopg_pool import ConnectionPool

from dashboards.auth import Organization
from dashboards.settings import PortalSettings
from warehouse.access.queries import load_queries

QUERIES = load_queries(__file__)
TTL_S = 3  # a page that refreshes itself every few seconds costs one query for all who look at it
ENTRIES_MAX = 500
REQUESTS_MAX = 200
USAGE_ROWS_MAX = 20_000
ORGANIZATIONS_MAX = 500
INVOICES_MAX = 500
INVOICE_LINES_MAX = 5_000
ENGINES_MAX = 500
READ_MS_MAX = 10_000
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# A request id is a UUIDv7: it names the millisecond it was made in, so its rows are found by the index on time. Clocks may
# differ a little, and the last attempt starts when the engines before it were given up.
BEFORE_ID = timedelta(minutes=1)
AFTER_ID = timedelta(days=1)


class MartsUnreachable(Exception):
    """The database does not answer, or not in time."""


class MartsNotBuilt(Exception):
    """The first build has not run yet."""


@dataclass(frozen=True, slots=True)
class Only:
    """Which usage is wanted: of these projects, models and keys; of every one where none is named."""

    projects: Sequence[str] = ()
    models: Sequence[str] = ()
    api_keys: Sequence[str] = ()


class Marts:
    """Reads for one role."""

    def __init__(self, dsn: str) -> None:
        self._pool = ConnectionPool(
            dsn, min_size=0, max_size=4, timeout=5, reconnect_timeout=3, open=True, name="portal",
            check=ConnectionPool.check_connection,  # a restart of the database is no error on anybody's page
        )  # fmt: skip

    def read(self, query: str, org_id: int | None, values: Mapping[str, Any]) -> pd.DataFrame:
        """The rows of a named query, as the organization sees them. Raises: MartsUnreachable, MartsNotBuilt."""
        with _explained(), self._pool.connection() as conn:
            conn.execute(QUERIES["begin"], {"org_id": org_id, "timeout_ms": READ_MS_MAX})
            cur = conn.execute(QUERIES[query], values)
            names = [column.name for column in cur.description or ()]
            return pd.DataFrame(cur.fetchall(), columns=names, dtype=object)


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except (UndefinedTable, InvalidSchemaName) as error:
        raise MartsNotBuilt from error
    except psycopg.OperationalError as error:
        raise MartsUnreachable from error


@st.cache_resource(show_spinner=False)
def _marts(dsn: str) -> Marts:
    return Marts(dsn)


@st.cache_data(ttl=TTL_S, max_entries=ENTRIES_MAX, show_spinner=False)
def _cached(_settings: PortalSettings, query: str, org_id: int | None, values: Mapping[str, Any]) -> pd.DataFrame:
    secret = _settings.database_url if org_id is not None else _settings.platform_database_url
    assert secret is not None
    return _marts(secret.get_secret_value()).read(query, org_id, values)


def load(settings: PortalSettings, query: str, org_id: int, **values: Any) -> pd.DataFrame:
    """A named query for one organization; the organization is part of what it is cached by."""
    return _cached(settings, query, org_id, values)


def load_usage(
    settings: PortalSettings, query: str, org: Organization, days: tuple[date, date], only: Only, **values: Any
) -> pd.DataFrame:
    """A named query of usage, from the first to the last of some days in the organization's time zone."""
    since, until = day_range(*days, org.zone)
    wanted = {name: list(chosen) for name, chosen in asdict(only).items()}
    return load(settings, query, org.org_id, zone=org.zone.key, since=since, until=until, **wanted, **values)


def load_request(settings: PortalSettings, org_id: int, request_id: UUID) -> pd.DataFrame:
    """Every attempt of one request; empty where there is none that this organization may see."""
    try:
        made_at = EPOCH + timedelta(milliseconds=request_id.int >> 80)
        since, until = made_at - BEFORE_ID, made_at + AFTER_ID
    except OverflowError:  # some other kind of id, which names no instant
        return pd.DataFrame()
    return load(settings, "one_request", org_id, request_id=request_id, since=since, until=until)


def load_organizations(settings: PortalSettings, since: datetime) -> pd.DataFrame:
    """Every organization, for platform admins only: the page has checked that the viewer is one."""
    return _cached(settings, "organizations", None, {"since": since, "rows_max": ORGANIZATIONS_MAX})


def load_engines(settings: PortalSettings, since: datetime) -> pd.DataFrame:
    """The latest hour of every engine that was seen since then, for platform admins only."""
    return _cached(settings, "engines", None, {"since": since, "rows_max": ENGINES_MAX})


def day_range(first: date, last: date, zone: ZoneInfo) -> tuple[datetime, datetime]:
    """[since, until) of whole local days."""
    since = datetime(first.year, first.month, first.day, tzinfo=zone)
    after = last + timedelta(days=1)
    return since, datetime(after.year, after.month, after.day, tzinfo=zone)
