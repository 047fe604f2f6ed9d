"""What engines say of requests: what is for the client reaches it in the form that its SDK reads, what is for us does not."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest

from router.inference.exchange import KEEPALIVE
from router.inference.retries import ATTEMPTS_MAX
from tests.integration.router.callers import demo
from tests.integration.router.conftest import Stack, becomes
from tests.integration.router.reservations_world import USD, add_budget

Answer = tuple[int, str, bytes]
KEEPALIVE_S = 1.5  # longer than a slow machine takes where the engine answers at once
KNOWN_S_MAX = 10
SECRET = "Incorrect API key provided: sk-oper***ator"
TOO_LONG: Answer = (400, "application/json", b'{"error": {\n  "message": "too long",\n  "type": "BadRequestError"}}')
USAGE = {"prompt_tokens": 7, "completion_tokens": 1, "total_tokens": 8}
WHOLE = {"choices": [{"index": 0, "message": {"content": "a"}, "finish_reason": "stop"}], "usage": USAGE}
CHUNK = {"id": "x", "choices": [{"index": 0, "delta": {"content": "a"}, "finish_reason": None}]}


class Engine(ThreadingHTTPServer):
    """Answers every POST with `answer`, after `wait_s`, and keeps the bodies. Before it waits, it says `first`.

    What is in `once` is answered before, each once.
    """

    daemon_threads = True
    answer: Answer = (200, "application/json", b"{}")
    first = b""
    wait_s = 0.0

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.bodies: list[dict[str, Any]] = []
        self.once: list[Answer] = []


class _Handler(BaseHTTPRequestHandler):
    server: Engine

    def do_GET(self) -> None:
        self._say(200, "application/json", b"{}")

    def do_POST(self) -> None:
        self.server.bodies.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
        status, kind, body = self.server.once.pop() if self.server.once else self.server.answer
        if self.server.first:
            self._begin(status, kind, len(self.server.first + body))
            self.wfile.write(self.server.first)
            time.sleep(self.server.wait_s)
            self.wfile.write(body)
            return
        time.sleep(self.server.wait_s)
        self._say(status, kind, body)

    def _begin(self, status: int, kind: str, size: int) -> None:
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(size))
        self.end_headers()

    def _say(self, status: int, kind: str, body: bytes) -> None:
        self._begin(status, kind, len(body))
        self.wfile.write(body)

    def log_message(self, *arguments: Any) -> None:
        """Nobody reads it."""


@pytest.fixture
def router_env() -> dict[str, str]:
    return {"ROUTER_KEEPALIVE_S": str(KEEPALIVE_S)}


@pytest.fixture
def engine(stack: Stack) -> Iterator[Callable[[str], Engine]]:
    """In the place of the simulated engine, of a kind."""
    with Engine() as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()

        def of_kind(kind: str) -> Engine:
            url = f"http://127.0.0.1:{server.server_port}"
            stack.db.execute("update control.engines set base_url = %s, kind = %s", [url, kind])
            stack.db.commit()
            until_s = time.monotonic() + KNOWN_S_MAX
            while not server.bodies and time.monotonic() < until_s:
                _post(stack, "/tokenize", prompt="Who is there?")
            return server

        yield of_kind
        server.shutdown()


def _post(stack: Stack, path: str, **more: Any) -> httpx.Response:
    body = {"model": "simulated", "messages": [{"role": "user", "content": "Hello."}], "max_tokens": 5} | more
    return httpx.post(stack.router.url + path, json=body, headers={"authorization": f"Bearer {stack.api_key}"}, timeout=20)


def _endings(stack: Stack, error_code: str, count: int) -> list[tuple[str, str]]:
    """(status, charge class) of the rows with an error code, once there are so many; not of who looked for the engine."""
    until_s, rows = time.monotonic() + KNOWN_S_MAX, []
    while len(rows) < count and time.monotonic() < until_s:
        query = "select status, charge_class from raw.usage_events where error_code = %s and endpoint <> 'tokenize'"
        rows = stack.db.execute(query, [error_code]).fetchall()
        stack.db.commit()
    return rows


def test_what_an_engine_says_of_our_key_is_not_told_to_the_client(stack: Stack, engine: Callable[[str], Engine]) -> None:
    server = engine("vllm")
    for status in (401, 402):
        server.answer = (status, "application/json", json.dumps({"error": {"message": SECRET}}).encode())
        answer = _post(stack, "/v1/chat/completions")
        assert (answer.status_code, answer.json()["error"]["code"]) == (502, "engine_failed")
        assert "sk-oper" not in answer.text


def test_a_providers_account_without_credit_is_no_word_to_the_client(stack: Stack, engine: Callable[[str], Engine]) -> None:
    """It would take it for its own; and to wait, as after other 429, does not help."""
    server = engine("openai")
    quota = {"message": "You exceeded your current quota.", "type": "insufficient_quota", "code": "insufficient_quota"}
    server.answer = (429, "application/json", json.dumps({"error": quota}).encode())
    within = 200, "text/event-stream", b"data: %b\n\n" % json.dumps({"error": quota | {"code": 429}}).encode()
    for stream, said in ((False, server.answer), (True, server.answer), (True, within)):
        server.answer = said
        answer = _post(stack, "/v1/chat/completions", stream=stream)
        assert (answer.status_code, answer.json()["error"]["code"]) == (502, "engine_failed")
        assert "quota" not in answer.text
    assert _endings(stack, "engine_402", 3) == [("engine_failed", "free_engine_failed")] * 3


def test_an_endpoint_that_the_engine_does_not_have_is_said_to_be_that(stack: Stack, engine: Callable[[str], Engine]) -> None:
    """The word of the framework behind it says nothing to a client; one of the API does, and is passed on."""
    server = engine("vllm")
    for status in (404, 405):
        server.answer = (status, "application/json", b'{"detail":"Not Found"}')
        said = _post(stack, "/v1/embeddings", input="hello")
        assert (said.status_code, said.json()["error"]["code"]) == (status, "endpoint_not_served")
        assert "/v1/embeddings" in said.json()["error"]["message"]
        assert _endings(stack, f"engine_{status}", 1) == [("refused", "free_refused")]
    server.answer = (404, "application/json", b'{"error":{"message":"there is no such file"}}')
    assert _post(stack, "/v1/embeddings", input="hello").content == server.answer[2]


def test_a_refusal_that_no_sdk_can_read_is_said_in_the_envelope(stack: Stack, engine: Callable[[str], Engine]) -> None:
    server = engine("vllm")
    server.answer = (413, "text/html", b"<html>Request Entity Too Large</html>")
    said = _post(stack, "/v1/chat/completions")
    assert (said.status_code, said.json()["error"]["type"]) == (413, "invalid_request_error")
    assert said.json()["error"]["request_id"] == said.headers["x-request-id"]
    assert _post(stack, "/v1/messages").json()["type"] == "error"
    server.answer = TOO_LONG
    assert _post(stack, "/v1/chat/completions").content == TOO_LONG[2]


def test_a_refusal_that_repeats_the_prompt_is_no_failure_of_the_engine(stack: Stack, engine: Callable[[str], Engine]) -> None:
    """As SGLang says what is wrong with a field. As a failure it would be tried again, and soon keep everybody out."""
    server = engine("sglang")
    server.answer = (400, "application/json", json.dumps({"error": {"message": "no tools: " + "a" * 200_000}}).encode())
    before = len(server.bodies)
    for _ in range(6):
        said = _post(stack, "/v1/chat/completions")
        assert (said.status_code, said.json()["error"]["code"]) == (400, "invalid_request")
    assert len(server.bodies) == before + 6
    assert _endings(stack, "engine_400", 6) == [("refused", "free_refused")] * 6


def test_what_an_engine_cannot_do_is_no_failure_of_it(stack: Stack, engine: Callable[[str], Engine]) -> None:
    server = engine("vllm")
    server.answer = (501, "application/json", b'{"error":{"message":"The model does not support this API","code":501}}')
    before = len(server.bodies)
    for _ in range(6):  # after five failures nobody would be let to it for a while
        said = _post(stack, "/v1/chat/completions")
        assert (said.status_code, said.content) == (501, server.answer[2])
        assert said.headers["x-should-retry"] == "false"
    assert len(server.bodies) == before + 6
    assert _endings(stack, "engine_501", 6) == [("refused", "free_refused")] * 6


def test_a_refusal_inside_a_stream_is_one(stack: Stack, engine: Callable[[str], Engine]) -> None:
    """As vLLM says that a grammar is none; after the first piece of an answer the same is a failure."""
    server = engine("vllm")
    said = b"data: %b\n\ndata: [DONE]\n\n" % json.dumps({"error": {"message": "no grammar", "code": 400}}).encode()
    begun = b"data: %b\n\n" % json.dumps(CHUNK).encode()
    role = {"id": "x", "choices": [{"index": 0, "delta": {"role": "assistant"}, "finish_reason": None}]}
    too_long = b"data: %b\n\n" % json.dumps(role).encode() + said.replace(b"no grammar", b"the maximum context length is 5")
    for answer in (said, too_long, begun + said, begun + said.replace(b"400", b"500")):
        server.answer = (200, "text/event-stream", answer)
        assert _post(stack, "/v1/chat/completions", stream=True).content == answer
    for answer in (said.replace(b"400", b"500"), said.replace(b"400", b'"bad"')):
        server.answer = (200, "text/event-stream", answer)
        told = _post(stack, "/v1/chat/completions", stream=True)
        assert (told.status_code, told.json()["error"]["code"]) == (502, "engine_failed")
    until_s, rows = time.monotonic() + KNOWN_S_MAX, []
    while len(rows) < 6 and time.monotonic() < until_s:
        rows = stack.db.execute(
            "select status, charge_class, error_code, http_status from raw.usage_events where stream order by started_at"
        ).fetchall()
        stack.db.commit()
    within = ("engine_failed", "free_engine_failed", "engine_error_event", 200)
    instead = ("engine_failed", "free_engine_failed", "engine_failed", 502)
    assert rows == [("refused", "free_refused", "engine_400", 200)] * 2 + [within, within, instead, instead]


def test_the_first_token_is_no_comment_of_a_provider(stack: Stack, engine: Callable[[str], Engine]) -> None:
    """The client hears the router's own meanwhile, so that no proxy takes its connection for dead."""
    server = engine("openai")
    stream = b"data: %b\n\ndata: [DONE]\n\n" % json.dumps(CHUNK).encode()
    server.answer, server.first, server.wait_s = (200, "text/event-stream", stream), b": PROVIDER PROCESSING\n\n", 2 * KEEPALIVE_S
    answer = _post(stack, "/v1/chat/completions", stream=True)
    comments = answer.content.removesuffix(stream)
    assert (answer.status_code, comments.replace(KEEPALIVE, b"")) == (200, b"")
    assert comments
    until_s, row = time.monotonic() + KNOWN_S_MAX, None
    while row is None and time.monotonic() < until_s:
        row = stack.db.execute("select ttft_us from raw.usage_events where stream").fetchone()
        stack.db.commit()
    assert row is not None
    assert row[0] >= 1_900_000 * KEEPALIVE_S


