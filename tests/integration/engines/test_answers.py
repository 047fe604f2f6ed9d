"""The simulated engine answers the official SDK as vLLM would."""

import base64
import itertools
import json
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import openai
import pytest

from engines.probe import probe
from tests.integration.engines.conftest import Engine
from warehouse.base.errors import EngineFailed

HELLO: list[Any] = [{"role": "user", "content": "hello, whole world"}]


def test_a_chat_completion_has_text_and_usage(engine: Engine) -> None:
    answer = engine.sdk.chat.completions.create(model="simulated", messages=HELLO, max_tokens=5)
    assert answer.choices[0].message.content
    assert answer.choices[0].finish_reason == "length"
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 5
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + 5


def test_an_answer_may_end_by_itself(engine: Engine) -> None:
    answer = engine.sdk.chat.completions.create(model="simulated", messages=HELLO)
    assert answer.choices[0].finish_reason == "stop"
    assert answer.usage is not None
    assert 16 <= answer.usage.completion_tokens <= 48


def test_a_stream_says_the_same_as_the_answer_in_one_piece(start_engine: Callable[..., Engine]) -> None:
    engine = start_engine("--tokens-per-chunk", "3")
    for chosen in (1, 2):
        body: dict[str, Any] = {"messages": HELLO, "max_tokens": 20, "n": chosen, "stop": ["zz"]}
        texts = [""] * chosen
        finishes: dict[int, str] = {}
        for chunk in engine.sdk.chat.completions.create(model="simulated", stream=True, **body):
            for choice in chunk.choices:
                texts[choice.index] += choice.delta.content or ""
                if choice.finish_reason:
                    finishes[choice.index] = choice.finish_reason
        assert sorted(finishes) == list(range(chosen))
        assert all(texts)
    total = engine.ledger()["totals"]["completion_tokens"]
    assert total == engine.load().generation_tokens


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions"])
@pytest.mark.parametrize(
    ("options", "in_chunks", "at_the_end"),
    [
        (None, False, False),
        ({"include_usage": True}, False, True),
        ({"include_usage": True, "continuous_usage_stats": True}, True, True),
        ({"include_usage": False, "continuous_usage_stats": True}, False, False),
    ],
)
def test_usage_is_in_a_stream_only_where_it_was_asked_for(
    engine: Engine, path: str, options: dict[str, bool] | None, in_chunks: bool, at_the_end: bool
) -> None:
    chunks = stream(engine, path, {"stream_options": options})
    text_chunks = [chunk for chunk in chunks if chunk["choices"]]
    assert all(("usage" in chunk) == in_chunks for chunk in text_chunks)
    assert [not chunk["choices"] for chunk in chunks].count(True) == at_the_end
    if in_chunks:
        running = [chunk["usage"]["completion_tokens"] for chunk in text_chunks]
        assert running == sorted(running)
        assert running[-1] == 4
    if at_the_end:
        assert chunks[-1]["usage"]["completion_tokens"] == 4
        assert "cached_tokens" in chunks[-1]["usage"]["prompt_tokens_details"]


def test_usage_can_be_forced_as_by_the_flag_of_vllm(start_engine: Callable[..., Engine]) -> None:
    chunks = stream(start_engine("--force-include-usage"), "/v1/chat/completions", {})
    assert all("usage" in chunk for chunk in chunks)
    assert not chunks[-1]["choices"]


def test_completions_take_text_lists_and_token_ids(engine: Engine) -> None:
    for prompt, tokens, choices in (("abcd", 1, 1), (["abcd", "efgh"], 2, 2), ([1, 2, 3], 3, 1), ([[1], [2, 3]], 3, 2)):
        answer = engine.sdk.completions.create(model="simulated", prompt=prompt, max_tokens=2)
        assert answer.usage is not None
        assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (tokens, 2 * choices)
        assert [choice.index for choice in answer.choices] == list(range(choices))


def test_embeddings_are_unit_vectors_equal_for_equal_texts(engine: Engine) -> None:
    answer = engine.sdk.embeddings.create(model="simulated", input=["one", "two", "one"])
    one, two, again = (item.embedding for item in answer.data)
    assert one == again != two
    assert sum(number * number for number in one) == pytest.approx(1, abs=1e-5)
    coded = engine.post("/v1/embeddings", {"input": "one", "encoding_format": "base64"}).json()["data"][0]["embedding"]
    assert list(struct.unpack(f"<{len(one)}f", base64.b64decode(coded))) == pytest.approx(one)


