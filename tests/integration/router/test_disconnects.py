"""Where a client leaves, x how, x stream or not, x every endpoint: one row of the right class, and no work for nobody.

The engine of these tests has the simulated engine's answers and stops at the byte that a test names, so that a client leaves
exactly there: before the head, in the middle of the usage chunk, before the last byte.
"""

import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import httpx
import pytest
from psycopg.rows import dict_row

from router.inference.shapes import SHAPES
from tests.integration.router.conftest import Stack
from tests.integration.router.test_endpoints import BODIES, STREAMED, Call

ASKED_S_MAX = 10.0
ENDED_S_MAX = 5.0
ROWS_S_MAX = 5.0
HEALTHY = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"
OPTIONS = {"stream_options": {"include_usage": True, "continuous_usage_stats": True}}  # as the router asks for
COUNTS = (b'"usage"', b'"count"', b'"input_tokens"')
FAILED = b'event: response.failed\ndata: {"type":"response.failed","response":{"status":"failed"}}\n\n'
DELTAS = {"/v1/responses": b"event: response.output_text.delta\n", "/v1/messages": b"event: content_block_delta\n"}
# Of the bytes of an answer, where the engine stops. The first two are before the client has anything of it.
POINTS = ("before the head", "after the head", "at the first piece", "at the fourth piece", "in the usage", "before the end")


class StoppingEngine:
    """Sends the first `stop_at` bytes of `answer`, and waits: for more to be wanted of it, or for the router to hang up."""

    def __init__(self) -> None:
        self.answer, self.stop_at = b"", 0
        self.stopped, self.hung_up = threading.Event(), threading.Event()
        self._accepting, self._holds_one = threading.Event(), threading.Event()
        self._accepting.set()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def prepare(self, answer: bytes, stop_at: int) -> None:
        self.answer, self.stop_at = answer, stop_at
        self.stopped.clear()
        self.hung_up.clear()

    @contextmanager
    def accepting_nobody(self) -> Iterator[None]:
        """Who connects now is let wait by the kernel: there are others in the backlog."""
        self._listener.listen(0)
        self._accepting.clear()
        self._holds_one.clear()
        with ExitStack() as stack:
            stack.enter_context(socket.create_connection(self._listener.getsockname()))
            assert self._holds_one.wait(ROWS_S_MAX)  # or a place in the backlog would be free as soon as it is accepted
            with suppress(TimeoutError):
                while True:  # until the backlog has no room: the kernel may take one more than it says, and later than asked
                    line = stack.enter_context(socket.socket())
                    line.settimeout(0.3)
                    line.connect(self._listener.getsockname())
            yield
        self._listener.listen()
        self._accepting.set()

    def close(self) -> None:
        self._accepting.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                router, _ = self._listener.accept()
            except OSError:
                return
            self._holds_one.set()
            self._accepting.wait()
            threading.Thread(target=self._serve, args=(router,), daemon=True).start()

    def _serve(self, router: socket.socket) -> None:
        with router:
            try:
                while asked := router.recv(65536):
                    if asked.startswith(b"GET"):
                        router.sendall(HEALTHY)
                        continue
                    router.sendall(self.answer[: self.stop_at])
                    self.stopped.set()
                    if self.stop_at < len(self.answer):
                        assert not router.recv(1), "the router says no more"
                        break
            except OSError:
                pass  # with a reset
            else:
                if not asked.startswith(b"POST"):
                    return
            self.hung_up.set()


@pytest.fixture
def engine(stack: Stack) -> Iterator[StoppingEngine]:
    """In the place of the simulated engine."""
    engine = StoppingEngine()
    stack.db.execute("update control.engines set base_url = %s", [engine.url])
    stack.db.commit()
    yield engine
    engine.close()


def _answer(stack: Stack, path: str, *, stream: bool, options: dict[str, Any] = OPTIONS) -> tuple[bytes, bytes]:
    """(head, body) of the simulated engine's answer to what the router asks, as they go over the wire."""
    body: dict[str, Any] = {"model": "simulated"} | BODIES[path] | ({"stream": True} if stream else {})
    if stream and SHAPES[path].has_options:
        body |= options
    content = httpx.post(stack.engine.url + path, json=body).raise_for_status().content
    kind = b"text/event-stream" if stream else b"application/json"
    return b"HTTP/1.1 200 OK\r\ncontent-type: %b\r\ncontent-length: %d\r\n\r\n" % (kind, len(content)), content


def _cut(body: bytes, point: str, *, stream: bool) -> int:
    """How many bytes of the body go before the point."""
    if point == "in the usage":
        return max(body.rfind(name) for name in COUNTS if name in body) + 10 if any(name in body for name in COUNTS) else 1
    if point == "before the end":
        return len(body) - 1
    if not stream:
        return 1 if point == "at the first piece" else len(body) // 2
    ends, at = [], 0
    while (at := body.find(b"\n\n", at)) >= 0:
        at += 2
        ends.append(at)
    return ends[0 if point == "at the first piece" else 3]