@pytest.mark.parametrize(
    ("path", "refusal", "failure", "ends_as"),
    [
        ("/v1/messages", {"type": "invalid_request_error"}, {"type": "overloaded_error"}, ["no_healthy_engine"] * ATTEMPTS_MAX),
        ("/v1/responses", {"code": "invalid_prompt"}, {"code": "server_error"}, ["engine_failed"]),
    ],
)
def test_so_is_one_inside_a_stream_of_named_events(
    stack: Stack, engine: Callable[[str], Engine], path: str, refusal: dict[str, str], failure: dict[str, str], ends_as: list[str]
) -> None:
    server, said = engine("vllm"), []
    for error in (*[refusal] * 6, failure):  # after five failures nobody would be let to it for a while
        told = {"type": "error", "error": {"message": "no", **error}}
        said.append(b"event: error\ndata: %b\n\ndata: [DONE]\n\n" % json.dumps(told).encode())
        server.answer = (200, "text/event-stream", said[-1])
        answer = _post(stack, path, stream=True, input="hello")
        assert (answer.content == said[-1]) == (error is refusal), answer.content
    assert answer.status_code in (502, 503)  # nothing of an answer has come: as if the engine had said so by a status
    assert _endings(stack, "engine_400", 6) == [("refused", "free_refused")] * 6
    assert _endings(stack, ends_as[0], len(ends_as)) == [("engine_failed", "free_engine_failed") for _ in ends_as]