def test_responses_work_whole_and_streamed(engine: Engine) -> None:
    whole = engine.sdk.responses.create(model="simulated", input="hello", max_output_tokens=5)
    assert whole.status == "incomplete"
    assert whole.usage is not None
    assert whole.usage.output_tokens == 5
    events = list(engine.sdk.responses.create(model="simulated", input="hello", stream=True))
    assert [event.sequence_number for event in events] == list(range(len(events)))
    last = events[-1]
    assert last.type == "response.completed"
    assert last.response.output_text == "".join(e.delta for e in events if e.type == "response.output_text.delta")


def test_same_seed_and_body_give_the_same_answer_on_another_engine(start_engine: Callable[..., Engine]) -> None:
    first, second, other = (start_engine("--seed", seed, "--ttft-jitter", "0.5") for seed in ("1", "1", "2"))

    def answers(engine: Engine) -> list[Any]:
        bodies = [{"messages": [{"role": "user", "content": f"number {number}"}]} for number in range(10)]
        return [
            {key: value for key, value in engine.post("/v1/chat/completions", body).json().items() if key in ("choices", "usage")}
            for body in bodies
        ]

    assert answers(first) == answers(second)
    assert answers(first) != answers(other)


def test_a_repeated_prefix_is_reported_as_cached(engine: Engine) -> None:
    messages: list[Any] = [{"role": "system", "content": "Be brief. " * 40}, *HELLO]
    first, second = (
        engine.sdk.chat.completions.create(model="simulated", messages=messages, max_tokens=1).usage for _ in range(2)
    )
    assert first is not None
    assert first.prompt_tokens_details is not None
    assert first.prompt_tokens_details.cached_tokens == 0
    assert second is not None
    assert second.prompt_tokens_details is not None
    cached = second.prompt_tokens_details.cached_tokens or 0
    assert 0 < cached < second.prompt_tokens
    assert engine.load().cached_tokens == cached


@pytest.mark.parametrize(
    ("path", "body", "param"),
    [
        ("/v1/chat/completions", b"{", "body.1"),
        ("/v1/chat/completions", b"[]", "body.body"),
        ("/v1/chat/completions", {}, "body.messages"),
        ("/v1/chat/completions", {"messages": []}, None),
        ("/v1/chat/completions", {"messages": [{}]}, "body.messages.0.role"),
        ("/v1/chat/completions", {"messages": HELLO, "max_tokens": "5"}, "body.max_tokens"),
        ("/v1/chat/completions", {"messages": HELLO, "max_tokens": 0}, "max_tokens"),
        ("/v1/chat/completions", {"messages": HELLO, "max_tokens": 10**6}, "max_tokens"),
        ("/v1/chat/completions", {"messages": HELLO, "n": 1000}, "n"),
        ("/v1/chat/completions", {"messages": HELLO, "stream": "yes"}, "body.stream"),
        ("/v1/chat/completions", {"messages": HELLO, "stream_options": {"include_usage": True}}, "stream_options"),
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, None),
        ("/v1/completions", {"prompt": []}, "body.prompt"),
        ("/v1/completions", {"prompt": "x", "stop": [""]}, None),
        ("/v1/embeddings", {"inpt": "x"}, "body.input"),
        ("/v1/responses", {"input": 3}, "body.input"),
    ],
)
def test_a_wrong_field_is_refused_by_name_and_costs_nothing(engine: Engine, path: str, body: Any, param: str | None) -> None:
    answer = engine.post(path, body, x_request_id="wrong")
    assert answer.status_code == 400
    error = answer.json()["error"]
    assert (error["code"], error["param"]) == (400, param)
    assert error["message"]
    (entry,) = engine.ledger("wrong")["requests"]
    assert (entry["state"], entry["status"], entry["prompt_tokens"]) == ("failed", 400, 0)
    assert engine.load().prompt_tokens == 0


def test_a_body_must_say_that_it_is_json(engine: Engine) -> None:
    answer = engine.post("/v1/chat/completions", {"messages": HELLO}, content_type="text/plain")
    assert answer.status_code == 400
    assert "application/json" in answer.json()["error"]["message"]


def test_another_model_is_not_found(engine: Engine) -> None:
    with pytest.raises(openai.NotFoundError, match="`other` does not exist"):
        engine.sdk.chat.completions.create(model="other", messages=HELLO)
    assert [model.id for model in engine.sdk.models.list()] == ["simulated"]


