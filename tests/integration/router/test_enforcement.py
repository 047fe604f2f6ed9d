"""Budgets and limits as clients meet them: through HTTP, on every kind of ending."""

import asyncio
import json
import time
from typing import Any

import httpx
import openai
import pytest

from tests.factories import Tenant
from tests.integration.router.callers import demo
from tests.integration.router.conftest import Stack
from tests.integration.router.reservations_world import USD, add_budget, add_limit


@pytest.fixture
def engine_flags() -> list[str]:
    """Slow enough to leave in the middle."""
    return ["--tokens-per-second", "500"]


APPLIED_S_MAX = 1.0


@pytest.fixture
def tenant(stack: Stack) -> Tenant:
    """The demo organization."""
    return demo(stack)


def test_a_budget_of_nothing_refuses_every_request_and_explains_itself(
    stack: Stack, tenant: Tenant, hello: dict[str, Any]
) -> None:
    assert stack.post(hello).status_code == 200
    add_budget(stack.db, tenant, 0, period="day")
    time.sleep(APPLIED_S_MAX)
    answer = stack.post(hello)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"], error["type"]) == (429, "budget_exceeded", "insufficient_quota")
    assert (error["details"]["scope"], error["details"]["limit_usd"], error["details"]["period"]) == (
        "organization",
        "0.00",
        "day",
    )
    assert 0 < int(answer.headers["retry-after"]) <= 25 * 3600
    if int(answer.headers["retry-after"]) > 60:
        assert answer.headers["x-should-retry"] == "false", "the SDKs try again at once what they cannot wait for"
    assert "This organization may spend 0.00 USD a day" in error["message"]
    with pytest.raises(openai.RateLimitError, match="budget"):
        stack.sdk.chat.completions.create(**hello)
    rows = stack.rows(3)
    assert [row["charge_class"] for row in rows] == ["charged", "free_refused", "free_refused"]
    assert len(stack.ledger()["requests"]) == 1


@pytest.mark.parametrize("stream", [False, True])
def test_what_is_settled_is_the_cost_of_the_row(stack: Stack, tenant: Tenant, hello: dict[str, Any], *, stream: bool) -> None:
    limit = 10**9
    add_budget(stack.db, tenant, limit)
    time.sleep(APPLIED_S_MAX)
    for _ in range(3):
        assert stack.post(hello | {"stream": stream}).status_code == 200
    spent = sum(row["cost_picousd"] for row in stack.rows(3))
    refused = stack.post(hello | {"max_tokens": 10**6, "n": 1000}).json()["error"]["details"]
    assert round(float(refused["spent_usd"]) * USD) == spent
    assert float(refused["held_usd"]) == 0


def test_what_is_counted_beyond_the_context_is_held_in_full(stack: Stack, tenant: Tenant, hello: dict[str, Any]) -> None:
    add_budget(stack.db, tenant, 5 * 10**9)
    time.sleep(APPLIED_S_MAX)
    authorization = {"authorization": f"Bearer {stack.api_key}"}
    for path, body in (("/tokenize", {"prompt": "a b " * 100_000}), ("/detokenize", {"tokens": [7] * 100_000})):
        answer = httpx.post(stack.router.url + path, json={"model": hello["model"]} | body, headers=authorization)
        assert (answer.status_code, answer.json()["error"]["code"]) == (429, "budget_exceeded")
    small = httpx.post(stack.router.url + "/tokenize", json={"model": hello["model"], "prompt": "a"}, headers=authorization)
    assert small.status_code == 200
    assert [row["cost_picousd"] for row in stack.rows(3)][:2] == [0, 0]


def test_a_text_that_grows_before_it_is_tokenized_is_held_as_it_is_then(
    stack: Stack, tenant: Tenant, hello: dict[str, Any]
) -> None:
    add_budget(stack.db, tenant, 6 * 10**8)
    time.sleep(APPLIED_S_MAX)
    notes = [{"role": "user", "content": "\N{MUSICAL SYMBOL EIGHTH NOTE}" * 1000}]  # of 4 bytes; a normalizer makes 12 of them
    body = json.dumps(hello | {"messages": notes}, ensure_ascii=False).encode()
    refused = stack.post(body)
    assert (refused.status_code, refused.json()["error"]["code"]) == (429, "budget_exceeded")
    assert stack.post(body.replace("\N{MUSICAL SYMBOL EIGHTH NOTE}".encode(), b"abcd")).status_code == 200


def test_a_model_without_a_price_is_refused_under_a_hard_budget(stack: Stack, tenant: Tenant, hello: dict[str, Any]) -> None:
    add_budget(stack.db, tenant, 10**12)
    stack.db.execute(
        "delete from control.prices where model_id = (select id from control.models where name = %s)", [hello["model"]]
    )
    stack.db.commit()
    time.sleep(APPLIED_S_MAX)
    answer = stack.post(hello)
    assert (answer.status_code, answer.json()["error"]["code"]) == (403, "model_unpriced"), answer.text
    assert stack.row()["charge_class"] == "free_refused"
    assert stack.ledger()["requests"] == []