def _row(stack: Stack, case: str) -> dict[str, Any]:
    """The one row of a case."""
    deadline = time.monotonic() + ROWS_S_MAX
    while True:
        with stack.db.cursor(row_factory=dict_row) as cur:
            rows = cur.execute("select * from raw.usage_events where tags ->> 'case' = %s", [case]).fetchall()
        stack.db.commit()
        if rows or time.monotonic() > deadline:
            assert len(rows) == 1, (case, rows)
            return rows[0]
        time.sleep(0.02)


def _leave(call: Call, how: str) -> None:
    if how == "with a reset":
        call.leave()
    else:
        call.line.close()


def _passed(path: str, sent: bytes) -> tuple[int, int, str]:
    """(input, output, source) of the tokens that a stream has told of by then."""
    events = sent.split(b"\n\n")[:-1]
    if path in DELTAS:
        made = sum(event.startswith(DELTAS[path]) for event in events)
        told = [json.loads(event.partition(b"data: ")[2]) for event in events if event.startswith(b"event: message_")]
        prompt = told[0]["message"]["usage"]["input_tokens"] if told else 0
        if len(told) > 1:
            return prompt, told[1]["usage"]["output_tokens"], "running"
        return prompt, made, "estimate" if made or prompt else "none"
    stated = [json.loads(event[6:]).get("usage") for event in events if event.startswith(b"data: {")]
    usage = next((usage for usage in reversed(stated) if usage), None)
    return (usage["prompt_tokens"], usage["completion_tokens"], "running") if usage else (0, 0, "none")


@pytest.mark.timeout(180)
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_a_client_that_leaves_anywhere_has_one_row_and_the_engines_call_ends(
    stack: Stack, engine: StoppingEngine, stream: bool
) -> None:
    _until_served(stack, engine)
    for path in STREAMED if stream else BODIES:
        head, body = _answer(stack, path, stream=stream)
        for number, point in enumerate(POINTS):
            sent = 0 if point in POINTS[:2] else _cut(body, point, stream=stream)
            case, how = f"{path} {point}", ("with a reset", "with a word")[number % 2]
            engine.prepare(head + body, 0 if point == "before the head" else len(head) + sent)
            _leaves(stack, engine, path, case, how, stream=stream, has_begun=stream and b"\n\n" in body[:sent])
            row = _row(stack, case)
            assert (row["status"], row["http_status"], row["charge_class"], row["error_code"]) == (
                "client_closed", 499, "charged", "client_closed"
            ), (case, row)  # fmt: skip
            assert (row["endpoint"], row["stream"], row["attempt"]) == (SHAPES[path].endpoint, stream, 1)
            counted = _passed(path, body[:sent]) if stream else (0, 0, "none")
            assert (row["input_tokens"], row["output_tokens"], row["token_source"]) == counted, (case, row)
            assert row["cost_picousd"] is not None
            assert (row["cost_picousd"] > 0) == (counted[:2] != (0, 0)), (case, row)


@pytest.mark.parametrize("null", [False, True], ids=["no usage", "null as usage"])
def test_a_stream_of_a_hosted_provider_that_is_left_has_its_pieces_as_output(
    stack: Stack, engine: StoppingEngine, null: bool
) -> None:
    stack.db.execute("update control.engines set kind = 'openai'")
    stack.db.commit()
    _until_served(stack, engine)
    for path in ("/v1/chat/completions", "/v1/completions"):
        head, body = _answer(stack, path, stream=True, options={"stream_options": {"include_usage": True}})
        if null:
            body = body.replace(b"}]}\n\n", b'}],"usage":null}\n\n')
            head = head[: head.rfind(b" ") + 1] + b"%d\r\n\r\n" % len(body)
        sent = _cut(body, "at the fourth piece", stream=True)
        engine.prepare(head + body, len(head) + sent)
        _leaves(stack, engine, path, path, "with a reset", stream=True, has_begun=True)
        row, texts = _row(stack, path), [json.loads(event[6:])["choices"][0] for event in body[:sent].split(b"\n\n")[:-1]]
        pieces = sum(bool(choice["delta"].get("content") if "delta" in choice else choice["text"]) for choice in texts)
        assert 0 < pieces <= 4
        assert (row["status"], row["charge_class"], row["token_source"]) == ("client_closed", "charged", "estimate")
        assert (row["input_tokens"], row["output_tokens"]) == (0, pieces)
        assert row["cost_picousd"] > 0


