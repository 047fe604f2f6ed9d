"""A price that becomes known while a request is under way is not the price of that request."""

import threading
import time
from typing import Any

import httpx
import pytest

from tests.integration.router.conftest import Stack
from tests.integration.router.test_failover import second  # noqa: F401 - a fixture
from tests.processes import ServerProcess

FIRST_TOKEN_S = 2.0
OUTPUT_PICOUSD = 10**5
SEEN_S = 1.0  # a change of the price book is in every router by then


@pytest.fixture
def engine_flags() -> list[str]:
    """The first engine begins no answer."""
    return ["--fault-probability", "1", "--faults", "stall-first"]


@pytest.fixture
def router_env() -> dict[str, str]:
    return {"ROUTER_FIRST_TOKEN_S_MAX": str(FIRST_TOKEN_S)}


def test_another_attempt_costs_no_more_than_what_is_held(
    stack: Stack,
    second: ServerProcess,  # noqa: F811
    hello: dict[str, Any],
) -> None:
    def set_price(times: int) -> None:
        stack.db.execute(
            "update control.prices set output_picousd = %s"
            " where model_id = (select id from control.models where name = 'simulated')",
            [times * OUTPUT_PICOUSD],
        )
        stack.db.commit()
        time.sleep(SEEN_S)

    def ask() -> None:
        answers.append(stack.post(hello))

    answers: list[httpx.Response] = []
    for _ in range(20):  # until one is sent to the first engine first
        set_price(1)
        asking = threading.Thread(target=ask)
        asking.start()
        time.sleep(0.2)
        set_price(1000)
        asking.join()
        assert answers[-1].status_code == 200
        if answers[-1].headers["x-inferhouse-attempts"] == "2":
            break
    assert answers[-1].headers["x-inferhouse-attempts"] == "2"
    output = answers[-1].json()["usage"]["completion_tokens"]
    assert float(answers[-1].headers["x-inferhouse-cost-usd"]) < output * 1000 * OUTPUT_PICOUSD / 1e12