def test_an_answer_says_what_is_left_of_its_limits(stack: Stack, tenant: Tenant, hello: dict[str, Any]) -> None:
    add_limit(stack.db, tenant, requests_per_minute=60, input_tokens_per_minute=100_000)
    time.sleep(APPLIED_S_MAX)
    headers = stack.post(hello).headers
    assert (headers["x-ratelimit-limit-requests"], headers["x-ratelimit-remaining-requests"]) == ("60", "59")
    assert headers["x-ratelimit-reset-requests"] == "1s"
    assert (headers["x-ratelimit-limit-tokens"], headers["x-ratelimit-reset-tokens"][-2:]) == ("100000", "ms")
    with stack.sdk.chat.completions.with_streaming_response.create(**hello, stream=True) as streamed:
        assert streamed.headers["x-ratelimit-remaining-requests"] in ("58", "59")
        for _ in streamed.iter_lines():
            pass


def test_a_request_over_its_rate_is_refused_until_there_is_room(stack: Stack, tenant: Tenant, hello: dict[str, Any]) -> None:
    add_limit(stack.db, tenant, requests_per_minute=30)
    time.sleep(APPLIED_S_MAX)
    began_s, admitted = time.monotonic(), 0
    while (answer := stack.post(hello)).status_code == 200:
        admitted += 1
    assert 30 <= admitted <= 30 + (time.monotonic() - began_s) / 2 + 1  # there is room for another one every two seconds
    assert (answer.status_code, answer.json()["error"]["code"]) == (429, "rate_limit_exceeded")
    assert 0 < answer.json()["error"]["details"]["retry_after_ms"] == int(answer.headers["retry-after-ms"]) <= 2000
    assert (answer.headers["x-ratelimit-limit-requests"], answer.headers["x-ratelimit-remaining-requests"]) == ("30", "0")
    assert answer.headers["x-ratelimit-reset-requests"].startswith(("1m0s", "60s", "59", "58"))
    assert "x-should-retry" not in answer.headers
    time.sleep(int(answer.headers["retry-after"]))
    assert stack.post(hello).status_code == 200


def test_a_client_that_leaves_and_an_engine_that_fails_give_back_what_they_held(
    stack: Stack, tenant: Tenant, hello: dict[str, Any]
) -> None:
    add_limit(stack.db, tenant, requests_at_once=2)
    time.sleep(APPLIED_S_MAX)
    body = hello | {"max_tokens": 2000, "stream": True}

    async def leave() -> None:
        headers = {"authorization": f"Bearer {stack.api_key}"}
        async with (
            httpx.AsyncClient(timeout=30) as client,
            client.stream("POST", f"{stack.base_url}/chat/completions", json=body, headers=headers) as answer,
        ):
            assert answer.status_code == 200
            async for _ in answer.aiter_raw():
                return

    for _ in range(3):
        asyncio.run(_pair(leave))
        time.sleep(0.3)
    for fault in ("503", "500", "refuse", "die=2", "wrong-json", "malformed-sse"):
        for _ in range(2):
            stack.post(body | {"max_tokens": 20}, headers={"x-simulated-fault": fault})
    assert stack.post(hello).status_code == 200


def test_a_key_with_caps_gets_no_more_than_they_say(stack: Stack, tenant: Tenant, hello: dict[str, Any]) -> None:
    (public_id,) = stack.db.execute("select public_id from control.api_keys where id = %s", [tenant.api_key_id]).fetchone() or (
        "",
    )
    (project,) = stack.db.execute("select public_id from control.projects where id = %s", [tenant.project_id]).fetchone() or ("",)
    stack.db.commit()
    headers = {"authorization": f"Bearer {stack.admin_key}", "OpenAI-Organization": tenant.organization}
    changed = httpx.post(
        f"{stack.base_url}/organization/projects/{project}/api_keys/key_{public_id}",
        headers=headers, json={"choices_max": 2, "output_tokens_max": 30},
    )  # fmt: skip
    assert (changed.status_code, changed.json()["choices_max"], changed.json()["output_tokens_max"]) == (200, 2, 30), changed.text
    time.sleep(APPLIED_S_MAX)
    uncapped = {name: value for name, value in hello.items() if name != "max_tokens"}
    assert stack.post(uncapped | {"n": 2}).json()["usage"]["completion_tokens"] <= 60
    for too_much in ({"max_tokens": 31}, {"n": 3}):
        answer = stack.post(hello | too_much | {"metadata": {"team": "a"}}, headers={"x-inferhouse-tags": "feature=b"})
        assert (answer.status_code, answer.json()["error"]["code"]) == (400, "cap_exceeded"), answer.text
    assert [row["charge_class"] for row in stack.rows(3)] == ["charged", "free_refused", "free_refused"]
    assert all(row["output_tokens"] <= 60 for row in stack.rows(3))
    assert [row["tags"] for row in stack.rows(3)] == [None, *[{"team": "a", "feature": "b"}] * 2]


def test_what_was_on_trial_is_told_by_day(stack: Stack, tenant: Tenant, hello: dict[str, Any]) -> None:
    add_limit(stack.db, tenant, mode="shadow", requests_per_minute=1)
    time.sleep(APPLIED_S_MAX)
    assert [stack.post(hello).status_code for _ in range(3)] == [200] * 3
    stack.router.stop()  # which writes what it has counted
    stack.router.start()
    headers = {"authorization": f"Bearer {stack.admin_key}", "OpenAI-Organization": tenant.organization}
    answer = httpx.get(f"{stack.base_url}/organization/shadow_refusals", headers=headers)
    assert answer.status_code == 200, answer.text
    told = answer.json()["data"]
    assert [(line["requests"], line["budget_id"]) for line in told] == [(2, None)]
    assert told[0]["limit_id"].startswith("limit_")


async def _pair(leave: Any) -> None:
    await asyncio.gather(leave(), leave())
