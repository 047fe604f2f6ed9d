"""An engine on trial that is worse than the others gets no more requests, and the catalogue says why."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest

from router.inference.canary import REQUESTS_MIN
from tests.integration.router.conftest import Stack
from tests.processes import ServerProcess, running, simulated_engine
from tests.services import free_port

STOPPED_S_MAX = 5.0


@contextmanager
def canary(stack: Stack, log: Path, *flags: str) -> Iterator[ServerProcess]:
    """With half of the requests, so that few are enough."""
    with running(simulated_engine(free_port(), log, *flags)) as engine:
        stack.db.execute(
            "insert into control.engines (name, kind, base_url, model_id, canary_percent)"
            " select 'engine-canary', 'simulated', %s, id, 50 from control.models where name = 'simulated'",
            [engine.url],
        )
        stack.db.commit()
        deadline = time.monotonic() + STOPPED_S_MAX
        while httpx.get(stack.router.url + "/metrics").text.count("inferhouse_engine_up{") < 2:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        yield engine


def stopped_why(stack: Stack) -> str | None:
    row = stack.db.execute("select canary_stopped_why from control.engines where name = 'engine-canary'").fetchone()
    stack.db.commit()
    assert row is not None
    why: str | None = row[0]
    return why


def ask(stack: Stack, body: dict[str, Any], count: int) -> None:
    with ThreadPoolExecutor(8) as pool:
        bodies = [body | {"user": f"person {number}"} for number in range(count)]
        assert {answer.status_code for answer in pool.map(stack.post, bodies)} == {200}


@pytest.mark.parametrize(
    ("flags", "stream", "why"),
    [
        (["--ttft-ms", "200"], True, "its median first byte came after "),
        (["--ttft-ms", "200"], False, "its median answer took "),
        (["--tokens-per-second", "60"], False, "its median answer took "),
        (["--fault-probability", "1", "--faults", "500"], False, " of its requests failed, of the others' 0.0%"),
    ],
)
def test_a_worse_engine_is_stopped(
    stack: Stack, hello: dict[str, Any], tmp_path: Path, flags: list[str], stream: bool, why: str
) -> None:
    with canary(stack, tmp_path / "canary.log", *flags) as engine:
        ask(stack, hello | {"stream": stream}, 4 * REQUESTS_MIN)
        deadline = time.monotonic() + STOPPED_S_MAX
        while (said := stopped_why(stack)) is None:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert why in said
        before = calls(engine)
        ask(stack, hello | {"stream": stream}, 20)
        assert calls(engine) == before


def test_one_that_is_as_good_stays(stack: Stack, hello: dict[str, Any], tmp_path: Path) -> None:
    with canary(stack, tmp_path / "canary.log") as engine:
        ask(stack, hello, 4 * REQUESTS_MIN)
        before = calls(engine)
        time.sleep(2)
        assert stopped_why(stack) is None
        ask(stack, hello, 40)
        assert calls(engine) > before


def test_one_that_nobody_waits_for_is_stopped(stack: Stack, hello: dict[str, Any], tmp_path: Path) -> None:
    """It hangs, its probes are well, and its clients leave before that counts as a failure."""

    def ask_and_leave(number: int) -> None:
        body = hello | {"stream": True, "max_tokens": 1, "user": f"person {number}"}
        key = {"authorization": f"Bearer {stack.api_key}"}
        with suppress(httpx.ReadTimeout):
            httpx.post(f"{stack.base_url}/chat/completions", json=body, headers=key, timeout=2)

    with canary(stack, tmp_path / "canary.log", "--ttft-ms", "60000") as engine:
        with ThreadPoolExecutor(32) as pool:
            list(pool.map(ask_and_leave, range(160)))
        deadline = time.monotonic() + STOPPED_S_MAX
        while (said := stopped_why(stack)) is None:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert said.startswith("its median first byte came after ")
        before = calls(engine)
        ask(stack, hello, 20)
        assert calls(engine) == before


def calls(engine: ServerProcess) -> int:
    return int(httpx.get(engine.url + "/simulated/ledger").json()["totals"]["calls"])
