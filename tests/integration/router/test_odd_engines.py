"""Engines that answer with something else than an answer: another one is asked, and nobody sees what is ours to mend."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, cast

import httpx
import pytest
from psycopg.types.json import Jsonb

from router.inference.exchange import RACED_US_MAX
from tests.integration.router.callers import demo
from tests.integration.router.conftest import Stack, becomes
from tests.integration.router.reservations_world import add_budget
from warehouse.identity.sealed import Sealer

SEALING_KEY, PROVIDER_KEY = "what seals the keys of providers", "sk-of-a-provider"
PROBED_S, SEEN_S = 2, 10
ENDED_US_MAX = 10_000_000  # a third of what an engine may be silent for between two tokens
LEFT_S_MAX = 1.0
JSON, HTML, EVENTS = "application/json", "text/html", "text/event-stream"
PAGE = b"<html><body>\n\nsign in, please\n\n</body></html>"
TOO_LONG = {"error": {"message": "This model's maximum context length is 8192 tokens.", "code": "context_length_exceeded"}}
USAGE = {"prompt_tokens": 3, "completion_tokens": 1, "total_tokens": 4}
CHUNK = {"id": "x", "choices": [{"index": 0, "delta": {"content": "a"}, "finish_reason": "stop"}], "usage": USAGE}
WHOLE = {
    "id": "x",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "a"}, "finish_reason": "stop"}],
    "usage": USAGE,
}


class OddEngine(ThreadingHTTPServer):
    """Well by its probes; every call gets `answer`, whole and with a good end. Below a path of its own.

    Or `unended` as one chunk, without the last one, and the connection's end or, `is_kept_open`, not even that.
    """

    daemon_threads, request_queue_size = True, 1

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}/below/it"
        self.answer = 200, JSON, b""
        self.unended: bytes | None = None
        self.is_kept_open = False
        self.says_length = True
        self.retry_after: str | None = None
        self.hangs_up: tuple[bytes, float] | None = None
        """With which part of an answer, and after how many seconds, it closes a connection instead of answering."""
        self.calls: list[dict[str, str]] = []
        self.probed = threading.Event()
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    def stop_accepting(self) -> list[socket.socket]:
        """From now on connections to it are neither made nor refused. Returns those that fill its line."""
        self.shutdown()
        filling = []
        for _ in range(self.request_queue_size + 1):
            client = socket.socket()
            client.settimeout(0)
            client.connect_ex(("127.0.0.1", self.server_address[1]))
            filling.append(client)
        return filling


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        assert self.path == "/below/it/health"
        self._say(200, JSON, b"{}")
        self._engine.probed.set()

    def do_POST(self) -> None:
        assert self.path == "/below/it/v1/chat/completions"
        self.rfile.read(int(self.headers["content-length"]))
        self._engine.calls.append({name.lower(): value for name, value in self.headers.items()})
        if self._engine.unended is not None:
            self.wfile.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")
            self.wfile.write(b"%x\r\n%b\r\n" % (len(self._engine.unended), self._engine.unended))
            if self._engine.is_kept_open:
                self.rfile.read(1)  # until the router has left
        elif self._engine.hangs_up is None:
            self._say(*self._engine.answer)
        else:
            said, later_s = self._engine.hangs_up
            self.wfile.write(said)
            time.sleep(later_s)
            self.close_connection = True

    @property
    def _engine(self) -> OddEngine:
        return cast("OddEngine", self.server)

    def _say(self, status: int, kind: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("content-type", kind)
        if self._engine.retry_after is not None and self.command == "POST":
            self.send_header("retry-after", self._engine.retry_after)
        if self._engine.says_length:
            self.send_header("content-length", str(len(body)))
        if self.command == "GET" or not self._engine.says_length:
            self.send_header("connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def router_env() -> dict[str, str]:
    return {"ROUTER_SEALING_KEY": SEALING_KEY, "ROUTER_HEALTH_INTERVAL_S": str(PROBED_S), "ROUTER_CONNECT_S_MAX": "8"}


@pytest.fixture
def odd(stack: Stack) -> Iterator[OddEngine]:
    """The one engine of `odd`, a model with less context than `simulated`, which stands behind it in the alias `either`."""
    engine = OddEngine()
    model = stack.db.execute(
        "insert into control.models (name, context_tokens_max, output_tokens_max) values ('odd', 8192, 4096) returning id"
    ).fetchone()
    assert model is not None
    sealed = Sealer([SEALING_KEY]).seal(PROVIDER_KEY, "engine-odd")
    stack.db.execute(
        "insert into control.engines (name, kind, base_url, model_id, sealed_key) values ('engine-odd', 'vllm', %s, %s, %s)",
        [engine.url, model[0], sealed],
    )
    stages = [[{"model": "odd", "weight": 1}], [{"model": "simulated", "weight": 1}]]
    stack.db.execute(
        "insert into control.model_aliases (public_id, name, stages) values ('alias_00000000000000000001', 'either', %s)",
        [Jsonb(stages)],
    )
    stack.db.commit()
    assert engine.probed.wait(SEEN_S)
    yield engine
    engine.shutdown()
    engine.server_close()


def _in_flight(stack: Stack) -> float:
    """At all engines."""
    lines = httpx.get(stack.router.url + "/metrics").text.splitlines()
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith("inferhouse_engine_in_flight{"))


def _events(*events: object) -> bytes:
    return b"".join(b"data: " + json.dumps(event).encode() + b"\n\n" for event in events)


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ((200, HTML, PAGE), "engine_failed"),
        ((200, JSON, PAGE), "engine_failed"),
        ((302, HTML, PAGE), "engine_failed"),
        ((507, JSON, b'{"error": {"message": "no room"}}'), "engine_failed"),
        ((599, HTML, PAGE), "engine_failed"),
        ((200, JSON, b'{"error": {"message": "the provider is gone", "code": 502}}'), "engine_failed"),
        ((200, JSON, b'{"error": {"message": "no such key", "code": 401}}'), "engine_401"),
        ((401, JSON, b'{"error": {"message": "Incorrect API key provided: sk-of-a-provider"}}'), "engine_401"),
        ((402, JSON, b'{"error": {"message": "this account has no credits"}}'), "engine_402"),
        ((404, JSON, b'{"error": {"message": "The model `odd` does not exist.", "param": "model", "code": 404}}'), "engine_404"),
        ((400, JSON, json.dumps(TOO_LONG).encode()), "engine_400"),
    ],
)
def test_another_model_answers_for_an_engine_that_gives_no_answer(
    stack: Stack, odd: OddEngine, hello: dict[str, Any], answer: tuple[int, str, bytes], code: str
) -> None:
    odd.answer = answer
    for stream in (False, True, True):
        found = stack.post(hello | {"model": "either", "stream": stream})
        assert (found.status_code, found.headers["x-inferhouse-model"]) == (200, "simulated"), found.text
    rows = stack.rows(6)
    assert [row["error_code"] for row in rows] == [code, None] * 3
    assert {row["charge_class"].split("_")[0] for row in rows if row["error_code"]} == {"free"}
    alone = stack.post(hello | {"model": "odd"})
    assert alone.status_code == (400 if code == "engine_400" else 502)
    assert PROVIDER_KEY not in alone.text
    assert {call["authorization"] for call in odd.calls} == {f"Bearer {PROVIDER_KEY}"}


@pytest.fixture
def turned(stack: Stack, odd: OddEngine) -> OddEngine:
    """The alias `turned`: the model `simulated`, and then `odd`, for whose context every prompt is too long."""
    stages = [[{"model": "simulated", "weight": 1}], [{"model": "odd", "weight": 1}]]
    stack.db.execute(
        "insert into control.model_aliases (public_id, name, stages) values ('alias_00000000000000000002', 'turned', %s)",
        [Jsonb(stages)],
    )
    stack.db.commit()
    odd.answer = 400, JSON, json.dumps(TOO_LONG).encode()
    return odd


def test_a_prompt_is_not_too_long_because_it_is_for_the_model_that_stands_in(
    stack: Stack, turned: OddEngine, hello: dict[str, Any]
) -> None:
    """An agent that is told so cuts its history, and need not: the first model will be back."""
    assert becomes(lambda: stack.post(hello | {"model": "turned"}).headers.get("x-inferhouse-model") == "simulated")
    for fault in ("500", None):
        told = stack.post(hello | {"model": "turned"}, headers={"x-simulated-fault": fault} if fault else None)
        if fault:
            stack.engine.kill()
        assert (told.status_code, told.json()["error"]["code"]) == (503, "no_healthy_engine"), told.text
        assert int(told.headers["retry-after"]) >= 1
    assert len(turned.calls) == 2
    stack.db.execute("update control.engines set weight = 0 where name = 'engine-simulated'")
    stack.db.commit()
    assert becomes(lambda: stack.post(hello | {"model": "turned"}).status_code == 400), "it will not be back"


@pytest.mark.parametrize(
    "router_env", [{"ROUTER_SEALING_KEY": SEALING_KEY, "ROUTER_ENGINE_CONNECTIONS_MAX": "1", "ROUTER_QUEUE_S_MAX": "60"}]
)
@pytest.mark.parametrize("engine_flags", [["--tokens-per-second", "1000"]])
def test_a_prompt_that_is_too_long_for_what_stands_in_waits_for_the_full_model(
    stack: Stack, turned: OddEngine, hello: dict[str, Any]
) -> None:
    assert becomes(lambda: stack.post(hello | {"model": "turned"}).headers.get("x-inferhouse-model") == "simulated")
    long = hello | {"stream": True, "max_tokens": 2000, "min_tokens": 2000}
    headers = {"authorization": f"Bearer {stack.api_key}"}
    with httpx.stream("POST", stack.base_url + "/chat/completions", json=long, headers=headers, timeout=60) as answer:
        chunks = answer.iter_bytes()
        next(chunks)
        found = list[httpx.Response]()
        asking = threading.Thread(target=lambda: found.append(stack.post(hello | {"model": "turned"})))
        asking.start()
        for _ in chunks:
            pass
    asking.join()
    assert (found[0].status_code, found[0].headers["x-inferhouse-model"]) == (200, "simulated"), found[0].text
    assert (found[0].headers["x-inferhouse-attempts"], len(turned.calls)) == ("2", 1)


COMMENT = b": PROVIDER PROCESSING\n\n"
RATE_LIMIT = {"error": {"message": "slow down", "type": "requests", "code": "rate_limit_exceeded"}}


@pytest.mark.parametrize(
    ("events", "code", "alone"),
    [
        (_events({"error": {"message": "out of memory", "code": 500}}), "engine_failed", 502),
        (COMMENT + _events({"error": {"message": "out of memory", "type": "server_error"}}), "engine_failed", 502),
        (_events(CHUNK | {"error": {"message": "the provider is gone", "code": 502}}), "engine_failed", 502),
        (_events({"error": {"message": "no such key", "code": 401}}), "engine_401", 502),
        (_events({"error": {"message": "loading", "code": 503}}), "no_healthy_engine", 503),
        (_events(RATE_LIMIT), "engine_429", 429),
        (_events(TOO_LONG | {"error": TOO_LONG["error"] | {"code": 400}}), "engine_400", 400),
    ],
)
def test_another_model_answers_for_a_stream_that_begins_with_an_error(
    stack: Stack, odd: OddEngine, hello: dict[str, Any], events: bytes, code: str, alone: int
) -> None:
    odd.answer = 200, EVENTS, events + b"data: [DONE]\n\n"
    found = stack.post(hello | {"model": "either", "stream": True})
    assert (found.status_code, found.headers["x-inferhouse-model"]) == (200, "simulated"), found.text
    assert b'"error"' not in found.content
    failed, answered = stack.rows(2)
    assert (failed["error_code"], failed["ttft_us"], answered["error_code"]) == (code, None, None)
    assert failed["charge_class"] == ("free_refused" if alone in (400, 429) else "free_engine_failed")
    told = stack.post(hello | {"model": "odd", "stream": True})
    assert (told.status_code, told.headers["content-type"]) == (alone, JSON), told.text
    assert "error" in told.json()


@pytest.mark.parametrize("stream", [False, True])
def test_a_refusal_with_a_good_status_is_one(stack: Stack, odd: OddEngine, hello: dict[str, Any], stream: bool) -> None:
    """As some providers answer: what is wrong stands in the body only."""
    odd.answer = 200, JSON, b'{"error": {"message": "no such voice", "code": 422}}'
    told = stack.post(hello | {"model": "either", "stream": stream})
    assert (told.status_code, told.content, told.headers["x-inferhouse-model"]) == (422, odd.answer[2], "odd")
    row = stack.row()
    assert (row["status"], row["http_status"], row["error_code"]) == ("refused", 422, "engine_422")
    assert len(odd.calls) == 1


@pytest.mark.parametrize(
    ("status", "told", "waits"),
    [
        (409, 409, {None: False, "30": True, "90": False, "soon": False}),
        (429, 429, {None: False, "60": True}),
        (429, 429, {"90": False}),
        (529, 502, {"7.2": True}),
        (529, 502, {"20": True}),
    ],
)
def test_who_is_refused_is_told_whether_waiting_helps(
    stack: Stack, odd: OddEngine, hello: dict[str, Any], status: int, told: int, waits: dict[str | None, bool]
) -> None:
    for retry_after, is_soon in waits.items():
        odd.answer, odd.retry_after = (status, JSON, b'{"error": {"message": "not now"}}'), retry_after
        found = stack.post(hello | {"model": "odd"})
        whole = "8" if retry_after == "7.2" else retry_after  # never sooner than it wants to be asked
        assert (found.status_code, found.headers.get("retry-after")) == (told, whole), found.text
        assert found.headers.get("x-should-retry") == (None if is_soon else "false")


@pytest.mark.parametrize(
    "router_env", [{"ROUTER_SEALING_KEY": SEALING_KEY, "ROUTER_ENGINE_CONNECTIONS_MAX": "1", "ROUTER_QUEUE_S_MAX": "1"}]
)
@pytest.mark.parametrize("engine_flags", [["--tokens-per-second", "100"]])
def test_who_waits_in_vain_after_an_engine_has_spoken_is_told_what_it_said(
    stack: Stack, odd: OddEngine, hello: dict[str, Any]
) -> None:
    odd.answer, odd.retry_after = (429, JSON, b'{"error": {"message": "not now"}}'), "40"
    long = hello | {"stream": True, "max_tokens": 2000, "min_tokens": 2000}
    headers = {"authorization": f"Bearer {stack.api_key}"}
    with httpx.stream("POST", stack.base_url + "/chat/completions", json=long, headers=headers, timeout=60) as answer:
        chunks = answer.iter_bytes()
        next(chunks)
        found = stack.post(hello | {"model": "either"})
        assert (found.status_code, found.content, found.headers["retry-after"]) == (429, odd.answer[2], "40")
    assert len(odd.calls) == 1


@pytest.mark.parametrize("error", [{"code": 400}, {"code": 422}, {"type": "invalid_request_error", "code": None}])
def test_what_a_stream_says_of_the_request_is_asked_of_no_other_engine(
    stack: Stack, odd: OddEngine, hello: dict[str, Any], error: dict[str, Any]
) -> None:
    odd.answer = 200, EVENTS, COMMENT + _events({"error": {"message": "no grammar"} | error}) + b"data: [DONE]\n\n"
    told = stack.post(hello | {"model": "either", "stream": True})
    assert (told.status_code, told.headers["x-inferhouse-model"], told.content) == (200, "odd", odd.answer[2])
    row = stack.row()
    assert (row["status"], row["charge_class"], row["error_code"]) == (
        "refused", "free_refused", f"engine_{error['code'] or 400}"
    )  # fmt: skip
    assert len(odd.calls) == 1


@pytest.mark.parametrize("first", [COMMENT, COMMENT + b"data: {", b"event: message\n\n"])
def test_who_has_only_sent_comments_has_not_begun_to_answer(
    stack: Stack, odd: OddEngine, hello: dict[str, Any], first: bytes
) -> None:
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
    odd.hangs_up = head + b"%x\r\n%b\r\n" % (len(first), first), 0.2
    found = stack.post(hello | {"model": "either", "stream": True})
    assert (found.status_code, found.headers["x-inferhouse-model"]) == (200, "simulated"), found.text
    failed, answered = stack.rows(2)
    assert (failed["error_code"], failed["ttft_us"], answered["status"]) == ("engine_hung_up", None, "completed")


def test_a_stream_that_is_whole_needs_no_end_marker(stack: Stack, odd: OddEngine, hello: dict[str, Any]) -> None:
    odd.answer = 200, EVENTS, _events(CHUNK)
    whole = stack.post(hello | {"model": "odd", "stream": True})
    assert b'"finish_reason": "stop"' in whole.content
    assert b"error" not in whole.content
    odd.answer = 200, EVENTS, _events(CHUNK | {"choices": [{"index": 0, "delta": {"content": "a"}, "finish_reason": None}]})
    assert b"engine_hung_up" in stack.post(hello | {"model": "odd", "stream": True}).content
    rows = stack.rows(2)
    assert [(row["status"], row["output_tokens"]) for row in rows] == [("completed", 1), ("engine_failed", 1)]


@pytest.mark.parametrize("is_kept_open", [False, True])
def test_a_stream_with_its_end_marker_is_whole_whatever_becomes_of_the_connection(
    stack: Stack, odd: OddEngine, hello: dict[str, Any], is_kept_open: bool
) -> None:
    odd.unended, odd.is_kept_open = _events(CHUNK) + b"data: [DONE]\n\n", is_kept_open
    for _ in range(2):  # on a connection of its own each
        assert stack.post(hello | {"model": "odd", "stream": True}).text.endswith("data: [DONE]\n\n")
    for row in stack.rows(2):
        assert (row["status"], row["error_code"], row["charge_class"]) == ("completed", None, "charged")
        assert (row["output_tokens"], row["token_source"]) == (1, "engine")
        assert row["duration_us"] < ENDED_US_MAX


def test_an_error_inside_a_stream_is_its_end_though_the_connection_breaks_there(
    stack: Stack, odd: OddEngine, hello: dict[str, Any]
) -> None:
    begun = CHUNK | {"choices": [{"index": 0, "delta": {"content": "a"}, "finish_reason": None}]}
    odd.unended = _events(begun, {"error": {"message": "out of memory", "code": 500}})
    told = stack.post(hello | {"model": "odd", "stream": True})
    assert (told.status_code, told.content.count(b'"error"')) == (200, 1), told.text
    row = stack.row()
    assert (row["status"], row["error_code"], row["http_status"]) == ("engine_failed", "engine_error_event", 200)


@pytest.mark.parametrize("router_env", [{"ROUTER_SEALING_KEY": SEALING_KEY, "ROUTER_ANSWER_BYTES_MAX": "3000"}])
@pytest.mark.parametrize("says_length", [False, True])
def test_a_whole_answer_that_is_too_large_is_a_failure_and_free(
    stack: Stack, odd: OddEngine, hello: dict[str, Any], says_length: bool
) -> None:
    odd.says_length = says_length
    body = json.dumps(WHOLE).encode()
    for size, status in ((3000, 200), (3001, 502)):
        odd.answer = 200, JSON, body + b" " * (size - len(body))
        assert stack.post(hello | {"model": "odd"}).status_code == status
    done, failed = stack.rows(2)
    assert (done["charge_class"], done["output_tokens"]) == ("charged", 1)
    assert (failed["charge_class"], failed["error_code"], failed["output_tokens"]) == ("free_engine_failed", "engine_failed", 0)


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_that_ends_with_its_connection_is_one_if_it_is_whole(
    stack: Stack, odd: OddEngine, hello: dict[str, Any], stream: bool
) -> None:
    odd.says_length = False
    body = _events(CHUNK) if stream else json.dumps(WHOLE).encode()
    for size, status in ((len(body), "completed"), (len(body) - 20, "engine_failed")):
        odd.answer = 200, EVENTS if stream else JSON, body[:size]
        answer = stack.post(hello | {"model": "odd", "stream": stream})
        assert (b'"error"' in answer.content) == (status == "engine_failed"), answer.text
    assert [row["status"] for row in stack.rows(2)] == ["completed", "engine_failed"]


@pytest.mark.parametrize(
    ("hangs_up", "calls"),
    [((b"", 0.0), 3), ((b"HTTP/1.1 200 OK\r\n", 0.0), 2), ((b"", RACED_US_MAX / 1e6 + 0.1), 2)],
    ids=["at once", "within its answer", "after a while"],
)
def test_what_an_engine_has_worked_on_is_not_sent_again_without_a_row(
    stack: Stack, odd: OddEngine, hello: dict[str, Any], hangs_up: tuple[bytes, float], calls: int
) -> None:
    odd.answer = 200, JSON, json.dumps(WHOLE).encode()
    assert stack.post(hello | {"model": "odd"}).status_code == 200
    odd.hangs_up = hangs_up
    assert stack.post(hello | {"model": "odd"}).status_code == 502
    assert len(odd.calls) == calls
    assert [row["error_code"] for row in stack.rows(2)] == [None, "engine_hung_up"]


def test_a_client_that_leaves_while_its_engine_is_connected_to_has_a_row(
    stack: Stack, odd: OddEngine, hello: dict[str, Any]
) -> None:
    odd.probed.clear()
    assert odd.probed.wait(SEEN_S)  # and from now on it is taken for well until the next probe
    filling = odd.stop_accepting()
    with pytest.raises(httpx.ReadTimeout):
        httpx.post(
            f"{stack.base_url}/chat/completions", json=hello | {"model": "odd"}, timeout=0.2,
            headers={"authorization": f"Bearer {stack.api_key}"},
        )  # fmt: skip
    began = time.monotonic()
    row = stack.row()
    assert time.monotonic() - began < LEFT_S_MAX
    assert (row["status"], row["charge_class"], row["attempt"]) == ("client_closed", "free_refused", 0)
    assert row["model_asked"] == "odd"
    assert odd.calls == []
    assert becomes(lambda: _in_flight(stack) == 0), "its place at the engine is free again"
    for client in filling:
        client.close()


@pytest.mark.parametrize(
    "change", ["weight = 0", "enabled = false", "model_id = (select id from control.models where name = 'simulated')"]
)
def test_an_engine_that_is_changed_while_it_is_connected_to_is_not_asked_for_its_old_model(
    stack: Stack, odd: OddEngine, hello: dict[str, Any], change: Any
) -> None:
    odd.answer = 200, JSON, json.dumps(WHOLE).encode()
    filling, found = odd.stop_accepting(), list[httpx.Response]()
    asking = threading.Thread(target=lambda: found.append(stack.post(hello | {"model": "either"})))
    asking.start()
    until_s = time.monotonic() + SEEN_S
    while 'engine_in_flight{engine="engine-odd"} 1.0' not in httpx.get(stack.router.url + "/metrics").text:
        assert time.monotonic() < until_s
        time.sleep(0.02)
    stack.db.execute(f"update control.engines set {change} where name = 'engine-odd'")
    stack.db.commit()
    time.sleep(1)  # in which the router knows
    for client in filling:
        client.close()
    threading.Thread(target=odd.serve_forever, args=(0.02,), daemon=True).start()
    asking.join()
    assert (found[0].status_code, found[0].headers["x-inferhouse-model"]) == (200, "simulated"), found[0].text
    assert becomes(lambda: _in_flight(stack) == 0), "the place that it had at the first engine is free again"
    row = stack.row()
    query = "select name from control.models where id = %s"
    assert (row["attempt"], stack.db.execute(query, [row["model_id"]]).fetchone()) == (1, ("simulated",))


@pytest.mark.parametrize("change", ["weight = 0", "model_id = (select id from control.models where name = 'odd')"])
@pytest.mark.parametrize("engine_flags", [["--tokens-per-second", "20"]])
def test_an_engine_that_is_changed_while_a_budget_is_waited_for_is_not_asked_for_its_old_model(
    stack: Stack, odd: OddEngine, hello: dict[str, Any], change: Any
) -> None:
    """It was found first, and then there was to be room for the model that stands in."""
    stack.db.execute("update control.engines set weight = 0 where name = 'engine-odd'")
    model = stack.db.execute("select id from control.models where name = 'simulated'").fetchone()
    assert model is not None
    add_budget(stack.db, demo(stack), 860_000_000, model_id=model[0])  # pico-dollars; the first request holds nearly all of it
    time.sleep(1)  # in which the router knows
    headers, found = {"authorization": f"Bearer {stack.api_key}"}, list[httpx.Response]()
    asking = threading.Thread(target=lambda: found.append(stack.post(hello | {"model": "either"})))
    long = hello | {"stream": True, "max_tokens": 2000, "min_tokens": 2000}
    with httpx.stream("POST", stack.base_url + "/chat/completions", json=long, headers=headers, timeout=60) as answer:
        chunks = answer.iter_bytes()
        next(chunks)
        asking.start()
        assert becomes(lambda: "inferhouse_reservations_waiting 1.0" in httpx.get(stack.router.url + "/metrics").text)
        stack.db.execute(f"update control.engines set {change} where name = 'engine-simulated'")
        stack.db.commit()
        time.sleep(1)
    asking.join()
    assert found[0].json()["error"]["code"] == "no_healthy_engine", found[0].text
    assert becomes(lambda: _in_flight(stack) == 0)
    assert sorted(row["attempt"] for row in stack.rows(2)) == [0, 1]
