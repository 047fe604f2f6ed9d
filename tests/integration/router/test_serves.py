"""A process may serve one half alone: management needs neither journal nor engines, inference no management login."""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from router.inference.shapes import SHAPES
from tests.integration.router.conftest import Stack

READ_S_MAX = 60
NEEDED = {
    "ROUTER_DATABASE_URL": "postgresql://nowhere/none",
    "ROUTER_JOURNAL_DIR": "/nonexistent",
    "ROUTER_KEY_PEPPER": "a pepper of the tests",
}


@pytest.fixture
def router_env(request: pytest.FixtureRequest) -> dict[str, str]:
    return {"ROUTER_SERVES": request.param}


@pytest.mark.parametrize("router_env", ["management"], indirect=True)
def test_a_management_process_keeps_no_journal_and_asks_no_engine(stack: Stack, hello: dict[str, Any]) -> None:
    session = httpx.post(stack.base_url + "/sessions", json={"email": stack.email, "password": stack.password})
    assert session.status_code == 200, session.text
    by_key = httpx.get(stack.base_url + "/organizations", headers={"authorization": f"Bearer {stack.admin_key}"})
    assert by_key.status_code == 200, by_key.text
    refused = stack.post(hello)
    assert (refused.status_code, refused.json()["error"]["code"]) == (404, "http_404")
    assert not list(stack.journal.glob("*/*")), "no journal"
    assert "inferhouse_journal_bytes" not in httpx.get(stack.router.url + "/metrics").text
    assert httpx.get(stack.router.url + "/health/ready").json() == {"status": "ready", "reasons": {}}


@pytest.mark.parametrize("router_env", ["inference"], indirect=True)
def test_an_inference_process_has_no_management_api(stack: Stack, hello: dict[str, Any]) -> None:
    assert stack.post(hello).status_code == 200
    assert httpx.post(stack.base_url + "/sessions", json={"email": stack.email, "password": "x"}).status_code == 404
    paths = httpx.get(stack.router.url + "/openapi.json").json()["paths"]
    assert {path for path in paths if path.startswith("/v1/") and "models" not in path} <= SHAPES.keys() <= paths.keys()


@pytest.mark.parametrize(
    ("env", "named"),
    [
        (NEEDED, "ROUTER_MANAGEMENT_DATABASE_URL"),
        (NEEDED | {"ROUTER_MANAGEMENT_DATABASE_URL": "postgresql://nowhere/none"}, "ROUTER_SESSION_SECRET"),
        (NEEDED | {"ROUTER_SERVES": "everything"}, "ROUTER_SERVES"),
    ],
)
def test_a_setting_that_is_needed_is_named(env: dict[str, str], named: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "router"], env={"PATH": os.environ["PATH"], **env}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert named in done.stderr


@pytest.mark.parametrize("router_env", ["inference"], indirect=True)
def test_a_database_of_an_older_version_is_told_from_one_that_is_away(stack: Stack, hello: dict[str, Any]) -> None:
    stack.router.stop()
    stack.db.execute("alter table control.model_aliases rename column stages to older")
    stack.db.commit()
    stack.router.ready_path = "/health/live"
    stack.router.start()
    says = httpx.get(stack.router.url + "/health/ready")
    assert says.status_code == 503
    assert says.json()["reasons"]["catalogue"] == (
        "not read yet: the database refuses what is asked of it (UndefinedColumn): are this version's migrations applied?"
    )
    refused = stack.post(hello)
    assert (refused.status_code, refused.json()["error"]["code"]) == (503, "not_ready")
    assert "stages" in stack.router.log.read_text()
    stack.db.execute("alter table control.model_aliases rename column older to stages")
    stack.db.commit()
    deadline = time.monotonic() + READ_S_MAX
    while stack.post(hello).status_code != 200:
        assert time.monotonic() < deadline, stack.router.log.read_text()
        time.sleep(0.1)
