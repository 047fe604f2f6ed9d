"""Rows against vLLM's own counters: mixed requests of every kind that generates, some of which are left in the middle.

`PARITY_REQUESTS=2000 pytest tests/e2e/test_vllm_parity.py -s` is the long run; it prints what it found.
"""

import os
import random
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import psycopg
import pytest

from engines.load import EngineLoad, parse_load

REQUESTS = int(os.environ.get("PARITY_REQUESTS", "60"))
AT_ONCE = 8
LEFT_SHARE = 0.1
OVERHANG_TOKENS_MAX = 24  # that an engine makes of a call whose client has left, before it knows
ROWS_S_MAX = 30.0
TURN = [{"role": "user", "content": "Tell me something about houses and gardens, please."}]
BODIES: dict[str, dict[str, Any]] = {
    "chat/completions": {"messages": TURN, "max_tokens": 24},
    "completions": {"prompt": "Houses and gardens", "max_tokens": 24},
    "responses": {"input": "Tell me something about houses.", "max_output_tokens": 24},
    "messages": {"messages": TURN, "max_tokens": 24},
}


@pytest.fixture
def db(stack: Mapping[str, str]) -> Iterator[psycopg.Connection]:
    with psycopg.connect(stack["INFERHOUSE_DATABASE_URL"], autocommit=True) as conn:
        yield conn


def test_rows_have_what_vllm_has_counted(stack: Mapping[str, str], db: psycopg.Connection, capsys: Any) -> None:
    row = db.execute("select base_url from control.engines where kind = 'vllm' and enabled").fetchone()
    assert row is not None, "there is no vLLM on this machine, and the end-to-end tests need it"
    since = db.execute("select now()").fetchone()
    before, chance = _settled(row[0]), random.Random(7)
    plans = [
        (path, stream, stream and chance.random() < 2 * LEFT_SHARE, chance.randrange(1, 6))
        for path, stream in (((*BODIES,)[chance.randrange(4)], chance.random() < 0.5) for _ in range(REQUESTS))
    ]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        list(pool.map(lambda plan: _ask(stack, *plan), plans))
    after = _settled(row[0])
    left = sum(leaves for _, _, leaves, _ in plans)
    found = _rows(db, since, len(plans))
    made = after.prompt_tokens - before.prompt_tokens, after.generation_tokens - before.generation_tokens
    missing = made[1] - found["output_tokens"]
    with capsys.disabled():
        print(
            f"\n{len(plans)} requests, {left} of them left: rows {found}; vLLM {made[0]} prompt and {made[1]} generated tokens;"
            f" {missing} generated for clients that had left, {missing / made[1]:.3%} of all"
        )
    assert found["requests"] == len(plans)
    # A Responses stream states its input at its end only: of one that was left it is not known.
    unstated = found["responses_left"] * found["responses_input"]
    assert found["input_tokens"] + unstated == made[0]
    assert 0 <= missing <= left * OVERHANG_TOKENS_MAX
    if not left:
        assert missing == 0


def _ask(stack: Mapping[str, str], path: str, stream: bool, leaves: bool, events: int) -> None:
    body = {"model": stack["INFERHOUSE_MODEL"], "stream": stream} | BODIES[path]
    headers = {"authorization": f"Bearer {stack['INFERHOUSE_API_KEY']}"}
    url = f"{stack['INFERHOUSE_BASE_URL']}/{path}"
    if not stream:
        assert httpx.post(url, json=body, headers=headers, timeout=120).status_code == 200
        return
    with httpx.stream("POST", url, json=body, headers=headers, timeout=120) as answer:
        assert answer.status_code == 200
        for number, _ in enumerate(line for line in answer.iter_lines() if line.startswith("data:")):
            if leaves and number >= events:
                break


def _rows(db: psycopg.Connection, since: Any, count: int) -> dict[str, int]:
    """Sums over the rows, once they are all there."""
    deadline = time.monotonic() + ROWS_S_MAX
    while True:
        row = db.execute(
            "select json_build_object('requests', count(*), 'input_tokens', sum(input_tokens),"
            " 'output_tokens', sum(output_tokens),"
            " 'responses_left', count(*) filter (where endpoint = 'responses' and input_tokens = 0),"
            " 'responses_input', coalesce(max(input_tokens) filter (where endpoint = 'responses'), 0))"
            " from raw.usage_events where started_at >= %s",
            since,
        ).fetchone()
        assert row is not None
        if row[0]["requests"] >= count or time.monotonic() > deadline:
            return dict(row[0])
        time.sleep(0.2)


def _settled(url: str) -> EngineLoad:
    """vLLM's counters when it does nothing any more."""
    last = None
    while True:
        load = parse_load(httpx.get(f"{url}/metrics").text)
        if not load.running and not load.waiting and load == last:
            return load
        last = load
        time.sleep(0.3)
