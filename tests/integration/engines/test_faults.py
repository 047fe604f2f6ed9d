"""Each fault on request, each drawn one, and clients that leave: nothing hangs, and the books stay right."""

import itertools
import json
import signal
import time
from collections.abc import Callable
from typing import Any

import httpx
import openai
import pytest

from tests.integration.engines.conftest import Engine

HELLO: list[Any] = [{"role": "user", "content": "hello, whole world"}]
BODY = {"messages": HELLO, "max_tokens": 10, "ignore_eos": True}
CHAT = "/v1/chat/completions"


def entry_of(engine: Engine, request_id: str) -> dict[str, Any]:
    (entry,) = engine.ledger(request_id)["requests"]
    return dict(entry)


def test_refuse_closes_the_connection_without_a_byte(engine: Engine) -> None:
    with pytest.raises(httpx.RemoteProtocolError, match="disconnected"):
        engine.post(CHAT, BODY, x_simulated_fault="refuse", x_request_id="r")
    entry = entry_of(engine, "r")
    assert (entry["state"], entry["fault"], entry["prompt_tokens"]) == ("failed", "refuse", 0)


@pytest.mark.parametrize(
    ("fault", "status", "after"), [("429", 429, "1"), ("429=7", 429, "7"), ("500", 500, None), ("503", 503, "1")]
)
def test_a_status_comes_with_retry_after(engine: Engine, fault: str, status: int, after: str | None) -> None:
    answer = engine.post(CHAT, BODY, x_simulated_fault=fault, x_request_id="r")
    assert answer.status_code == status
    assert answer.headers.get("retry-after") == after
    assert answer.json()["error"]["code"] == status
    assert entry_of(engine, "r")["status"] == status


def test_a_stall_delays_the_first_token_or_the_second_chunk(engine: Engine) -> None:
    for fault, late in (("stall-first=0.3", 0), ("stall-between=0.3", 2)):
        begun, times = time.monotonic(), []
        headers = {"x-simulated-fault": fault}
        with httpx.stream("POST", engine.base_url + CHAT, json={**BODY, "stream": True}, headers=headers) as answer:
            times = [time.monotonic() - begun for line in answer.iter_lines() if line.startswith("data: ")]
        gaps = [times[0], *(after - before for before, after in itertools.pairwise(times))]
        assert gaps.index(max(gaps)) == late, (fault, gaps)
        assert gaps[late] > 0.25


@pytest.mark.parametrize(("fault", "chunks"), [("die", 3), ("die=0", 0), ("die=5", 5), ("die=999", 10)])
def test_a_stream_that_dies_has_no_clean_end(engine: Engine, fault: str, chunks: int) -> None:
    seen: list[str] = []
    headers = {"x-simulated-fault": fault, "x-request-id": "r"}
    with (
        pytest.raises(httpx.RemoteProtocolError, match="incomplete chunked read"),
        httpx.stream("POST", engine.base_url + CHAT, json={**BODY, "stream": True}, headers=headers) as answer,
    ):
        seen.extend(line for line in answer.iter_lines() if line)
    assert not any("[DONE]" in line for line in seen)
    assert len(seen) == (chunks and chunks + 1)  # the first says who speaks
    entry = entry_of(engine, "r")
    assert (entry["state"], entry["completion_tokens"], entry["finish_reason"]) == ("failed", chunks, "error")
    assert engine.load().finished["error"] == 1


def test_a_whole_answer_that_dies_is_cut_short(engine: Engine) -> None:
    with pytest.raises(httpx.RemoteProtocolError, match="without sending complete message body"):
        engine.post(CHAT, BODY, x_simulated_fault="die")
    with pytest.raises(httpx.RemoteProtocolError, match="without sending complete message body"):
        engine.post("/v1/embeddings", {"input": "x"}, x_simulated_fault="die")


def test_wrong_json_is_wrong_whole_and_streamed(engine: Engine) -> None:
    with pytest.raises(json.JSONDecodeError):
        engine.post(CHAT, BODY, x_simulated_fault="wrong-json").json()
    lines = engine.post(CHAT, {**BODY, "stream": True}, x_simulated_fault="wrong-json").text.split("\n\n")
    with pytest.raises(json.JSONDecodeError):
        json.loads(lines[2].removeprefix("data: "))
    assert lines[-2] == "data: [DONE]"


def test_malformed_sse_runs_two_chunks_together(engine: Engine) -> None:
    lines = engine.post(CHAT, {**BODY, "stream": True}, x_simulated_fault="malformed-sse").text.split("\n\n")
    assert not lines[2].startswith("data: ")
    assert "}data: {" in lines[2]


