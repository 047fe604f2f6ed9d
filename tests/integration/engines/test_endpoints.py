"""Every endpoint of the simulated engine, read by the shapes that the router has of it, against the engine's own books."""

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from router.inference.shapes import SHAPES, Reading
from tests.integration.engines.conftest import Engine

HELLO = [{"role": "user", "content": "hello, whole world"}]
BODIES: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"messages": HELLO, "max_tokens": 6, "ignore_eos": True},
    "/v1/completions": {"prompt": ["hello", "world"], "max_tokens": 6, "ignore_eos": True},
    "/v1/responses": {"input": "hello, whole world", "max_output_tokens": 6, "ignore_eos": True},
    "/v1/messages": {"messages": HELLO, "system": "be brief", "max_tokens": 6, "ignore_eos": True},
    "/v1/messages/count_tokens": {"messages": HELLO},
    "/v1/embeddings": {"input": ["hello", "world"]},
    "/rerank": {"query": "hello", "documents": ["whole", "world"]},
    "/v1/rerank": {"query": "hello", "documents": ["whole", "world"]},
    "/v2/rerank": {"query": "hello", "documents": ["whole", "world"]},
    "/score": {"text_1": "hello", "text_2": ["whole", "world"]},
    "/v1/score": {"text_1": "hello", "text_2": ["whole", "world"]},
    "/tokenize": {"prompt": "hello, whole world"},
    "/detokenize": {"tokens": [6037605420, 6149439520]},
}
STREAMS = ["/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/messages"]


def books(engine: Engine, request_id: str) -> dict[str, Any]:
    (entry,) = engine.ledger(request_id)["requests"]
    return dict(entry)


def assert_agrees(reading: Reading, entry: dict[str, Any]) -> None:
    assert reading.usage is not None
    assert reading.usage.prompt_tokens == entry["prompt_tokens"] + entry["counted_tokens"] > 0
    assert reading.usage.completion_tokens == entry["completion_tokens"]
    assert reading.usage.cached_tokens == entry["cached_tokens"]


def streamed(engine: Engine, path: str, fault: str | None = None, **more: Any) -> tuple[Any, bytes]:
    """(tap, what the client has) of a stream prepared as the router would."""
    shape = SHAPES[path]
    body = json.dumps({"model": "simulated", "stream": True, **BODIES[path], **more}).encode()
    call = shape.parse(body)
    tap = shape.tap(call)
    assert tap is not None
    headers = {"content-type": "application/json", "x-request-id": "r"} | ({"x-simulated-fault": fault} if fault else {})
    passed = b""
    with httpx.stream("POST", engine.base_url + path, content=shape.prepare(body, call), headers=headers, timeout=30) as answer:
        assert answer.status_code == 200
        try:
            for data in answer.iter_bytes():
                passed += tap.feed(data)
        except httpx.RemoteProtocolError:
            assert fault is not None
    return tap, passed


def test_bodies_for_every_shape() -> None:
    assert set(BODIES) == set(SHAPES)


@pytest.mark.parametrize("path", list(BODIES))
def test_whole_answers_agree_with_the_books(engine: Engine, path: str) -> None:
    shape = SHAPES[path]
    body = json.dumps({"model": "simulated", **BODIES[path]}).encode()
    for request_id in ("first", "again"):  # the second finds its prompt in the cache
        answer = engine.post(path, body, x_request_id=request_id)
        assert answer.status_code == 200, answer.text
        entry = books(engine, request_id)
        assert entry["endpoint"] == shape.endpoint
        assert_agrees(shape.read(answer.content, shape.parse(body)), entry)
    report = engine.ledger()["totals"]
    load = engine.load()
    assert (report["prompt_tokens"], report["completion_tokens"]) == (load.prompt_tokens, load.generation_tokens)


@pytest.mark.parametrize("fault", [None, "comments", "crlf", "stall-first=0.1"])
@pytest.mark.parametrize("path", STREAMS)
def test_streams_agree_with_the_books(engine: Engine, path: str, fault: str | None) -> None:
    tap, passed = streamed(engine, path, fault)
    assert tap.done
    assert not tap.engine_error
    assert b'"usage":{"prompt_tokens"' not in passed
    assert_agrees(tap.reading, books(engine, "r"))
    assert tap.reading.finish_reason == "length"
    assert (b"still here" in passed) == (fault == "comments")


