"""Reads of marts. Each is one read-only transaction of a role that sees one organization and no other."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID

import pandas as pd
import psycopg
import streamlit as st
from psycopg.errors import InvalidSchemaName, UndefinedTable
from psycopg_pool import ConnectionPool

from dashboards.settings import PortalSettings
from warehouse.access.queries import load_queries

QUERIES = load_queries(__file__)
TTL_S = 3  # a page that refreshes itself every few seconds costs one query for all who look at it
ENTRIES_MAX = 500
REQUESTS_MAX = 200
ORGANIZATIONS_MAX = 500
# A request id is a UUIDv7: it names the millisecond it was made in, so its row is found by the index on time.
ID_TOLERANCE = timedelta(minutes=1)


class MartsUnreachable(Exception):
    """The database does not answer."""


class MartsNotBuilt(Exception):
    """The first build has not run yet."""


class Marts:
    """Reads for one role."""

    def __init__(self, dsn: str) -> None:
        self._pool = ConnectionPool(dsn, min_size=0, max_size=4, timeout=5, reconnect_timeout=3, open=True, name="portal")

    def read(self, query: str, org_id: int | None, **values: Any) -> pd.DataFrame:
        """The rows of a named query, as the organization sees them. Raises: MartsUnreachable, MartsNotBuilt."""
        with _explained(), self._pool.connection() as conn:
            conn.execute("set transaction read only")
            if org_id is not None:
                conn.execute(QUERIES["choose_organization"], {"org_id": org_id})
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
def _cached(_settings: PortalSettings, query: str, org_id: int | None, values: tuple[tuple[str, Any], ...]) -> pd.DataFrame:
    secret = _settings.database_url if org_id is not None else _settings.platform_database_url
    assert secret is not None
    return _marts(secret.get_secret_value()).read(query, org_id, **dict(values))


def load(settings: PortalSettings, query: str, org_id: int, **values: Any) -> pd.DataFrame:
    """A named query for one organization; the organization is part of what it is cached by."""
    return _cached(settings, query, org_id, tuple(values.items()))


def load_request(settings: PortalSettings, org_id: int, request_id: UUID) -> pd.DataFrame:
    """Every attempt of one request; empty where there is none that this organization may see."""
    made_at = datetime.fromtimestamp((request_id.int >> 80) / 1000).astimezone()
    return load(
        settings, "one_request", org_id, request_id=request_id, since=made_at - ID_TOLERANCE, until=made_at + ID_TOLERANCE
    )


def load_organizations(settings: PortalSettings, since: datetime) -> pd.DataFrame:
    """Every organization, for platform admins only: the page has checked that the viewer is one."""
    return _cached(settings, "organizations", None, (("since", since), ("rows_max", ORGANIZATIONS_MAX)))


def day_range(first: date, last: date, zone: Any) -> tuple[datetime, datetime]:
    """[since, until) of whole local days."""
    since = datetime(first.year, first.month, first.day, tzinfo=zone)
    after = last + timedelta(days=1)
    return since, datetime(after.year, after.month, after.day, tzinfo=zone)
