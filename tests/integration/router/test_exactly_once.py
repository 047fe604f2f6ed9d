"""One row for each call that an engine saw, whatever dies: the router by `kill -9`, the database by a cut line."""

import asyncio
import random
import time
from collections import Counter
from collections.abc import Callable
from typing import Any
from uuid import UUID

import httpx
import pytest

from tests.integration.router.conftest import HELLO, Stack
from tests.proxy import TcpProxy

KILLS = 20
CLIENTS = 50


@pytest.fixture
def engine_flags() -> list[str]:
    return ["--tokens-per-second", "200", "--ttft-ms", "20", "--ttft-jitter", "0.5"]


class Clients:
    """Clients that go on asking until told to stop, and remember which answers they had whole."""

    def __init__(self, stack: Stack) -> None:
        self._url, self._headers = f"{stack.base_url}/chat/completions", {"authorization": f"Bearer {stack.api_key}"}
        self._stop = asyncio.Event()
        self.answered: list[str] = []

    async def run(self, beside: Callable[[], Any]) -> None:
        """Ask, while `beside` runs in a thread."""
        limits = httpx.Limits(max_connections=CLIENTS)
        async with httpx.AsyncClient(timeout=30, limits=limits, headers=self._headers) as client:
            tasks = [asyncio.create_task(self._ask(client, number)) for number in range(CLIENTS)]
            await asyncio.to_thread(beside)
            self._stop.set()
            await asyncio.gather(*tasks)

    async def _ask(self, client: httpx.AsyncClient, number: int) -> None:
        body = HELLO | {"stream": number % 2 == 0, "user": f"client-{number}"}
        while not self._stop.is_set():
            try:
                answer = await client.post(self._url, json=body)
            except httpx.TransportError:
                await asyncio.sleep(0.05)  # the router is away
                continue
            if answer.status_code == 200 and (not body["stream"] or answer.content.endswith(b"[DONE]\n\n")):
                self.answered.append(answer.headers["x-request-id"])


def test_twenty_kills_of_the_router_lose_and_double_nothing(stack: Stack) -> None:
    chance = random.Random(20)
    clients = Clients(stack)

    def kill_and_start() -> None:
        for _ in range(KILLS):
            time.sleep(0.2 + chance.random() * 0.4)
            stack.router.kill()
            stack.router.start()
        time.sleep(0.3)

    asyncio.run(clients.run(kill_and_start))
    _same_books(stack, clients.answered)
    killed = stack.db.execute("select count(*) from raw.usage_events where status = 'router_lost'").fetchone()
    assert killed is not None
    assert killed[0] > 0, "no call was under way at any of the kills: the test shows nothing"


def test_a_database_that_is_away_costs_no_row_and_no_answer(stack: Stack, database_line: TcpProxy, hello: dict[str, Any]) -> None:
    assert stack.post(hello).status_code == 200
    stack.rows(1)
    database_line.cut()
    answers = [stack.post(hello) for _ in range(20)]
    assert [answer.status_code for answer in answers] == [200] * 20
    ready = httpx.get(stack.router.url + "/health/ready")
    assert ready.status_code == 200
    stack.router.kill()  # and the router dies too, with twenty rows that only its journal has
    database_line.mend()
    stack.router.start()
    stack.rows(21)
    _same_books(stack, [answer.headers["x-request-id"] for answer in answers])


def test_an_unknown_key_is_told_that_the_database_is_away(stack: Stack, database_line: TcpProxy, hello: dict[str, Any]) -> None:
    database_line.cut()
    answer = stack.post(hello)
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "not_ready")
    assert int(answer.headers["retry-after"]) > 0


def _same_books(stack: Stack, answered: list[str]) -> None:
    """The engine's ledger and the raw rows say the same."""
    seen = _settled_ledger(stack)
    deadline = time.monotonic() + 15
    while True:  # the last rows are on their way
        rows = {
            (row[0], row[1]): row[2:]
            for row in stack.db.execute(
                "select request_id, attempt, status, input_tokens, output_tokens from raw.usage_events where attempt > 0"
            )
        }
        stack.db.commit()
        missing = {UUID(entry["request_id"]) for entry in seen} - {request_id for request_id, _ in rows}
        if not missing or time.monotonic() > deadline:
            break
        time.sleep(0.1)
    assert not missing, f"{len(missing)} calls that the engine saw have no row"
    calls = Counter(UUID(entry["request_id"]) for entry in seen)
    counted = Counter(request_id for request_id, _ in rows)
    assert {id_: count for id_, count in calls.items() if counted[id_] != count} == {}
    never_sent = [row for (request_id, _), row in rows.items() if request_id not in calls]
    assert {row[0] for row in never_sent} <= {"router_lost"}, "a row without a call of the engine"
    finished = {UUID(entry["request_id"]): entry for entry in seen if entry["state"] == "finished"}
    for request_id in map(UUID, answered):
        status, input_tokens, output_tokens = rows[request_id, 1]
        entry = finished[request_id]
        assert (status, input_tokens, output_tokens) == ("completed", entry["prompt_tokens"], entry["completion_tokens"])
    assert len(answered) == len(set(answered))


def _settled_ledger(stack: Stack) -> list[dict[str, Any]]:
    deadline = time.monotonic() + 10
    while True:
        report = stack.ledger()
        if not report["totals"]["started"]:
            requests: list[dict[str, Any]] = report["requests"]
            return requests
        assert time.monotonic() < deadline, "the engine is still working"
        time.sleep(0.05)
