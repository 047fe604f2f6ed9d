"""Requests as clients make them, and what those saw."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httpx

from tests.bench.vllm_parity.plans import Plan

ANSWER_S_MAX = 120.0
PIECES = ('"response.output_text.delta"', '"content_block_delta"', '"choices":[{')  # what events with text of the answer have


@dataclass(frozen=True, slots=True)
class Seen:
    """What the client of one request saw."""

    plan: Plan
    request_id: str | None
    """None where it left before the answer had begun."""
    left: bool
    usage: tuple[int, int] | None
    """(input, output) as the answer stated them, if it came whole and states them."""


def ask(client: httpx.Client, url: str, model: str, plan: Plan) -> Seen:
    """Args: url: of the server, without a path.  Raises: HTTPStatusError."""
    body = plan.body(model)
    if plan.stream:
        return _read_stream(client, url, body, plan)
    timeout = httpx.Timeout(ANSWER_S_MAX, read=plan.wait_s or ANSWER_S_MAX)
    try:
        answer = client.post(url + plan.path, json=body, timeout=timeout)
    except httpx.ReadTimeout:
        assert plan.wait_s is not None, f"no answer in {ANSWER_S_MAX} s"
        return Seen(plan, None, left=True, usage=None)
    answer.raise_for_status()
    return Seen(plan, answer.headers.get("x-request-id"), left=False, usage=stated(answer.json()))


def _read_stream(client: httpx.Client, url: str, body: Mapping[str, Any], plan: Plan) -> Seen:
    usage, pieces = None, 0
    with client.stream("POST", url + plan.path, json=body, timeout=ANSWER_S_MAX) as answer:
        answer.raise_for_status()
        request_id = answer.headers.get("x-request-id")
        for line in answer.iter_lines():
            if not line.startswith("data: {"):
                continue
            usage = stated(json.loads(line[6:])) or usage
            pieces += any(piece in line for piece in PIECES)
            if plan.pieces is not None and pieces >= plan.pieces:
                return Seen(plan, request_id, left=True, usage=None)
    return Seen(plan, request_id, left=False, usage=usage)


def stated(answer: Mapping[str, Any]) -> tuple[int, int] | None:
    """What an answer, or the event that has both counts, says of its tokens."""
    usage = (answer.get("response") or answer).get("usage")
    if usage and "prompt_tokens" in usage:
        return usage["prompt_tokens"], usage.get("completion_tokens") or 0
    if usage and "input_tokens" in usage and answer.get("type") != "message_start":
        return usage["input_tokens"], usage["output_tokens"]
    if "count" in answer:
        return answer["count"], 0
    return (answer["input_tokens"], 0) if answer.keys() == {"input_tokens"} else None
