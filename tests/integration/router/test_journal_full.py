"""A journal that takes nothing more: requests are refused at once, nothing is used up by that, and it ends by itself."""

import time
from typing import Any

import httpx
import pytest

from tests.integration.router.conftest import Stack
from tests.proxy import TcpProxy

CONNECTIONS_MAX = 3
REFUSALS = 5 * CONNECTIONS_MAX
REFUSED_S_MAX = 1.0  # a request that cannot be recorded waits for nothing


@pytest.fixture
def router_env() -> dict[str, str]:
    return {"ROUTER_JOURNAL_BYTES_MAX": "4000", "ROUTER_ENGINE_CONNECTIONS_MAX": str(CONNECTIONS_MAX)}


def test_a_full_journal_refuses_at_once_and_takes_no_connection_with_it(
    stack: Stack, database_line: TcpProxy, hello: dict[str, Any]
) -> None:
    assert stack.post(hello).status_code == 200  # the key is known from now on
    stack.rows(1)
    database_line.cut()
    answered = 1
    while (answer := stack.post(hello)).status_code == 200:
        answered += 1
        assert answered < 100, "the journal has a bound"
    assert answered > 1
    for number in range(REFUSALS):
        began = time.monotonic()
        answer = stack.post(hello | {"stream": number % 2 == 0})
        assert (answer.status_code, answer.json()["error"]["code"]) == (503, "usage_journal_full"), answer.text
        assert time.monotonic() - began < REFUSED_S_MAX
    assert "journal" in httpx.get(stack.router.url + "/health/ready").text
    database_line.mend()
    stack.rows(answered)
    assert (answer := stack.post(hello)).status_code == 200, answer.text
    stack.rows(answered + 1)
    assert len(stack.ledger()["requests"]) == answered + 1, "no engine was asked for what was refused"
