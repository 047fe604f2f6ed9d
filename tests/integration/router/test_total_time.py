"""A request takes no longer than ROUTER_TOTAL_S_MAX, whatever it waits for before an engine has it."""

import threading
import time
from typing import Any

import openai
import psycopg
import pytest

from router.inference.reservations.refusals import BudgetHeld
from tests.factories import Tenant
from tests.integration.router.callers import demo
from tests.integration.router.conftest import Stack
from tests.integration.router.reservations_world import USD, Workers, add_budget, caller_of, most
from tests.routing_world import in_loop
from warehouse.base.clock import now

TOTAL_S, WAIT_S = 5, 3
APPLIED_S_MAX = 1.0


@pytest.fixture
def engine_flags() -> list[str]:
    """A stream of `MOST` takes 12 seconds."""
    return ["--tokens-per-second", "50"]


MOST = 600


@pytest.fixture
def router_env() -> dict[str, str]:
    return {"ROUTER_TOTAL_S_MAX": str(TOTAL_S)}


def test_what_a_request_waits_for_a_budget_is_part_of_its_time(stack: Stack, hello: dict[str, Any]) -> None:
    query = "select output_picousd from control.prices join control.models on models.id = model_id where models.name = %s"
    price = stack.db.execute(query, [hello["model"]]).fetchone()
    assert price is not None
    add_budget(stack.db, demo(stack), price[0] * MOST * 5 // 3)  # for one, beside what a second one has used by then
    time.sleep(APPLIED_S_MAX)
    body = hello | {"max_tokens": MOST, "stream": True, "extra_body": {"ignore_eos": True}}
    with stack.sdk.chat.completions.create(**body) as holding:
        next(iter(holding))
        leaving = threading.Timer(WAIT_S, holding.close)
        leaving.start()
        began_s = time.monotonic()
        waited = stack.sdk.chat.completions.create(**body)
        first_s = time.monotonic() - began_s
        with pytest.raises(openai.APIError, match="too long"):
            list(waited)
        leaving.join()
    row = max(stack.rows(2), key=lambda row: row["started_at"])
    assert first_s > WAIT_S - 0.5, "or it had nothing to wait for"
    assert (row["status"], row["attempt"]) == ("timed_out", 1)
    assert row["duration_us"] < (TOTAL_S + WAIT_S - 1) * 1e6


def test_a_pause_that_would_take_all_that_is_left_is_not_made(stack: Stack, hello: dict[str, Any]) -> None:
    answer = stack.post(hello, headers={"x-simulated-fault": f"503={TOTAL_S}"})
    assert (answer.status_code, answer.headers["retry-after"]) == (503, str(TOTAL_S))
    assert answer.elapsed.total_seconds() < TOTAL_S - 1
    assert stack.row()["attempt"] == 1


def test_a_request_waits_for_an_engine_no_longer_than_it_may_take(stack: Stack, hello: dict[str, Any]) -> None:
    """The engine has asked to be left alone, for longer than the router lets anybody wait for a place."""
    assert stack.post(hello, headers={"x-simulated-fault": f"503={10 * TOTAL_S}"}).status_code == 503
    answer = stack.post(hello)
    assert answer.status_code in (503, 504), answer.text
    assert answer.elapsed.total_seconds() < 2 * TOTAL_S - 1
    assert [row["attempt"] for row in stack.rows(2)] == [1, 0]


@in_loop
async def test_a_request_waits_for_a_budget_no_longer_than_it_may_take(
    db: psycopg.Connection, tenant: Tenant, workers: Workers
) -> None:
    add_budget(db, tenant, 3 * USD)
    async with workers(wait_s=300) as (one,):
        held = await one.reservations.reserve(caller_of(tenant), one.model_id, now(), most(2 * USD))
        assert held is not None
        for left_s in (0.2, 0.0):
            with pytest.raises(BudgetHeld):
                await one.reservations.reserve(caller_of(tenant), one.model_id, now(), most(2 * USD), left_s=left_s)
        one.reservations.settle(held)
        assert one.reservations.waiting == 0
