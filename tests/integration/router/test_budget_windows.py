"""When the windows of budgets begin, as routers read it, in every zone."""

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import psycopg
import pytest

from tests.routing_world import in_loop
from warehouse.access import spend_rules

ZONES = ("Asia/Kathmandu", "America/St_Johns", "Pacific/Apia", "Australia/Lord_Howe", "Africa/Cairo", "Europe/Berlin")
TWICE = ("Atlantic/Azores", "America/Havana")  # midnight comes twice when summer time ends there
LEFT_OUT = ("Asia/Beirut", "America/Santiago")  # or not at all when it begins


def _first_instant(zone: str, day: date) -> datetime:
    """The first quarter of an hour at which a clock shows the day."""
    at = datetime(day.year, day.month, day.day, tzinfo=UTC) - timedelta(hours=15)
    while at.astimezone(ZoneInfo(zone)).date() < day:
        at += timedelta(minutes=15)
    return at


@pytest.mark.parametrize("zone", [*ZONES, *TWICE, *LEFT_OUT])
@pytest.mark.parametrize("around", ["2026-10-25", "2026-11-01", "2027-03-20"])
@in_loop
async def test_a_window_begins_when_a_clock_first_shows_its_day(database_url: str, zone: str, around: str) -> None:
    async with await psycopg.AsyncConnection.connect(database_url) as conn:
        # What is asked at another instant: a clock that is found before PostgreSQL's own.
        await conn.execute("create schema elsewhen")
        clock = f"$$ select '{around} 12:00+00'::timestamptz $$"
        await conn.execute(f"create function elsewhen.now() returns timestamptz language sql stable as {clock}".encode())
        await conn.execute("set search_path to elsewhen, pg_catalog")
        rows = await (await conn.execute(spend_rules.QUERIES["boundaries"], {"time_zone": zone})).fetchall()
        boundaries = dict(rows)
        await conn.rollback()
    for period, starts in boundaries.items():
        days = [start.astimezone(ZoneInfo(zone)).date() for start in starts]
        assert starts == [_first_instant(zone, day) for day in days], period
        assert days == sorted(set(days))
    days = [start.astimezone(ZoneInfo(zone)).date() for start in boundaries["day"]]
    assert all(later - earlier == timedelta(days=1) for earlier, later in pairwise(days))
    assert {start.astimezone(ZoneInfo(zone)).weekday() for start in boundaries["week"]} == {0}
    assert {start.astimezone(ZoneInfo(zone)).day for start in boundaries["month"]} == {1}
