"""How far a router's rows are complete, while requests have begun and have no row yet."""

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any

from tests.integration.router.conftest import Stack

BUSY_S = 9


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


def _complete_to(stack: Stack) -> datetime:
    row = stack.db.execute("select min(complete_to) from raw.journal_positions").fetchone()
    stack.db.commit()
    assert row is not None
    at: datetime = row[0]
    return at