@pytest.mark.parametrize("path", STREAMS)
def test_a_stream_that_breaks_off_has_what_was_generated(engine: Engine, path: str) -> None:
    tap, _ = streamed(engine, path, "die=3")
    assert not tap.done
    entry = books(engine, "r")
    if path == "/v1/responses":
        assert tap.pieces == entry["completion_tokens"] == 3
    else:
        running = tap.reading.usage
        assert running is not None
        assert running.completion_tokens == entry["completion_tokens"] == 3
        assert tap.reading.estimated == (path == "/v1/messages")


@pytest.mark.parametrize("fault", ["wrong-json", "malformed-sse"])
@pytest.mark.parametrize("path", STREAMS)
def test_spoilt_chunks_are_passed_on_and_the_end_is_read(engine: Engine, path: str, fault: str) -> None:
    tap, passed = streamed(engine, path, fault)
    assert passed
    assert tap.done
    assert_agrees(tap.reading, books(engine, "r"))


def test_tokenize_and_detokenize_are_inverse(engine: Engine) -> None:
    text = "hello, \0whole wörld\0"
    told = engine.post("/tokenize", {"prompt": text, "return_token_strs": True}).json()
    assert told["count"] == len(told["tokens"]) == len(told["token_strs"])
    assert engine.post("/detokenize", {"tokens": told["tokens"]}).json() == {"prompt": text}


def test_numbers_that_only_python_reads_are_no_fault(engine: Engine) -> None:
    body = json.dumps(BODIES["/v1/completions"]).encode()[:-1]
    assert engine.post("/v1/completions", body + b',"x":1e400,"y":123456789012345678901234567890}').status_code == 200
    assert engine.post("/v1/completions", body + b',"y":%b}' % (b"9" * 5000)).status_code == 400
    for broken in (b"{", b"\xff", b"[" * 100_000):
        assert engine.post("/v1/completions", broken).status_code == 400


def test_the_best_document_comes_first_and_scores_are_those_of_the_pairs(engine: Engine) -> None:
    ranked = engine.post("/v1/rerank", {**BODIES["/rerank"], "top_n": 1}).json()
    scores = [item["score"] for item in engine.post("/score", BODIES["/score"]).json()["data"]]
    (best,) = ranked["results"]
    assert best["relevance_score"] == max(scores)
    assert best["document"]["text"] == BODIES["/score"]["text_2"][best["index"]]


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/messages", {"messages": HELLO}),
        ("/v1/messages", {"messages": [], "max_tokens": 1}),
        ("/rerank", {"query": "a"}),
        ("/rerank", {"query": ["a", "b"], "documents": ["c"]}),
        ("/rerank", {"query": "a", "documents": ["b"], "top_n": -1}),
        ("/score", {"text_1": ["a", "b"], "text_2": ["c", "d", "e"]}),
        ("/tokenize", {}),
        ("/detokenize", {"tokens": ["x"]}),
    ],
)
def test_wrong_calls_are_refused(engine: Engine, path: str, body: dict[str, Any]) -> None:
    assert engine.post(path, body).status_code == 400


@pytest.mark.parametrize("path", ["/rerank", "/score", "/tokenize", "/detokenize", "/v1/messages/count_tokens"])
def test_faults_befall_every_endpoint(start_engine: Callable[..., Engine], path: str) -> None:
    engine = start_engine()
    for fault, status in (("429=1", 429), ("500", 500), ("503=2", 503)):
        assert engine.post(path, BODIES[path], x_simulated_fault=fault).status_code == status
    with pytest.raises(httpx.RemoteProtocolError):
        engine.post(path, BODIES[path], x_simulated_fault="refuse")
    assert engine.post(path, BODIES[path], x_simulated_fault="stall-first=0.05").status_code == 200
    assert engine.post(path, BODIES[path], x_simulated_fault="wrong-json").text.endswith("[")
