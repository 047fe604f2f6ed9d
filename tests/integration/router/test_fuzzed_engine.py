"""An engine may answer anything: none of it is a server error of ours, or a crash, and each request has one row."""

import gzip
import json
import random
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.integration.router.conftest import Stack

SEED = 4
RANDOM_ANSWERS = 40
ANSWERED_S_MAX = 8  # the total of a call is 5
TRUSTED_S_MAX = ROWS_S_MAX = 10
CONTEXT_TOKENS = 32_768
STATUSES = {200, 400, 404, 429, 502, 503, 504}  # of an engine's own errors, those that it could have meant pass
HONEST_CALLS = 12  # to a strange one, with its retries: an engine that fails half of its calls would be left alone
STRANGE = "something strange"
STREAMED = {"/v1/chat/completions", "/v1/messages", "/v1/responses"}
BODIES: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": {"user": STRANGE},
    "/v1/messages": {"metadata": {"user_id": STRANGE}},
    "/v1/responses": {"input": "What is said of users is stored.", "user": STRANGE},
    "/v1/embeddings": {"input": "What is said of users is stored.", "user": STRANGE},
}
MEMORY_GROWTH_KB_MAX = 120_000  # one event of several megabytes is held while it is looked at; nothing is kept
CHUNK = {
    "id": "x",
    "object": "chat.completion.chunk",
    "choices": [{"index": 0, "delta": {"content": "a"}, "finish_reason": None}],
}
ANSWER = {"id": "x", "object": "chat.completion", "choices": [{"index": 0, "message": {"content": "a"}, "finish_reason": "stop"}]}
USAGES: list[Any] = [
    {"prompt_tokens": -5, "completion_tokens": 3},
    {"prompt_tokens": 10**18, "completion_tokens": 10**30},
    {"prompt_tokens": "7", "completion_tokens": [1]},
    {"prompt_tokens": 1.5, "completion_tokens": True},
    {"prompt_tokens": 3, "completion_tokens": 3, "prompt_tokens_details": {"cached_tokens": 900}},
    {"prompt_tokens": 3, "completion_tokens": 3, "completion_tokens_details": {"reasoning_tokens": -1}},
    [],
    "many",
    7,
    {},
]


def _whole(body: bytes, head: bytes = b"content-type: application/json\r\n", status: bytes = b"200 OK") -> bytes:
    return b"HTTP/1.1 %b\r\n%bcontent-length: %d\r\n\r\n%b" % (status, head, len(body), body)


def _stream(*events: bytes) -> bytes:
    body = b"".join(b"%x\r\n%b\r\n" % (len(event), event) for event in events if event)
    return b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n" + body + b"0\r\n\r\n"


def _event(value: Any) -> bytes:
    return b"data: " + json.dumps(value).encode() + b"\n\n"


def _named() -> dict[str, bytes]:
    """Bytes on the wire, by what is wrong with them."""
    event = _event(CHUNK)
    answers = {
        "nothing": b"",
        "garbage": b"\x00\xff\x16\x03\x01garbage\r\n\r\n" * 20,
        "half a head": b"HTTP/1.1 200 OK\r\ncontent-ty",
        "headers without end": b"HTTP/1.1 200 OK\r\n" + b"x-flood: " + b"a" * 2_000_000,
        "many headers": b"HTTP/1.1 200 OK\r\n" + b"".join(b"x-%d: 1\r\n" % number for number in range(50_000)),
        "early close": b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 1000\r\n\r\n{",
        "negative length": b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n{}",
        "huge length": b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999999999999999\r\n\r\n{}",
        "two lengths": b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{}",
        "length and chunks": b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
        "another protocol": b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\nabc",
        "bad chunk size": b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n{}\r\n",
        "half a chunk": b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\nff\r\n" + event,
        "broken json": _whole(b'{"choices": [{"index": 0, '),
        "json of another kind": _whole(b"[1, 2, 3]"),
        "null": _whole(b"null"),
        "deep json": _whole(b"[" * 200_000),
        "empty body": _whole(b""),
        "not utf-8": _whole(b'{"choices": "\xff\xfe"}'),
        "compressed": _whole(gzip.compress(json.dumps(ANSWER).encode()), b"content-encoding: gzip\r\n"),
        "informational": b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\n\r\n" + _whole(json.dumps(ANSWER).encode()),
        "only informational": b"HTTP/1.1 100 Continue\r\n\r\n" * 1000,
        "redirect": _whole(b"", b"location: http://127.0.0.1:1/\r\n", b"302 Found"),
        "no content": b"HTTP/1.1 204 No Content\r\n\r\n",
        "status 999": _whole(b"{}", status=b"999 Odd"),
        "html": _whole(b"<html>", b"content-type: text/html\r\n"),
        "html error": _whole(b"<html>", b"content-type: text/html\r\n", b"500 Oh"),
        "malformed sse": _stream(b"data {\n\n", b"event: x\r\rdata:\n", b"\n\n\n", event),
        "broken event": _stream(event, b'data: {"choices": [\n\n', event, b"data: [DONE]\n\n"),
        "event without end": _stream(event, b"data: " + b"x" * 6_000_000),
        "large event": _stream(_event(CHUNK | {"padding": "x" * 5_000_000}), b"data: [DONE]\n\n"),
        "no usage": _stream(event, b"data: [DONE]\n\n"),
        "no done": _stream(event, event),
        "done twice": _stream(event, b"data: [DONE]\n\n", b"data: [DONE]\n\n", event),
        "bytes after the end": _stream(event, b"data: [DONE]\n\n") + b"HTTP/1.1 200 OK\r\n",
    }
    for number, usage in enumerate(USAGES):
        answers[f"usage {number}"] = _whole(json.dumps(ANSWER | {"usage": usage}).encode())
        last = _event({"id": "x", "choices": [], "usage": usage})
        answers[f"streamed usage {number}"] = _stream(event, last, b"data: [DONE]\n\n")
    return answers


def _drawn() -> dict[str, bytes]:
    """Good and bad answers with bytes changed, cut out and doubled."""
    chance, named = random.Random(SEED), list(_named().values())
    answers = {}
    for number in range(RANDOM_ANSWERS):
        data = bytearray(chance.choice(named)[:4000])
        for _ in range(chance.randint(1, 8)):
            at = chance.randrange(len(data) + 1)
            match chance.randrange(3):
                case 0:
                    data[at : at + chance.randint(1, 20)] = b""
                case 1:
                    data[at:at] = chance.randbytes(chance.randint(1, 20))
                case _:
                    data[at:at] = data[at : at + 40]
        answers[f"drawn {number}"] = bytes(data)
    return answers


HONEST = _whole(json.dumps(ANSWER | {"model": "raw", "usage": {"prompt_tokens": 3, "completion_tokens": 1}}).encode())


class RawEngine:
    """Honest, but for requests with `STRANGE` in them: those get `answer` and an end of the connection."""

    def __init__(self) -> None:
        self.answer = b""
        self.calls = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        try:
            with client:
                asked = client.recv(65536)
                is_strange = STRANGE.encode() in asked
                self.calls += is_strange
                client.sendall(self.answer if is_strange else HONEST)
                client.shutdown(socket.SHUT_WR)
                client.settimeout(2)
                while client.recv(65536):
                    pass
        except OSError:
            return  # the router has hung up, as it may


@pytest.fixture
def router_env() -> dict[str, str]:
    timeouts = {"FIRST_TOKEN": "1", "BETWEEN_TOKENS": "1", "QUEUE": "1", "TOTAL": "5"}
    return {f"ROUTER_{name}_S_MAX": value for name, value in timeouts.items()}


@pytest.fixture
def raw_engine(stack: Stack) -> Iterator[RawEngine]:
    """In the place of the simulated engine."""
    engine = RawEngine()
    stack.db.execute("update control.engines set base_url = %s", [engine.url])
    stack.db.commit()
    yield engine
    engine.close()


def _memory_kb(stack: Stack) -> int:
    assert stack.router.process is not None
    with open(f"/proc/{stack.router.process.pid}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmRSS"))