@pytest.mark.parametrize("last", [b"", b"data: [DONE]\n\n", FAILED], ids=["", "done", "failed"])
def test_a_client_that_leaves_because_the_engine_says_that_it_failed_pays_nothing(
    stack: Stack, engine: StoppingEngine, last: bytes
) -> None:
    _until_served(stack, engine)
    for path in STREAMED if last != FAILED else ("/v1/responses",):
        head, body = _answer(stack, path, stream=True)
        first = _cut(body, "at the first piece", stream=True)
        name = b"event: error\n" if path in DELTAS else b""
        error = name + b'data: {"error": {"message": "out of memory", "code": 500}}\n\n'
        sent = body[:first] + (b": out of memory\n\n" if last == FAILED else error) + last
        engine.prepare(head.replace(b"%d" % len(body), b"%d" % (len(sent) + 9)) + sent + b"and so on", len(head) + len(sent))
        call = _ask(stack, path, path, stream=True)
        call.read_until(lambda said: b"out of memory" in said)
        _leave(call, "with a reset")
        row = _row(stack, path)
        assert (row["status"], row["charge_class"], row["error_code"], row["cost_picousd"]) == (
            "engine_failed", "free_engine_failed", "engine_error_event", 0
        ), (path, row)  # fmt: skip


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_a_client_that_leaves_after_the_finish_changes_nothing(stack: Stack, engine: StoppingEngine, stream: bool) -> None:
    _until_served(stack, engine)
    for path in STREAMED if stream else BODIES:
        head, body = _answer(stack, path, stream=stream)
        for how in ("with a reset", "with a word"):
            engine.prepare(head + body, len(head + body))
            call = _ask(stack, path, f"{path} {how}", stream=stream)
            call.read_until(lambda said: said.endswith(b"0\r\n\r\n" if stream else b"}"))
            _leave(call, how)
            row = _row(stack, f"{path} {how}")
            assert (row["status"], row["http_status"], row["charge_class"]) == ("completed", 200, "charged"), row
            assert row["token_source"] == "engine"
            assert row["input_tokens"] > 0


def _until_one_connects(stack: Stack, engine: StoppingEngine, crowd: ExitStack) -> list[Call]:
    """Streams of which the last one waits for a connection to the engine, which accepts none until `crowd` is closed."""
    _until_served(stack, engine)
    head, body = _answer(stack, "/v1/chat/completions", stream=True)
    engine.prepare(head + body, 0)
    crowd.enter_context(engine.accepting_nobody())
    calls = [_ask(stack, "/v1/chat/completions", "0", stream=True)]
    while engine.stopped.wait(0.5):  # on a connection that there was already
        engine.stopped.clear()
        calls.append(_ask(stack, "/v1/chat/completions", str(len(calls)), stream=True))
    return calls


@pytest.mark.parametrize("accepts_later", [False, True])
def test_a_client_that_leaves_while_an_engine_is_connected_to_has_a_row(
    stack: Stack, engine: StoppingEngine, accepts_later: bool
) -> None:
    with ExitStack() as crowd:
        calls = _until_one_connects(stack, engine, crowd)
        calls[-1].leave()
        if accepts_later:
            time.sleep(0.1)
            crowd.close()
        row = _row(stack, str(len(calls) - 1))
        for call in calls[:-1]:
            call.leave()
    assert (row["status"], row["http_status"], row["attempt"]) == ("client_closed", 499, 0), row
    assert (row["charge_class"], row["cost_picousd"]) == ("free_refused", 0)
    assert not engine.stopped.is_set(), "the engine has not been asked"


@pytest.mark.parametrize("router_env", [{"ROUTER_TOTAL_S_MAX": "2", "ROUTER_CONNECT_S_MAX": "60"}], ids=["two seconds"])
def test_an_engine_that_is_connected_to_when_a_request_has_no_time_left_is_not_asked(
    stack: Stack, engine: StoppingEngine
) -> None:
    with ExitStack() as crowd:
        calls = _until_one_connects(stack, engine, crowd)
        time.sleep(2)
        crowd.close()
        row = _row(stack, str(len(calls) - 1))
        for call in calls:
            call.leave()
    assert (row["status"], row["error_code"], row["http_status"], row["attempt"]) == ("refused", "engine_timed_out", 504, 0), row
    assert not engine.stopped.is_set(), "the engine has not been asked"


def _leaves(stack: Stack, engine: StoppingEngine, path: str, case: str, how: str, *, stream: bool, has_begun: bool) -> None:
    """One call, up to where the engine stops."""
    call = _ask(stack, path, case, stream=stream)
    if not engine.stopped.wait(ASKED_S_MAX):
        call.leave()
        raise AssertionError(f"{case}: the engine is not asked")
    if has_begun:
        call.read_until(lambda said: b"\r\n\r\n" in said)
    time.sleep(0.05)  # what was sent is on its way through the router
    _leave(call, how)
    assert engine.hung_up.wait(ENDED_S_MAX), f"{case}, {how}: the engine is still working for nobody"


def _ask(stack: Stack, path: str, case: str, *, stream: bool) -> Call:
    tags = f"x-inferhouse-tags: case={case.replace(' ', '%20')}\r\n"
    return Call(stack, path, BODIES[path] | ({"stream": True} if stream else {}), tags)


def _until_served(stack: Stack, engine: StoppingEngine) -> None:
    """Until the router knows the address."""
    head, body = _answer(stack, "/tokenize", stream=False)
    engine.prepare(head + body, len(head + body))
    deadline = time.monotonic() + ROWS_S_MAX
    while not engine.stopped.is_set():
        assert time.monotonic() < deadline
        httpx.post(
            stack.router.url + "/tokenize",
            json={"model": "simulated"} | BODIES["/tokenize"], headers={"authorization": f"Bearer {stack.api_key}"},
        )  # fmt: skip
