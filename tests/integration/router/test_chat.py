"""A chat completion through the router: the engine's answer, and one exact row."""

import json
import time
from datetime import timedelta
from decimal import Decimal
from typing import Any

import httpx
import openai
import pytest

from tests.integration.router.conftest import Stack


def test_an_answer_costs_one_row_with_the_engines_own_counts(stack: Stack, hello: dict[str, Any]) -> None:
    answer = stack.sdk.chat.completions.create(**hello, user="end-user-7")
    row = stack.row()
    assert answer.usage is not None
    assert (row["input_tokens"], row["output_tokens"]) == (answer.usage.prompt_tokens, answer.usage.completion_tokens)
    assert (row["status"], row["http_status"], row["token_source"], row["charge_class"]) == (
        "completed", 200, "engine", "charged",
    )  # fmt: skip
    assert (row["attempt"], row["end_user"], row["stream"], row["endpoint"]) == (1, "end-user-7", False, "chat.completions")
    assert row["finish_reason"] == answer.choices[0].finish_reason
    assert row["model_asked"] is None, "it is the name of the model"
    named = "select models.name, engines.name from control.models, control.engines where models.id = %s and engines.id = %s"
    assert stack.db.execute(named, [row["model_id"], row["engine_id"]]).fetchone() == ("simulated", "engine-simulated")
    assert row["finished_at"] - row["started_at"] == timedelta(microseconds=row["duration_us"])
    assert 0 < row["overhead_us"] < row["duration_us"]
    (entry,) = stack.ledger()["requests"]
    assert entry["request_id"] == str(row["request_id"])
    assert (entry["prompt_tokens"], entry["completion_tokens"]) == (row["input_tokens"], row["output_tokens"])


def test_cost_is_the_price_of_the_tokens_to_the_pico_dollar(stack: Stack, hello: dict[str, Any]) -> None:
    stack.post(hello)
    row = stack.row()
    price = stack.db.execute(
        "select input_picousd, cached_input_picousd, output_picousd from control.prices where id = %s", [row["price_id"]]
    ).fetchone()
    assert price is not None
    uncached = row["input_tokens"] - row["cached_input_tokens"]
    assert row["cost_picousd"] == uncached * price[0] + row["cached_input_tokens"] * price[1] + row["output_tokens"] * price[2]
    assert Decimal(row["cost_picousd"]) > 0


def test_the_answer_is_the_engines_byte_for_byte(stack: Stack, hello: dict[str, Any]) -> None:
    body = hello | {"seed": 7, "some_field_of_tomorrow": {"deep": [1, 2.50, None]}}
    mine = stack.post(body)
    direct = httpx.post(stack.engine.url + "/v1/chat/completions", json=body)
    keep = ("choices", "usage", "model", "object")
    assert {name: mine.json()[name] for name in keep if name != "usage"} == {
        name: direct.json()[name] for name in keep if name != "usage"
    }


def test_the_request_id_is_in_the_answer_and_in_the_row(stack: Stack, hello: dict[str, Any]) -> None:
    answer = stack.post(hello)
    assert answer.headers["x-request-id"] == str(stack.row()["request_id"])


@pytest.mark.parametrize(
    ("asked", "in_chunks", "at_end"),
    [
        (None, False, False),
        ({"include_usage": False}, False, False),
        ({"include_usage": True}, False, True),
        ({"include_usage": True, "continuous_usage_stats": True}, True, True),
    ],
)
def test_a_stream_shows_usage_only_where_the_client_asked(
    stack: Stack, hello: dict[str, Any], asked: dict[str, bool] | None, in_chunks: bool, at_end: bool
) -> None:
    body = hello | {"stream": True} | ({} if asked is None else {"stream_options": asked})
    events = _events(stack.post(body).content)
    assert events[-1] == b"[DONE]"
    chunks = [json.loads(event) for event in events[:-1]]
    with_choices = [chunk for chunk in chunks if chunk["choices"]]
    assert all((chunk.get("usage") is not None) == in_chunks for chunk in with_choices)
    assert len(chunks) - len(with_choices) == int(at_end)
    row = stack.row()
    assert (row["status"], row["token_source"], row["stream"]) == ("completed", "engine", True)
    assert row["output_tokens"] > 0
    assert row["ttft_us"] is not None
    if at_end:
        assert (chunks[-1]["usage"]["prompt_tokens"], chunks[-1]["usage"]["completion_tokens"]) == (
            row["input_tokens"], row["output_tokens"],
        )  # fmt: skip


def test_a_stream_says_what_the_engine_said(stack: Stack, hello: dict[str, Any]) -> None:
    asked = hello | {"stream": True, "stream_options": {"include_usage": True, "continuous_usage_stats": True}}
    mine = _events(stack.post(asked).content)
    direct = _events(httpx.post(stack.engine.url + "/v1/chat/completions", json=asked).content)
    assert [_text(event) for event in mine] == [_text(event) for event in direct]


def test_models_are_those_that_a_healthy_engine_serves(stack: Stack) -> None:
    assert [model.id for model in stack.sdk.models.list()] == ["simulated"]
    assert stack.sdk.models.retrieve("simulated").owned_by == "inferhouse"
    with pytest.raises(openai.NotFoundError):
        stack.sdk.models.retrieve("smollm2-135m-instruct")


def test_a_price_change_holds_from_its_instant(stack: Stack, hello: dict[str, Any]) -> None:
    stack.post(hello)
    stack.rows(1)
    stack.db.execute(
        "update control.prices set effective = tstzrange(lower(effective), now()) "
        "where model_id = (select id from control.models where name = 'simulated')"
    )
    stack.db.execute(
        "insert into control.prices (model_id, input_picousd, cached_input_picousd, output_picousd, effective, reason) "
        "select id, 7, 7, 7, tstzrange(now(), null), 'test' from control.models where name = 'simulated'"
    )
    stack.db.commit()
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:  # the change is announced; every worker has it within a second
        stack.post(hello)
        row = stack.db.execute(
            "select input_tokens, output_tokens, cost_picousd from raw.usage_events order by started_at desc limit 1"
        ).fetchone()
        stack.db.commit()
        if row is not None and row[2] == (row[0] + row[1]) * 7:
            return
    pytest.fail("the new price was never used")


def _events(content: bytes) -> list[bytes]:
    return [event.removeprefix(b"data: ") for event in content.strip().split(b"\n\n")]


def _text(event: bytes) -> Any:
    """The choices of a chunk: all that does not change with time and id."""
    return event if event == b"[DONE]" else json.loads(event)["choices"]
