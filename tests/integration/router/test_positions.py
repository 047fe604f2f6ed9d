"""How far a router's rows are complete, while requests have begun and have no row yet."""

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any

import pytest

from tests.integration.router.conftest import Stack

BUSY_S = 9


@pytest.fixture
def router_env(request: pytest.FixtureRequest) -> dict[str, str]:
    return getattr(request, "param", {})


def test_rows_are_complete_up_to_the_start_of_a_request_that_waits(stack: Stack, hello: dict[str, Any]) -> None:
    """In the queue, for an engine that has asked to be left alone."""
    assert stack.post(hello, headers={"x-simulated-fault": f"503={BUSY_S}"}).status_code == 503
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(stack.post, hello)
        time.sleep(1)
        assert stack.post(hello | {"model": "nobody serves it"}).status_code == 404  # its row brings the position on
        stack.rows(2)
        complete_to = _complete_to(stack)
        assert not waiting.done(), "or this says nothing"
        assert waiting.result().status_code == 200
    [row] = [row for row in stack.rows(3) if row["status"] == "completed"]
    assert complete_to == row["started_at"]
    assert _complete_to(stack) > complete_to


@pytest.mark.parametrize("router_env", [{"ROUTER_FLUSH_INTERVAL_S": "3600"}], indirect=True)
def test_a_worker_that_has_just_begun_is_complete_to_its_beginning_and_no_further(stack: Stack, hello: dict[str, Any]) -> None:
    """Its rows may wait for long, as where its line to the database breaks just then; without a position nobody knew of them."""
    began_at = _complete_to(stack)
    assert stack.post(hello).status_code == 200
    assert stack.rows(0) == []
    assert _complete_to(stack) == began_at
    stack.router.stop()
    assert began_at < stack.row()["started_at"]
    assert stack.db.execute("select count(*) from raw.journal_positions").fetchone() == (0,)


def _complete_to(stack: Stack) -> datetime:
    row = stack.db.execute("select min(complete_to) from raw.journal_positions").fetchone()
    stack.db.commit()
    assert row is not None
    at: datetime | None = row[0]
    assert at is not None, "no worker has a position"
    return at