def test_a_stream_that_ends_with_an_error_is_told_of_no_other(stack: Stack, engine: Callable[[str], Engine]) -> None:
    """Anthropic's API and OpenAI's Responses send nothing behind an error."""
    server, error = engine("vllm"), {"message": "no", "code": 500}
    for path, begun, told in (
        ("/v1/messages", {"type": "message_start"}, {"type": "error", "error": error}),
        ("/v1/responses", {"type": "response.created"}, {"type": "error", **error}),
        ("/v1/chat/completions", CHUNK, {"error": error}),
    ):
        events = b"".join(b"data: %b\n\n" % json.dumps(event).encode() for event in (begun, told))
        server.answer = (200, "text/event-stream", events)
        assert _post(stack, path, stream=True, input="hello").content == events
    assert _endings(stack, "engine_error_event", 3) == [("engine_failed", "free_engine_failed")] * 3


def test_half_of_a_surrogate_pair_in_an_answer_is_metered_and_passed_on(stack: Stack, engine: Callable[[str], Engine]) -> None:
    server = engine("vllm")
    usage = {"prompt_tokens": 7, "completion_tokens": 1, "total_tokens": 8}
    whole = {"choices": [{"index": 0, "message": {"content": "\ud83d"}, "finish_reason": "length"}], "usage": usage}
    server.answer = (200, "application/json", json.dumps(whole).encode())
    answer = _post(stack, "/v1/chat/completions")
    assert (answer.status_code, answer.content) == (200, server.answer[2])
    half = {"choices": [{"index": 0, "delta": {"content": "\ud83d"}, "finish_reason": "length"}]}
    server.answer = (200, "text/event-stream", b"data: %b\n\ndata: [DONE]\n\n" % json.dumps(half | {"usage": usage}).encode())
    streamed = _post(stack, "/v1/chat/completions", stream=True)
    assert streamed.content == b"data: %b\n\ndata: [DONE]\n\n" % json.dumps(half).encode()
    until_s, rows = time.monotonic() + KNOWN_S_MAX, []
    while len(rows) < 2 and time.monotonic() < until_s:
        query = "select input_tokens, output_tokens, finish_reason from raw.usage_events where status = 'completed'"
        rows = stack.db.execute(query).fetchall()
        stack.db.commit()
    assert rows == [(7, 1, "length")] * 2


