"""A time zone that the router has and the database lacks, as where its list is older, is refused and does not stop the marts."""

import zoneinfo
from pathlib import Path

import httpx
import pytest

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
