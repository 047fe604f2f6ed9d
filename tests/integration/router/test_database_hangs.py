"""A database that breaks no connection and answers nothing: no request waits for it for long, and no stop."""

import signal
import threading
import time
from typing import Any
from uuid import uuid4

import httpx
import pytest

from router.__main__ import ENDING_S_MAX
from tests.integration.router.conftest import Stack
from tests.proxy import TcpProxy

GIVEN_UP_S_MAX = 20  # far above the three seconds that there are, on a slow machine; far below for ever
SHUTDOWN_S = 1


@pytest.fixture
def engine_flags() -> list[str]:
    """An answer takes about two seconds."""
    return ["--tokens-per-second", "12"]


@pytest.fixture
def router_env() -> dict[str, str]:
    return {"ROUTER_SHUTDOWN_S_MAX": str(SHUTDOWN_S)}


def _ask_once(stack: Stack, body: dict[str, Any], key: str) -> httpx.Response:
    headers = {"authorization": f"Bearer {stack.api_key}", "idempotency-key": key}
    return httpx.post(f"{stack.base_url}/chat/completions", json=body, headers=headers, timeout=GIVEN_UP_S_MAX)


def test_a_key_that_cannot_be_claimed_is_told_of_soon_and_is_free_afterwards(
    stack: Stack, hello: dict[str, Any], database_line: TcpProxy
) -> None:
    assert stack.post(hello).status_code == 200
    stack.rows(1)
    key = str(uuid4())
    database_line.hang()
    answer = _ask_once(stack, hello, key)
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "not_ready")
    assert answer.headers["retry-after"] == "1"
    database_line.mend()
    stack.rows(2)
    assert _ask_once(stack, hello, key).status_code == 200
    assert "never retrieved" not in stack.router.log.read_text()


@pytest.mark.parametrize("is_stream", [False, True], ids=["whole", "stream"])
def test_an_answer_is_not_kept_back_until_its_key_is_finished(
    stack: Stack, hello: dict[str, Any], database_line: TcpProxy, is_stream: bool
) -> None:
    assert stack.post(hello).status_code == 200
    stack.rows(1)
    answers: list[httpx.Response] = []
    asking = threading.Thread(target=lambda: answers.append(_ask_once(stack, hello | {"stream": is_stream}, str(uuid4()))))
    asking.start()
    deadline = time.monotonic() + GIVEN_UP_S_MAX
    while len(stack.ledger()["requests"]) < 2:  # the key is claimed
        assert time.monotonic() < deadline
        time.sleep(0.02)
    database_line.hang()
    asking.join()
    (answer,) = answers
    assert answer.status_code == 200, answer.text
    assert answer.text.endswith("data: [DONE]\n\n") if is_stream else answer.json()["choices"]
    database_line.mend()
    stack.rows(2)


def test_a_router_that_is_told_to_stop_ends_and_the_next_one_writes_its_rows(
    stack: Stack, hello: dict[str, Any], database_line: TcpProxy
) -> None:
    assert stack.post(hello).status_code == 200
    stack.rows(1)
    database_line.hang()
    assert [stack.post(hello).status_code for _ in range(3)] == [200] * 3
    assert stack.router.process is not None
    stack.router.process.send_signal(signal.SIGTERM)
    stack.router.process.wait(SHUTDOWN_S + ENDING_S_MAX + GIVEN_UP_S_MAX)
    stack.router.process = None
    assert "has not ended in time" in stack.router.log.read_text()
    database_line.mend()
    stack.router.start()
    assert [row["charge_class"] for row in stack.rows(4)] == ["charged"] * 4
