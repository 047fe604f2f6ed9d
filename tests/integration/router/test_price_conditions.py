"""Prices with conditions: the row has the version and the exact cost that the price book's rule of choice gives."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import psycopg
import pytest
from psycopg.types.json import Jsonb
from psycopg.types.range import Range

from tests.integration.router.callers import demo
from tests.integration.router.conftest import Stack
from tests.integration.router.reservations_world import add_budget
from tests.integration.router.test_engine_words import Engine

KNOWN_S = 0.5  # after which a change that was announced is known
USD = 10**12
Add = Callable[..., int]


@pytest.fixture
def engine_flags() -> list[str]:
    return ["--tokens-per-second", "200"]


@pytest.fixture
def add(stack: Stack) -> Add:
    """`add(priority=1, endpoint="rerank", …)`: one more version of the simulated model's prices, known to the router; its id."""

    def version(**columns: Any) -> int:
        values: dict[str, Any] = {
            "input_picousd": 100_000, "cached_input_picousd": 50_000, "output_picousd": 400_000, "reason": "test",
            "effective": "[2020-01-01 00:00+00,)",
        } | columns  # fmt: skip
        row = stack.db.execute(
            f"insert into control.prices (model_id, {', '.join(values)})"
            f" select id, {', '.join(['%s'] * len(values))} from control.models where name = 'simulated' returning id".encode(),
            list(values.values()),
        ).fetchone()
        stack.db.commit()
        assert row is not None
        time.sleep(KNOWN_S)
        return int(row[0])

    return version


def _call(stack: Stack, path: str, tags: str = "", **body: Any) -> None:
    headers = {"authorization": f"Bearer {stack.api_key}"} | ({"x-inferhouse-tags": tags} if tags else {})
    answer = httpx.post(f"{stack.base_url}/{path}", json={"model": "simulated"} | body, headers=headers, timeout=30)
    assert answer.status_code == 200, answer.text


def _rows(db: psycopg.Connection, stack: Stack, count: int) -> list[tuple[int, int]]:
    """(price id, cost) of each row; and the cost is that of the version by the database's own arithmetic."""
    rows = stack.rows(count)
    for row in rows:
        by_the_book = db.execute(
            "select (%(input_tokens)s - %(cached_input_tokens)s)::numeric * input_picousd"
            " + %(cached_input_tokens)s::numeric * cached_input_picousd"
            " + (%(output_tokens)s - %(reasoning_tokens)s)::numeric * output_picousd"
            " + %(reasoning_tokens)s::numeric * coalesce(reasoning_picousd, output_picousd) + request_picousd"
            " from control.prices where id = %(price_id)s",
            row,
        ).fetchone()
        assert by_the_book == (row["cost_picousd"],)
    return [(row["price_id"], row["cost_picousd"]) for row in rows]


def test_context_tags_endpoint_and_organization_choose_the_version(stack: Stack, add: Add, hello: dict[str, Any]) -> None:
    db = stack.db
    listed = db.execute("select p.id from control.prices p join control.models m on m.id = model_id where name = 'simulated'")
    (list_price,) = listed.fetchone() or (0,)
    long = add(priority=2, input_tokens_range=Range(200, None), input_picousd=200_000, output_picousd=800_000)
    batch = add(priority=1, tags=Jsonb({"service": "batch"}), input_picousd=50_001, cached_input_picousd=0)
    unit = add(
        priority=3, endpoint="rerank", input_picousd=0, cached_input_picousd=0, output_picousd=0, request_picousd=2_000_000_000
    )
    much = [{"role": "user", "content": "Say hello to the house. " * 40}]
    calls: list[tuple[int, dict[str, Any]]] = [
        (list_price, {"path": "chat/completions", **hello}),
        (long, {"path": "chat/completions", **hello, "messages": much}),
        (batch, {"path": "chat/completions", "tags": "service=batch,team=search", **hello}),
        (batch, {"path": "chat/completions", "metadata": {"service": "batch"}, **hello}),
        (list_price, {"path": "chat/completions", "tags": "service=online", **hello}),
        (long, {"path": "chat/completions", "tags": "service=batch", **hello, "messages": much}),
        (unit, {"path": "rerank", "query": "a house", "documents": ["a", "b"]}),
        (batch, {"path": "embeddings", "tags": "service=batch", "input": "a house"}),
    ]
    for _, call in calls:
        _call(stack, **call)
    assert [price_id for price_id, _ in _rows(db, stack, len(calls))] == [price_id for price_id, _ in calls]
    assert stack.rows(len(calls))[6]["cost_picousd"] == 2_000_000_000
    own = add(org_id=demo(stack).org_id, input_picousd=7, request_picousd=1)
    for call in (calls[1][1], calls[6][1]):
        _call(stack, **call)
    assert [price_id for price_id, _ in _rows(db, stack, len(calls) + 2)][-2:] == [own, own]


