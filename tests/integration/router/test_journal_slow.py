"""The disk of the journal takes its time while a router is stopped."""

import threading
import time
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.integration.router.conftest import Stack
from tests.proxy import TcpProxy
from warehouse.access import usage_rows
from warehouse.journal import recover

CANCELLED_S_MAX = 30
LOOP_S = 2.0
_SLOW = """
import os, threading, time

sync, slow, begun = os.fdatasync, {slow!r}, {begun!r}

def fdatasync(file):
    if threading.current_thread() is threading.main_thread():
        time.sleep({loop_s})  # for twenty times as long the thread waits for the disk
        return sync(file)
    while os.path.exists(slow):
        open(begun, "w").close()
        time.sleep(0.01)
    return sync(file)

os.fdatasync = fdatasync
"""


@pytest.fixture
def slow(tmp_path: Path) -> Path:
    """While it exists, no fsync of the router's thread comes to its end; one that has begun makes the file `begun` beside it."""
    return tmp_path / "slow"


@pytest.fixture
def router_env(tmp_path: Path, slow: Path) -> dict[str, str]:
    """Python runs a module of this name before the router."""
    (tmp_path / "fault").mkdir()
    (tmp_path / "fault" / "sitecustomize.py").write_text(
        _SLOW.format(slow=str(slow), begun=str(slow.with_name("begun")), loop_s=LOOP_S)
    )
    # A row that is closed has not gone to the database before the line there is cut.
    return {"PYTHONPATH": str(tmp_path / "fault"), "ROUTER_SHUTDOWN_S_MAX": "1", "ROUTER_FLUSH_INTERVAL_S": "5"}


def _wait_for(what: str, path: Path) -> None:
    deadline = time.monotonic() + CANCELLED_S_MAX
    while not path.exists() or what not in path.read_text():
        assert time.monotonic() < deadline, (what, path)
        time.sleep(0.05)


def test_an_answer_that_is_sent_again_while_its_router_stops_has_one_row(
    stack: Stack, hello: dict[str, Any], database_line: TcpProxy, slow: Path
) -> None:
    stack.db.execute("update control.organizations set answers_kept_s = 3600")
    stack.db.commit()
    time.sleep(0.3)  # the router forgets what it knew of the organization's keys
    headers = {"authorization": f"Bearer {stack.api_key}", "idempotency-key": str(uuid4())}
    url = stack.base_url + "/chat/completions"
    assert httpx.post(url, json=hello, headers=headers, timeout=60).status_code == 200
    stack.rows(1)
    slow.touch()

    def again() -> None:
        with pytest.raises(httpx.RemoteProtocolError):
            httpx.post(url, json=hello, headers=headers, timeout=60)

    asking = threading.Thread(target=again)
    asking.start()
    _wait_for("", slow.with_name("begun"))
    database_line.cut()  # or it would keep the first row of two and say nothing
    stopping = threading.Thread(target=stack.router.stop)
    stopping.start()
    _wait_for("Cancel 1 running task", stack.router.log)
    time.sleep(0.3)
    slow.unlink()
    stopping.join()
    asking.join()
    kept = map(usage_rows.decode, recover(stack.journal / "0").closed)
    assert [row.charge_class for row in kept if row.charge_class != "charged"] == ["free_replayed"]
    database_line.mend()
    stack.router.start()
    assert [row["charge_class"] for row in stack.rows(2)] == ["charged", "free_replayed"]


def test_nobody_has_the_end_of_an_answer_before_its_row_is_on_the_disk(stack: Stack, hello: dict[str, Any], slow: Path) -> None:
    """Nor of a refusal, by an engine or before any; and an answer that is sent again has a row of its own."""
    stack.db.execute("update control.organizations set answers_kept_s = 3600")
    stack.db.commit()
    time.sleep(0.3)  # the router forgets what it knew of the organization's keys
    kept = {"idempotency-key": str(uuid4())}
    assert stack.post(hello, headers=kept).status_code == 200
    asked: dict[str, tuple[dict[str, Any], dict[str, str], int]] = {
        "whole": (hello, {}, 200),
        "whole, with a key": (hello, {"idempotency-key": str(uuid4())}, 200),
        "stream": (hello | {"stream": True}, {}, 200),
        "stream, with a key": (hello | {"stream": True}, {"idempotency-key": str(uuid4())}, 200),
        "cut": (hello | {"stream": True}, {"x-simulated-fault": "die=2"}, 200),
        "sent again": (hello, kept, 200),
        "refused by the engine": (hello, {"x-simulated-fault": "no fault that there is"}, 400),
        "refused before": (hello | {"model": "none"}, {}, 404),
    }
    statuses: dict[str, int] = {}

    def ask(name: str) -> None:
        body, headers, _ = asked[name]
        statuses[name] = stack.post(body, headers=headers).status_code

    slow.touch()
    asking = [threading.Thread(target=ask, args=[name]) for name in asked]
    for one in asking:
        one.start()
    _wait_for("", slow.with_name("begun"))
    time.sleep(2)
    had = dict(statuses)
    slow.unlink()
    for one in asking:
        one.join()
    assert had == {}, "the disk has none of their rows"
    assert statuses == {name: status for name, (_, _, status) in asked.items()}