@pytest.mark.timeout(300)
def test_whatever_an_engine_answers_is_no_error_of_ours(stack: Stack, raw_engine: RawEngine, hello: dict[str, Any]) -> None:
    _until_honest(stack, hello)
    before_kb, wrong, asked = _memory_kb(stack), [], set()
    with httpx.Client(timeout=10, headers={"authorization": f"Bearer {stack.api_key}"}) as client:
        for name, raw_engine.answer in (_named() | _drawn()).items():
            for path, body in BODIES.items():
                for stream in (False, True) if path in STREAMED else (False,):
                    began = time.monotonic()
                    try:
                        with client.stream("POST", stack.router.url + path, json=hello | body | {"stream": stream}) as got:
                            asked.add(got.headers["x-request-id"])
                            if got.status_code not in STATUSES:
                                wrong.append((name, path, stream, got.status_code))
                            for _ in got.iter_raw():
                                pass
                    except httpx.TransportError as error:
                        wrong.append((name, path, stream, repr(error)))
                    if time.monotonic() - began > ANSWERED_S_MAX:
                        wrong.append((name, path, stream, "late"))
                    _regain_trust(client, f"{stack.base_url}/chat/completions", hello)
    said = [line for line in stack.router.log.read_text().splitlines() if '"level": "error"' in line]
    assert (wrong, said) == ([], [])
    assert raw_engine.calls > len(asked) * 0.9, "the engine was asked"
    assert _memory_kb(stack) - before_kb < MEMORY_GROWTH_KB_MAX
    _has_rows(stack, asked)
    _until_honest(stack, hello)


def _regain_trust(client: httpx.Client, url: str, hello: dict[str, Any]) -> None:
    """As many good answers as it takes for the engine to be asked the next strange thing, however slow the machine is."""
    deadline, good = time.monotonic() + TRUSTED_S_MAX, 0
    while good < HONEST_CALLS:
        good += client.post(url, json=hello).status_code == 200
        assert time.monotonic() < deadline, f"{good} good answers"


def _until_honest(stack: Stack, hello: dict[str, Any]) -> None:
    """Until the router has the address; and afterwards as ever."""
    deadline = time.monotonic() + TRUSTED_S_MAX
    while '"raw"' not in (text := stack.post(hello).text):
        assert time.monotonic() < deadline, text
        time.sleep(0.1)


def _has_rows(stack: Stack, asked: set[str]) -> None:
    """Each request has rows, at most one for an answer, and none with a count that no engine can have meant."""
    deadline = time.monotonic() + ROWS_S_MAX
    while True:
        rows = stack.db.execute(
            "select request_id::text, count(*) filter (where status = 'completed'), max(input_tokens), max(output_tokens)"
            " from raw.usage_events group by 1"
        ).fetchall()
        stack.db.commit()
        if asked <= {row[0] for row in rows} or time.monotonic() > deadline:
            break
        time.sleep(0.1)
    assert asked - {row[0] for row in rows} == set()
    assert max(row[1] for row in rows) <= 1
    assert max(row[2] for row in rows) <= CONTEXT_TOKENS
    assert max(row[3] for row in rows) <= CONTEXT_TOKENS