def test_a_refusal_after_comments_is_one_event_whatever_its_lines(stack: Stack, engine: Callable[[str], Engine]) -> None:
    server = engine("vllm")
    server.answer, server.wait_s = TOO_LONG, 2 * KEEPALIVE_S
    for path, name in (("/v1/chat/completions", None), ("/v1/messages", "error")):
        *comments, event, end = _post(stack, path, stream=True).text.split("\n\n")
        assert comments
        assert end == ""
        lines = [line.partition(": ")[::2] for line in event.split("\n")]
        assert dict(lines).get("event") == name
        assert json.loads("\n".join(value for field, value in lines if field == "data")) == json.loads(TOO_LONG[2])


def test_a_hosted_provider_is_asked_for_nothing_that_its_api_does_not_have(stack: Stack, engine: Callable[[str], Engine]) -> None:
    server = engine("openai")
    events = [CHUNK, {**CHUNK, "choices": [], "usage": {"prompt_tokens": 7, "completion_tokens": 1}}]
    stream = b"".join(b"data: %b\n\n" % json.dumps(event).encode() for event in events) + b"data: [DONE]\n\n"
    server.answer = (200, "text/event-stream", stream)
    answer = _post(stack, "/v1/chat/completions", stream=True)
    assert server.bodies[-1]["stream_options"] == {"include_usage": True}
    assert answer.text == f"data: {json.dumps(CHUNK)}\n\ndata: [DONE]\n\n"
    until_s, row = time.monotonic() + KNOWN_S_MAX, None
    while row is None and time.monotonic() < until_s:
        row = stack.db.execute("select input_tokens, output_tokens from raw.usage_events where stream").fetchone()
        stack.db.commit()
    assert row == (7, 1)


