"""A time zone that the router has and the database lacks or has otherwise is refused: it would stop the marts, or invoices."""

import zoneinfo
from datetime import datetime
from pathlib import Path

import httpx
import pytest

from router.management.fields import OFFSETS_TO_POSTGRES
from tests.integration.router.callers import demo, error, owner
from tests.integration.router.conftest import Stack

NEWER = "Test/Newer"


@pytest.fixture
def router_env(tmp_path: Path) -> dict[str, str]:
    for folder in zoneinfo.TZPATH:
        if (zone := Path(folder) / "Europe" / "Berlin").is_file():
            (tmp_path / "zones" / NEWER).parent.mkdir(parents=True)
            (tmp_path / "zones" / NEWER).write_bytes(zone.read_bytes())
            break
    return {"PYTHONTZPATH": ":".join([str(tmp_path / "zones"), *zoneinfo.TZPATH])}


def test_a_zone_that_the_database_lacks_is_refused(stack: Stack) -> None:
    refused = (400, "invalid_request", "time_zone")
    with owner(stack) as client:
        for path in ("/organization", f"/organizations/{demo(stack).organization}"):
            answer = client.post(path, json={"time_zone": NEWER})
            assert error(answer) == refused
            assert "the database has no time zone" in answer.json()["error"]["message"]
            assert client.get(path).json()["time_zone"] == "Europe/Berlin"
            assert client.post(path, json={"time_zone": "Europe/Berlin"}).status_code == 200
        body = {"name": "New", "time_zone": NEWER, "owner_email": stack.email}
        platform = {"authorization": f"Bearer {stack.admin_key}"}
        assert error(httpx.post(f"{stack.base_url}/organizations", json=body, headers=platform)) == refused


def test_a_zone_that_the_database_takes_for_an_offset_or_that_is_none_is_refused(stack: Stack) -> None:
    abbreviations = {name for (name,) in stack.db.execute("select abbrev from pg_timezone_abbrevs")}
    stack.db.commit()
    summer, winter = datetime(2027, 7, 1), datetime(2027, 1, 1)  # noqa: DTZ001 - on the zones' own clocks
    named = {name: zoneinfo.ZoneInfo(name) for name in zoneinfo.available_timezones() & abbreviations}
    changing = {name for name, zone in named.items() if zone.utcoffset(summer) != zone.utcoffset(winter)}
    assert changing == OFFSETS_TO_POSTGRES
    with owner(stack) as client:
        for name in [*changing, "localtime", "Factory"]:
            answer = client.post("/organization", json={"time_zone": name})
            assert error(answer) == (400, "invalid_request", "time_zone")
            assert "like Europe/Berlin" in answer.json()["error"]["message"]
