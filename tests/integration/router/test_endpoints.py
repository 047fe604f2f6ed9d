"""Every endpoint on the one metered path: one row each, with the engine's own counts, however the call ends."""

import json
import socket
import time
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest

from router.inference.shapes import SHAPES
from tests.integration.router.conftest import Stack

TEXT = "Say hello to the house."
TURN = [{"role": "user", "content": TEXT}]
BODIES: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"messages": TURN, "max_tokens": 24},
    "/v1/completions": {"prompt": TEXT, "max_tokens": 24},
    "/v1/responses": {"input": TEXT, "max_output_tokens": 24},
    "/v1/messages": {"messages": TURN, "max_tokens": 24},
    "/v1/messages/count_tokens": {"messages": TURN},
    "/v1/embeddings": {"input": [TEXT, "And to the garden."]},
    "/rerank": {"query": TEXT, "documents": ["a house", "a garden"]},
    "/v1/rerank": {"query": TEXT, "documents": ["a house", "a garden"]},
    "/v2/rerank": {"query": TEXT, "documents": ["a house", "a garden"]},
    "/score": {"text_1": TEXT, "text_2": ["a house", "a garden"]},
    "/v1/score": {"text_1": TEXT, "text_2": ["a house", "a garden"]},
    "/tokenize": {"prompt": TEXT},
    "/detokenize": {"tokens": [1, 2, 3]},
}
STREAMED = ("/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/messages")
ENDS = {"/v1/responses": b"event: response.incomplete", "/v1/messages": b"event: message_stop"}


@pytest.fixture
def engine_flags() -> list[str]:
    return ["--tokens-per-second", "60"]


def _post(stack: Stack, path: str, body: dict[str, Any], **headers: str) -> httpx.Response:
    authorization = {"authorization": f"Bearer {stack.api_key}"}
    return httpx.post(stack.router.url + path, json={"model": "simulated"} | body, headers=authorization | headers, timeout=30)


def _agrees(stack: Stack, row: dict[str, Any]) -> None:
    """The row has what the engine's own account has."""
    (entry,) = httpx.get(f"{stack.engine.url}/simulated/ledger", params={"request_id": str(row["request_id"])}).json()["requests"]
    counted = entry["prompt_tokens"] or entry["counted_tokens"]
    assert (row["input_tokens"], row["output_tokens"]) == (counted, entry["completion_tokens"]), (row, entry)


def test_every_shape_has_a_body_here() -> None:
    assert set(BODIES) == set(SHAPES)


@pytest.mark.parametrize("path", BODIES)
def test_an_answer_has_one_row_with_the_engines_counts(stack: Stack, path: str) -> None:
    answer = _post(stack, path, BODIES[path])
    assert answer.status_code == 200, answer.text
    direct = httpx.post(stack.engine.url + path, json={"model": "simulated"} | BODIES[path])
    assert answer.json().keys() == direct.json().keys(), "the answer is the engine's"
    row = stack.row()
    assert (row["endpoint"], row["status"], row["charge_class"]) == (SHAPES[path].endpoint, "completed", "charged")
    assert row["token_source"] == "engine"
    assert row["cost_picousd"] is not None
    _agrees(stack, row)


@pytest.mark.parametrize("path", STREAMED)
def test_a_stream_has_one_row_and_its_own_end(stack: Stack, path: str) -> None:
    answer = _post(stack, path, BODIES[path] | {"stream": True})
    assert answer.status_code == 200
    assert ENDS.get(path, b"data: [DONE]") in answer.content.strip().split(b"\n\n")[-1]
    assert answer.headers["content-type"] == "text/event-stream; charset=utf-8"
    assert (answer.headers["cache-control"], answer.headers["x-accel-buffering"]) == ("no-cache", "no"), "held back by no proxy"
    row = stack.row()
    assert (row["endpoint"], row["status"], row["stream"]) == (SHAPES[path].endpoint, "completed", True)
    _agrees(stack, row)


@pytest.mark.parametrize("path", BODIES)
def test_a_refusal_has_a_row_of_its_endpoint(stack: Stack, path: str) -> None:
    assert _post(stack, path, BODIES[path] | {"model": "none"}).status_code == 404
    row = stack.row()
    assert (row["endpoint"], row["status"], row["error_code"], row["cost_picousd"]) == (
        SHAPES[path].endpoint, "refused", "model_not_found", 0
    )  # fmt: skip


def test_the_key_of_anthropics_clients_is_understood_and_their_errors_are_theirs(stack: Stack) -> None:
    body = {"model": "simulated"} | BODIES["/v1/messages"]
    answer = httpx.post(stack.router.url + "/v1/messages", json=body, headers={"x-api-key": stack.api_key})
    assert answer.status_code == 200, answer.text
    refused = httpx.post(stack.router.url + "/v1/messages", json=body | {"model": "none"}, headers={"x-api-key": stack.api_key})
    assert (refused.json()["type"], refused.json()["error"]["type"]) == ("error", "not_found_error")
    for said in (answer, refused):
        assert said.headers["request-id"] == said.headers["x-request-id"]  # the one that their SDKs read
    assert httpx.post(stack.router.url + "/v1/messages", json=body, headers={"x-api-key": "wrong"}).status_code == 401
    for path in ("/models", "/models/simulated"):
        assert httpx.get(stack.base_url + path, headers={"x-api-key": stack.api_key}).status_code == 200
        assert httpx.get(stack.base_url + path, headers={"x-api-key": "wrong"}).status_code == 401