def test_usage_of_a_hosted_provider_is_where_it_was_asked_for(stack: Stack, engine: Callable[[str], Engine]) -> None:
    """Some state it with the last piece, and have no chunk of its own for it."""
    server = engine("openai")
    last = {"id": "x", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
    usage = {"usage": {"prompt_tokens": 7, "completion_tokens": 1}}
    for events in ([CHUNK, last | usage], [CHUNK | {"usage": None}, last | {"usage": None}, {**CHUNK, "choices": []} | usage]):
        stream = b"".join(b"data: %b\n\n" % json.dumps(event).encode() for event in events) + b"data: [DONE]\n\n"
        server.answer = (200, "text/event-stream", stream)
        asked = {"include_usage": True}
        assert _post(stack, "/v1/chat/completions", stream=True, stream_options=asked).content == stream
        assert server.bodies[-1]["stream_options"] == asked
        assert b"usage" not in _post(stack, "/v1/chat/completions", stream=True).content
    until_s, rows = time.monotonic() + KNOWN_S_MAX, []
    while len(rows) < 4 and time.monotonic() < until_s:
        rows = stack.db.execute("select input_tokens, output_tokens, token_source from raw.usage_events where stream").fetchall()
        stack.db.commit()
    assert rows == [(7, 1, "engine")] * 4


def test_what_completions_are_held_for_is_what_the_engine_is_asked_for(stack: Stack, engine: Callable[[str], Engine]) -> None:
    """Whose own default may be another: SGLang's is 128 tokens."""
    server = engine("sglang")
    for cap, asked in ((None, 16), (10, 10)):
        stack.db.execute("update control.api_keys set output_tokens_max = %s", [cap])
        stack.db.commit()
        until_s = time.monotonic() + KNOWN_S_MAX
        while server.bodies[-1].get("max_tokens") != asked and time.monotonic() < until_s:
            _post(stack, "/v1/completions", prompt="hello", max_tokens=None)
        assert server.bodies[-1]["max_tokens"] == asked


def test_what_a_budget_holds_of_output_is_what_the_engine_is_asked_for(stack: Stack, engine: Callable[[str], Engine]) -> None:
    """An engine without a word of it goes on to the end of its context, and the budget would be overshot."""
    server = engine("vllm")
    server.answer = (200, "application/json", json.dumps(WHOLE).encode())
    most = stack.db.execute("select output_tokens_max from control.models where name = 'simulated'").fetchone()
    stack.db.commit()
    assert most is not None

    def asked() -> Any:
        assert _post(stack, "/v1/chat/completions", max_tokens=None).status_code == 200
        return server.bodies[-1].get("max_completion_tokens")

    assert asked() is None, "nothing counts on it, and it is the engine's to decide"
    add_budget(stack.db, demo(stack), 100 * USD)
    assert becomes(lambda: asked() == most[0])


def test_another_attempt_at_a_model_is_held_for_and_spends_as_the_first(stack: Stack, engine: Callable[[str], Engine]) -> None:
    server = engine("vllm")
    server.answer = (200, "application/json", json.dumps(WHOLE).encode())
    add_budget(stack.db, demo(stack), 10**9, period="lifetime")

    def refused() -> httpx.Response:
        return _post(stack, "/v1/chat/completions", max_tokens=10**6, n=1000)

    assert becomes(lambda: refused().status_code == 429)
    before = refused().json()["error"]["details"]["spent_usd"]
    server.once = [(503, "application/json", b'{"error":{"message":"no","code":503}}')]
    answer = _post(stack, "/v1/chat/completions")
    assert (answer.status_code, answer.headers["x-inferhouse-attempts"]) == (200, "2")
    details = refused().json()["error"]["details"]
    assert Decimal(details["held_usd"]) == 0
    assert Decimal(details["spent_usd"]) - Decimal(before) == Decimal(answer.headers["x-inferhouse-cost-usd"]) > 0


def test_a_whole_stream_that_states_no_usage_is_not_estimated(stack: Stack, engine: Callable[[str], Engine]) -> None:
    """Its cost stays unknown, so that somebody looks, instead of a guess on an invoice."""
    server = engine("openai")
    server.answer = (200, "text/event-stream", b"data: %b\n\ndata: [DONE]\n\n" % json.dumps(CHUNK).encode())
    assert _post(stack, "/v1/chat/completions", stream=True).text.endswith("data: [DONE]\n\n")
    until_s, row = time.monotonic() + KNOWN_S_MAX, None
    while row is None and time.monotonic() < until_s:
        row = stack.db.execute(
            "select status, token_source, output_tokens, cost_picousd from raw.usage_events where stream"
        ).fetchone()
        stack.db.commit()
    assert row == ("completed", "none", 0, None)


def test_a_hard_budget_holds_though_the_engine_states_no_usage(stack: Stack, engine: Callable[[str], Engine]) -> None:
    stream = b"data: %b\n\ndata: [DONE]\n\n" % json.dumps(CHUNK).encode()
    engine("openai").answer = (200, "text/event-stream", stream)
    add_budget(stack.db, demo(stack), 60_000_000, period="lifetime")
    deadline = time.monotonic() + KNOWN_S_MAX
    while (
        _post(stack, "/v1/chat/completions", stream=True).status_code != 429
    ):  # what each cost is not known, and what it held is
        assert time.monotonic() < deadline


def test_what_a_failed_engine_took_is_not_said_to_be_the_routers_time(stack: Stack, engine: Callable[[str], Engine]) -> None:
    server = engine("vllm")
    server.answer, server.wait_s = (503, "application/json", b'{"error":{"message":"no","code":503}}'), 2.0
    before = len(server.bodies)

    def mend() -> None:
        while len(server.bodies) == before:
            time.sleep(0.01)
        time.sleep(1)
        server.answer, server.wait_s = (200, "application/json", json.dumps(WHOLE).encode()), 0.0

    mending = threading.Thread(target=mend)
    mending.start()
    answer = _post(stack, "/v1/chat/completions")
    mending.join()
    assert (answer.status_code, answer.headers["x-inferhouse-attempts"]) == (200, "2")
    assert float(answer.headers["x-inferhouse-overhead-ms"]) < 2000