def test_an_unknown_fault_is_refused_with_the_nearest_name(engine: Engine) -> None:
    answer = engine.post(CHAT, BODY, x_simulated_fault="stal-first")
    assert answer.status_code == 400
    assert "did you mean stall-first?" in answer.json()["error"]["message"]


def test_drawn_faults_repeat_with_the_seed_and_the_books_stay_right(start_engine: Callable[..., Engine]) -> None:
    flags = ("--fault-probability", "0.5", "--faults", "refuse,die=2,429,500,503,wrong-json,malformed-sse", "--seed", "3")

    def fates(engine: Engine) -> list[Any]:
        for number in range(60):
            try:
                engine.post(CHAT, {**BODY, "stream": number % 2 == 0})
            except httpx.RemoteProtocolError:
                continue
        report = engine.ledger()
        load = engine.load()
        totals = report["totals"]
        assert (load.running, load.waiting) == (0, 0)
        assert (load.prompt_tokens, load.generation_tokens) == (totals["prompt_tokens"], totals["completion_tokens"])
        assert totals["calls"] == 60 == totals["finished"] + totals["failed"]
        return [(entry["fault"], entry["state"], entry["completion_tokens"]) for entry in report["requests"]]

    first, second = fates(start_engine(*flags)), fates(start_engine(*flags))
    assert first == second
    assert len({fault for fault, _, _ in first}) == 8


@pytest.mark.parametrize("streamed", [True, False])
def test_a_client_that_leaves_is_aborted_at_once(start_engine: Callable[..., Engine], streamed: bool) -> None:
    engine = start_engine("--ttft-ms", "50", "--tokens-per-second", "50")
    body = {"messages": HELLO, "max_tokens": 5000, "ignore_eos": True, "stream": streamed}
    with httpx.Client() as client:
        request = client.build_request("POST", engine.base_url + CHAT, json=body, headers={"x-request-id": "gone"})
        if streamed:
            answer = client.send(request, stream=True)
            lines = answer.iter_lines()
            for _ in range(10):
                next(lines)
            assert engine.load().running == 1
            answer.close()
        else:
            request.extensions["timeout"] = {"read": 0.3, "connect": 5, "write": 5, "pool": 5}
            with pytest.raises(httpx.ReadTimeout):
                client.send(request)
    load = engine.load_when(lambda load: load.running == 0)
    entry = entry_of(engine, "gone")
    assert (entry["state"], entry["finish_reason"]) == ("aborted", "abort")
    assert 1 <= entry["completion_tokens"] < 100
    assert load.finished["abort"] == 1
    assert (load.prompt_tokens, load.generation_tokens) == (entry["prompt_tokens"], entry["completion_tokens"])
    assert engine.load().generation_tokens == load.generation_tokens


def test_a_client_that_leaves_the_queue_gives_up_its_turn(start_engine: Callable[..., Engine]) -> None:
    engine = start_engine("--sequences-max", "1", "--stall-s", "30")
    with httpx.Client() as client, httpx.Client(timeout=0.2) as hasty:
        request = client.build_request("POST", engine.base_url + CHAT, json={**BODY, "stream": True})
        request.headers["x-simulated-fault"] = "stall-between"
        holder = client.send(request, stream=True)
        with pytest.raises(httpx.ReadTimeout):
            hasty.post(engine.base_url + CHAT, json=BODY, headers={"x-request-id": "hasty"})
        engine.load_when(lambda load: (load.running, load.waiting) == (1, 0))
        holder.close()
    engine.load_when(lambda load: load.running == 0)
    assert entry_of(engine, "hasty")["prompt_tokens"] == 0
    assert engine.post(CHAT, BODY).status_code == 200


def test_the_sdk_sees_its_own_errors(engine: Engine) -> None:
    for fault, error in (
        ("429", openai.RateLimitError),
        ("500", openai.InternalServerError),
        ("refuse", openai.APIConnectionError),
    ):
        with pytest.raises(error):
            engine.sdk.chat.completions.create(model="simulated", messages=HELLO, extra_headers={"x-simulated-fault": fault})


def test_a_stop_lets_running_answers_finish(start_engine: Callable[..., Engine]) -> None:
    engine = start_engine("--tokens-per-second", "50")
    process = engine.server.process
    assert process is not None
    with httpx.stream("POST", engine.base_url + CHAT, json={**BODY, "max_tokens": 20, "stream": True}) as answer:
        lines = answer.iter_lines()
        next(lines)
        process.send_signal(signal.SIGTERM)
        rest = [line for line in lines if line]
    assert rest[-1] == "data: [DONE]"
    assert process.wait(10) == 0