def test_what_anthropics_sdks_ask_beside_messages_is_answered_as_they_read_it(stack: Stack) -> None:
    asked = {"x-api-key": stack.api_key, "anthropic-version": "2023-06-01"}
    with httpx.Client(base_url=stack.base_url, headers=asked) as client:
        page, model = client.get("/models", params={"limit": 5}), client.get("/models/simulated")
        listed = page.json()
        assert (listed["has_more"], listed["first_id"], listed["last_id"]) == (False, "simulated", "simulated")
        assert listed["data"] == [model.json()]
        shown = model.json()
        assert (shown["type"], shown["display_name"], shown["lifecycle"]) == ("model", "simulated", "active")
        assert datetime.fromisoformat(shown["created_at"]) == datetime.fromtimestamp(shown["created"], UTC)
        for refused, kind in (
            (client.get("/models/none"), "not_found_error"),
            (client.post("/messages/batches", json={"requests": []}), "not_found_error"),
            (client.get("/messages"), "invalid_request_error"),
            (client.get("/models", headers={"x-api-key": "wrong"}), "authentication_error"),
            (client.get("/files?%00"), "invalid_request_error"),
        ):
            told = refused.json()
            assert (told["type"], told["error"]["type"], told["request_id"]) == ("error", kind, refused.headers["request-id"])
        for answer in (page, model, refused):
            assert answer.headers["request-id"] == answer.headers["x-request-id"]
    openais = httpx.get(stack.base_url + "/models/none", headers={"authorization": f"Bearer {stack.api_key}"})
    assert openais.json()["error"]["code"] == "model_not_found"
    assert "request-id" not in openais.headers


def test_tags_of_body_and_header_are_in_the_row(stack: Stack) -> None:
    body = BODIES["/v1/chat/completions"] | {"metadata": {"team": "search", "run": "7"}}
    assert _post(stack, "/v1/chat/completions", body, **{"x-inferhouse-tags": "team=ads"}).status_code == 200
    assert stack.row()["tags"] == {"team": "ads", "run": "7"}


def test_tags_that_are_too_many_are_refused(stack: Stack) -> None:
    body = BODIES["/v1/chat/completions"] | {"metadata": {f"t{number}": "x" for number in range(17)}}
    answer = _post(stack, "/v1/chat/completions", body)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "metadata")


class Call:
    """A request on a socket of its own, so that it can be left at any point."""

    def __init__(self, stack: Stack, path: str, body: dict[str, Any], headers: str = "") -> None:
        content = json.dumps({"model": "simulated"} | body).encode()
        host, port = stack.router.url.removeprefix("http://").split(":")
        self.line = socket.create_connection((host, int(port)), timeout=10)
        self.said = b""
        self.line.sendall(
            f"POST {path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {stack.api_key}\r\n"
            f"{headers}content-length: {len(content)}\r\n\r\n".encode()
            + content
        )

    def read_until(self, enough: Any) -> None:
        while not enough(self.said):
            piece = self.line.recv(4096)
            assert piece, self.said
            self.said += piece

    def leave(self) -> None:
        """With a reset, as a process that dies."""
        self.line.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        self.line.close()


POINTS = {
    "before the first token": lambda said: True,
    "at the third piece": lambda said: said.count(b"data: ") >= 3,
    "near the end": lambda said: said.count(b"data: ") >= 30,
}


@pytest.mark.parametrize("point", POINTS)
@pytest.mark.parametrize("path", STREAMED)
def test_a_client_that_leaves_a_stream_has_one_row_and_ends_the_engines_work(stack: Stack, path: str, point: str) -> None:
    long = {"max_tokens": 400, "min_tokens": 400} if path != "/v1/responses" else {"max_output_tokens": 400, "min_tokens": 400}
    call = Call(stack, path, BODIES[path] | long | {"stream": True})
    time.sleep(0.1)
    call.read_until(POINTS[point])
    call.leave()
    row = stack.row()
    assert (row["status"], row["http_status"], row["charge_class"]) == ("client_closed", 499, "charged")
    if point != "before the first token":
        assert row["output_tokens"] > 0
        assert row["token_source"] in {"running", "estimate"}
    _is_idle(stack)


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions", "/v1/responses", "/v1/messages"])
def test_a_client_that_leaves_before_a_whole_answer_has_one_row_and_ends_the_engines_work(stack: Stack, path: str) -> None:
    long = {"max_tokens": 400, "min_tokens": 400} if path != "/v1/responses" else {"max_output_tokens": 400, "min_tokens": 400}
    call = Call(stack, path, BODIES[path] | long)
    time.sleep(0.1)
    call.leave()
    row = stack.row()
    assert (row["status"], row["http_status"]) == ("client_closed", 499)
    _is_idle(stack)


@pytest.mark.parametrize("path", BODIES)
def test_a_client_that_leaves_after_the_answer_changes_nothing(stack: Stack, path: str) -> None:
    call = Call(stack, path, BODIES[path])
    call.read_until(lambda said: b"\r\n\r\n" in said and said.endswith(b"}"))
    call.leave()
    assert stack.row()["status"] == "completed"


def _is_idle(stack: Stack) -> None:
    """The engine's call has ended long before it would have by itself."""
    deadline = time.monotonic() + 4
    while stack.ledger()["totals"]["started"]:
        assert time.monotonic() < deadline, stack.ledger()["totals"]
        time.sleep(0.02)