def test_wrong_paths_methods_and_bodies_end_only_their_own_connection(start_engine: Callable[..., Engine]) -> None:
    engine = start_engine("--body-bytes-max", "1000")
    assert httpx.get(f"{engine.base_url}/v2").status_code == 404
    assert httpx.get(f"{engine.base_url}/v1/chat/completions").status_code == 405
    assert engine.post("/v1/chat/completions", b"x" * 1001).status_code == 413
    assert httpx.get(f"{engine.base_url}/health", headers={f"x-{n}": "1" for n in range(200)}).status_code == 431
    host, port = engine.base_url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=5) as raw:
        raw.sendall(b"no http at all\r\n\r\n")
        assert raw.recv(1000).startswith(b"HTTP/1.1 400")
    assert httpx.get(f"{engine.base_url}/health").status_code == 200


def test_pipelined_requests_are_answered_in_order(engine: Engine) -> None:
    host, port = engine.base_url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=5) as raw:
        raw.sendall(b"GET /v1/models HTTP/1.1\r\nhost: x\r\n\r\n" + b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n" * 40)
        received = b""
        while received.count(b"HTTP/1.1 200") < 41:
            received += raw.recv(65536)
    assert received.index(b'"object":"list"') < received.index(b"content-length: 0")


def test_idle_connections_are_closed_as_by_vllm(start_engine: Callable[..., Engine]) -> None:
    engine = start_engine("--keep-alive-s", "0.2")
    host, port = engine.base_url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=5) as raw:
        raw.sendall(b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n")
        assert raw.recv(1000).startswith(b"HTTP/1.1 200")
        assert raw.recv(1000) == b""


def test_pace_and_places_are_kept(start_engine: Callable[..., Engine]) -> None:
    engine = start_engine("--ttft-ms", "100", "--tokens-per-second", "100", "--sequences-max", "2", "--queue-max", "2")
    body = {"messages": HELLO, "max_tokens": 101, "ignore_eos": True}
    begun = time.monotonic()
    with ThreadPoolExecutor(8) as pool:
        calls = [pool.submit(engine.post, "/v1/chat/completions", body) for _ in range(4)]
        engine.load_when(lambda load: (load.running, load.waiting) == (2, 2) and load.kv_cache_usage > 0)
        refused = engine.post("/v1/chat/completions", body)
        assert refused.status_code == 503
        assert refused.headers["retry-after"] == "1"
        shortest_s = min(call.result().elapsed.total_seconds() for call in calls)
    # 100 ms to the first token and 100 tokens more at 10 ms; the second pair waits for the first.
    assert 1.1 <= shortest_s < 2.2
    assert time.monotonic() - begun >= 2.2
    idle = engine.load()
    assert (idle.running, idle.waiting, idle.kv_cache_usage, idle.finished["length"]) == (0, 0, 0.0, 4)


def test_the_probe_measures_what_was_set(start_engine: Callable[..., Engine]) -> None:
    engine = start_engine("--ttft-ms", "50", "--tokens-per-second", "200")
    result = probe(engine.base_url, model=None, streams=2, tokens=41, timeout_s=10)
    assert (result.model, result.tokens) == ("simulated", 82)
    assert 50 <= result.ttft_ms_median < 500
    assert 100 < result.tokens_per_second_per_stream < 220
    with pytest.raises(EngineFailed, match="404"):
        probe(engine.base_url, model="other", streams=1, tokens=4, timeout_s=10)


def test_the_probe_command_prints_json_and_fails_on_nobody() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "engines.probe", "http://127.0.0.1:1"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert "refused" in done.stderr


def stream(engine: Engine, path: str, extra: dict[str, Any]) -> list[dict[str, Any]]:
    """The chunks of a stream of four tokens; `[DONE]` is checked and left out."""
    asked = {"messages": HELLO} if "chat" in path else {"prompt": "hello"}
    body = {**asked, "stream": True, "max_tokens": 4, "ignore_eos": True, **extra}
    answer = engine.post(path, body)
    assert answer.headers["content-type"].startswith("text/event-stream")
    lines = [line for line in answer.text.split("\n\n") if line]
    assert lines[-1] == "data: [DONE]"
    chunks = [json.loads(line.removeprefix("data: ")) for line in lines[:-1]]
    assert all(a["id"] == b["id"] for a, b in itertools.pairwise(chunks))
    return chunks