def test_a_stream_and_a_client_that_leaves_are_priced_by_what_was_counted(stack: Stack, add: Add, hello: dict[str, Any]) -> None:
    add(priority=1, input_tokens_range=Range(1, 20), request_picousd=5, input_picousd=3, output_picousd=2)
    small = {"messages": [{"role": "user", "content": "Hi"}], "max_tokens": 4}
    stack.post(hello | small | {"stream": True})
    with httpx.stream(
        "POST", f"{stack.base_url}/chat/completions", json=hello | small | {"stream": True, "max_tokens": 8000},
        headers={"authorization": f"Bearer {stack.api_key}"},
    ) as stream:  # fmt: skip
        next(stream.iter_bytes())
    rows = stack.rows(2)
    assert [row["status"] for row in rows] == ["completed", "client_closed"]
    assert len({price_id for price_id, _ in _rows(stack.db, stack, 2)}) == 1


@pytest.fixture
def reasoning_engine(stack: Stack) -> Iterator[Engine]:
    """In the place of the simulated engine: it has thought with three of seven output tokens."""
    usage = {"prompt_tokens": 10, "completion_tokens": 7, "total_tokens": 17}
    details = {"prompt_tokens_details": {"cached_tokens": 4}, "completion_tokens_details": {"reasoning_tokens": 3}}
    choice = {"index": 0, "message": {"role": "assistant", "content": "a"}, "finish_reason": "stop"}
    with Engine() as server:
        body = {"id": "x", "object": "chat.completion", "choices": [choice], "usage": usage | details}
        server.answer = (200, "application/json", json.dumps(body).encode())
        threading.Thread(target=server.serve_forever, daemon=True).start()
        stack.db.execute("update control.engines set base_url = %s", [f"http://127.0.0.1:{server.server_port}"])
        stack.db.commit()
        time.sleep(KNOWN_S)
        yield server
        server.shutdown()


@pytest.mark.usefixtures("reasoning_engine")
def test_reasoning_tokens_have_a_price_of_their_own(stack: Stack, add: Add, hello: dict[str, Any]) -> None:
    stack.post(hello)
    add(priority=1, endpoint="chat.completions", reasoning_picousd=1_000_000, request_picousd=11)
    stack.post(hello)
    costs = [cost for _, cost in _rows(stack.db, stack, 2)]
    assert costs == [
        6 * 100_000 + 4 * 50_000 + 7 * 400_000,
        6 * 100_000 + 4 * 50_000 + 4 * 400_000 + 3 * 1_000_000 + 11,
    ]


def test_a_hold_is_for_the_dearest_version_that_the_request_may_have(stack: Stack, add: Add, hello: dict[str, Any]) -> None:
    """Its tokens are not counted yet, so it may be in the dear tier; with more room in the budget it is let through."""
    dear = add(priority=1, input_tokens_range=Range(30, None), request_picousd=USD)
    budget = add_budget(stack.db, demo(stack), USD // 2)
    time.sleep(KNOWN_S)
    refused = stack.post(hello | {"max_tokens": 1})
    assert (refused.status_code, refused.json()["error"]["code"]) == (429, "budget_exceeded")
    stack.db.execute("update control.budgets set limit_picousd = %s where id = %s", [2 * USD, budget])
    stack.db.commit()
    time.sleep(KNOWN_S)
    assert stack.post(hello | {"max_tokens": 1}).status_code == 200
    first, second = stack.rows(2)
    assert (first["charge_class"], second["price_id"] != dear, second["cost_picousd"] < USD) == ("free_refused", True, True)
    assert stack.post(hello | {"max_tokens": 1}).status_code == 200, "what was held for the dear tier is free again"
