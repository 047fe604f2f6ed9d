"""How far a router's rows are complete, while requests have begun and have no row yet."""

import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any, LiteralString

import pytest
from psycopg.sql import SQL, Identifier

from tests.integration.router.callers import add_key, demo
from tests.integration.router.conftest import ROWS_S_MAX, Stack

BUSY_S = 9
TRIES = 5
REFUSED: LiteralString = "select count(*) from raw.usage_events where http_status = 404"


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


@pytest.mark.parametrize("table", ["raw.idempotent_answers", "control.api_keys"])
def test_rows_are_complete_up_to_the_start_of_a_request_that_waits_for_the_database(
    stack: Stack, hello: dict[str, Any], table: str
) -> None:
    """For its Idempotency-Key, or for its key: it has no row yet, and will have one that began before others' rows."""
    tenant, is_waiting = demo(stack), False
    assert stack.post(hello).status_code == 200  # its key is known from now on
    with ThreadPoolExecutor(1) as pool:
        for number in range(TRIES):  # a slow machine takes longer than the request waits
            key = add_key(stack, tenant.org_id, tenant.project_id, ["inference"]) if table == "control.api_keys" else None
            stack.db.execute(SQL("lock table {} in access exclusive mode").format(Identifier(*table.split("."))))
            waiting = pool.submit(stack.post, hello, key=key, headers={} if key else {"idempotency-key": str(number)})
            time.sleep(0.5)
            assert stack.post(hello | {"model": "nobody serves it"}).status_code == 404
            until_s = time.monotonic() + ROWS_S_MAX
            while stack.db.execute(REFUSED).fetchone() == (number,) and time.monotonic() < until_s:
                time.sleep(0.02)
            found = stack.db.execute("select min(complete_to) from raw.journal_positions").fetchone()
            is_waiting = not waiting.done()
            stack.db.commit()
            answer = waiting.result()
            if is_waiting:
                break
    assert found is not None
    assert is_waiting, "or this says nothing"
    rows = {str(row["request_id"]): row for row in stack.rows(1 + 2 * (number + 1))}
    assert found[0] <= rows[answer.headers["x-request-id"]]["started_at"]


def _complete_to(stack: Stack) -> datetime:
    row = stack.db.execute("select min(complete_to) from raw.journal_positions").fetchone()
    stack.db.commit()
    assert row is not None
    at: datetime | None = row[0]
    assert at is not None, "no worker has a position"
    return at
