"""Whatever a client sends, and however slowly: a clear answer, on the connection that it deserves, and one row at most."""

import contextlib
import gzip
import itertools
import json
import socket
import threading
import time
import zlib
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from router.inference.breaker import REQUESTS_MIN
from tests.integration.router.conftest import Stack

RECEIVE_S = STALL_S = 1.0


@pytest.fixture
def router_env() -> dict[str, str]:
    return {
        "ROUTER_RECEIVE_S_MAX": str(RECEIVE_S),
        "ROUTER_STALL_S_MAX": str(STALL_S),
        "ROUTER_BODY_BYTES_MAX": "100000",
        "ROUTER_KEEPALIVE_S": "0.2",
        "ROUTER_FIRST_TOKEN_S_MAX": "1.5",
    }


def _connect(stack: Stack) -> socket.socket:
    host, _, port = stack.router.url.removeprefix("http://").partition(":")
    return socket.create_connection((host, int(port)), timeout=10)


def _request(stack: Stack, body: dict[str, Any], *, version: str = "1.1", headers: str = "") -> bytes:
    content = json.dumps(body).encode()
    head = (
        f"POST /v1/chat/completions HTTP/{version}\r\nhost: x\r\nauthorization: Bearer {stack.api_key}\r\n{headers}"
        f"content-length: {len(content)}\r\n\r\n"
    )
    return head.encode() + content


def _answer(line: socket.socket) -> tuple[int, bytes]:
    """(status, body) of the next answer with a length."""
    data = b""
    while b"\r\n\r\n" not in data:
        piece = line.recv(65536)
        assert piece, data
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
    while len(body) < length:
        body += line.recv(length - len(body))
    assert len(body) == length, "more than one answer came"
    return int(head.split()[1]), body


def _answer_of_many(line: socket.socket) -> bytes:
    """The next answer with a length, of which others may follow: no byte more of them is taken."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += line.recv(1)
    length = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
    return head + line.recv(length, socket.MSG_WAITALL)


def _ends(line: socket.socket) -> bytes:
    """What comes until the other side closes."""
    data = b""
    while piece := line.recv(65536):
        data += piece
    return data


@pytest.mark.parametrize(("encoding", "compress"), [("gzip", gzip.compress), ("deflate", zlib.compress), ("", bytes)])
def test_a_compressed_body_is_understood(stack: Stack, hello: dict[str, Any], encoding: str, compress: Any) -> None:
    answer = stack.post(compress(json.dumps(hello).encode()), headers={"content-encoding": encoding})
    assert answer.status_code == 200, answer.text
    assert stack.row()["status"] == "completed"


def test_a_body_is_measured_after_it_was_decompressed(stack: Stack) -> None:
    bomb = gzip.compress(b" " * 50_000_000)
    assert len(bomb) < 100_000
    answer = stack.post(bomb, headers={"content-encoding": "gzip"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "body_too_large")
    assert stack.row()["error_code"] == "body_too_large"


@pytest.mark.parametrize(
    ("encoding", "body", "status"),
    [
        ("br", b"x", 415),
        ("zstd", b"x", 415),
        ("gzip, gzip", b"x", 415),
        ("gzip", b"no gzip", 400),
        ("gzip", gzip.compress(b"{}" * 900)[:-9], 400),
        ("gzip", gzip.compress(b'{"model":') + gzip.compress(b'"x"}'), 400),
    ],
)
def test_a_body_that_cannot_be_decompressed_is_refused(stack: Stack, encoding: str, body: bytes, status: int) -> None:
    answer = stack.post(body, headers={"content-encoding": encoding})
    assert answer.status_code == status, answer.text
    assert answer.headers.get("accept-encoding") == ("gzip, deflate, identity" if status == 415 else None)
    assert stack.row()["http_status"] == status


def test_a_body_that_says_it_is_too_large_is_refused_before_it_comes(stack: Stack, hello: dict[str, Any]) -> None:
    with _connect(stack) as line:
        request = _request(stack, hello)
        head = request.partition(b"content-length")[0]
        line.sendall(head + b"content-length: 100001\r\n\r\n")
        assert _answer(line)[0] == 413
        line.sendall(b" " * 100_001)  # what it had announced; the connection goes on after it
        line.sendall(request)
        assert _answer(line)[0] == 200
    assert [row["http_status"] for row in stack.rows(2)] == [413, 200]


def test_requests_on_one_connection_are_answered_in_their_order(stack: Stack, hello: dict[str, Any]) -> None:
    models = b"GET /v1/models HTTP/1.1\r\nhost: x\r\nauthorization: Bearer " + stack.api_key.encode() + b"\r\n\r\n"
    with _connect(stack) as line:
        line.sendall(_request(stack, hello) + models + _request(stack, hello | {"model": "none"}) + _request(stack, hello))
        data = b""
        while data.count(b"HTTP/1.1 ") < 4 or not data.endswith(b"}"):
            data += line.recv(65536)
    statuses = [int(part.split()[0]) for part in data.split(b"HTTP/1.1 ")[1:]]
    assert statuses == [200, 200, 404, 200]
    assert b'"object":"list"' in data.split(b"HTTP/1.1 ")[2]
    assert sorted(row["http_status"] for row in stack.rows(3)) == [200, 200, 404]


@pytest.mark.parametrize("stream", [False, True])
def test_http_1_0_gets_its_answer_and_the_end_of_the_connection(stack: Stack, hello: dict[str, Any], stream: bool) -> None:
    with _connect(stack) as line:
        line.sendall(_request(stack, hello | {"stream": stream}, version="1.0"))
        head, _, body = _ends(line).partition(b"\r\n\r\n")
    assert b" 200 " in head.splitlines()[0]
    assert b"chunked" not in head
    assert body.endswith(b"data: [DONE]\n\n" if stream else b"}")


def test_a_client_that_waits_to_be_told_to_go_on_is_told(stack: Stack, hello: dict[str, Any]) -> None:
    head, _, body = _request(stack, hello, headers="expect: 100-continue\r\n").partition(b"\r\n\r\n")
    with _connect(stack) as line:
        line.sendall(head + b"\r\n\r\n")
        assert line.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"
        line.sendall(body)
        assert _answer(line)[0] == 200


def test_http_1_0_is_not_told_to_go_on(stack: Stack, hello: dict[str, Any]) -> None:
    models = f"GET /v1/models HTTP/1.0\r\nexpect: 100-continue\r\nauthorization: Bearer {stack.api_key}\r\n\r\n".encode()
    for sent in (_request(stack, hello, version="1.0", headers="expect: 100-continue\r\n"), models):
        with _connect(stack) as line:
            line.sendall(sent)
            assert _ends(line).startswith(b"HTTP/1.1 200 ")


@pytest.mark.parametrize(
    "headers", ["".join(f"x-{number}: y\r\n" for number in range(101)), f"x: {'y' * 70_000}\r\n", "x" * 70_000]
)
def test_a_flood_of_headers_is_refused(stack: Stack, hello: dict[str, Any], headers: str) -> None:
    with _connect(stack) as line:
        line.sendall(_request(stack, hello, headers=headers))
        said = _ends(line)
    assert said.startswith(b"HTTP/1.1 431 "), said
    assert json.loads(said.partition(b"\r\n\r\n")[2])["error"]["code"] == "headers_too_large"


def test_what_is_no_http_is_refused_in_the_envelope(stack: Stack) -> None:
    with _connect(stack) as line:
        line.sendall(b"\x16\x03\x01 hello\r\n\r\n")
        said = _ends(line)
    assert said.startswith(b"HTTP/1.1 400 ")
    assert json.loads(said.partition(b"\r\n\r\n")[2])["error"]["code"] == "invalid_request"


@pytest.mark.parametrize("sent", [60, 250])
def test_a_request_that_does_not_come_to_its_end_is_ended(stack: Stack, hello: dict[str, Any], sent: int) -> None:
    started_s = time.monotonic()
    with _connect(stack) as line:
        line.sendall(_request(stack, hello)[:sent])
        said = _ends(line)
    assert said.startswith(b"HTTP/1.1 408 "), said
    assert time.monotonic() - started_s < RECEIVE_S + 3


def test_a_request_after_another_is_read_however_it_is_cut(stack: Stack, hello: dict[str, Any]) -> None:
    hello["stream"] = False
    request = _request(stack, hello | {"user": "a longer one than before"})
    body = request.index(b"\r\n\r\n") + 4
    cuts = [(20,), (body,), (body + 10,), (body, body + 10), (body - 2, body + 1), (20, body, body + 5), (body + 5, body + 9)]
    with _connect(stack) as line:
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        line.sendall(_request(stack, hello))
        assert _answer(line)[0] == 200
        for cut in cuts:
            for begin, end in itertools.pairwise((0, *cut, len(request))):
                line.sendall(request[begin:end])
                time.sleep(0.02)  # so that the pieces come one by one
            assert _answer(line)[0] == 200
        line.sendall(request + _request(stack, hello | {"model": "none"}) + request[:body])
        assert [int(_answer_of_many(line).split()[1]) for _ in range(2)] == [200, 404]
        line.sendall(request[body:])
        assert _answer(line)[0] == 200
    rows = stack.rows(len(cuts) + 4)
    assert sorted(row["http_status"] for row in rows) == [200] * (len(cuts) + 3) + [404]


@pytest.mark.parametrize(
    "change",
    [
        lambda head: head.replace(b"content-length", b"transfer-encoding: chunked\r\ncontent-length"),
        lambda head: head.replace(b"content-length", b"content-length: 1\r\ncontent-length"),
        lambda head: head.replace(b"content-length: ", b"content-length: +"),
        lambda head: head.replace(b"content-length: ", b"content-length: 0x"),
        lambda head: head.replace(b"content-length:", b"content-length :"),
        lambda head: head.replace(b"host: x", b"host: x\0"),
        lambda head: head.replace(b"host: x\r\n", b"host: x\n\n"),
    ],
    ids=["two ways", "two lengths", "a sign", "hexadecimal", "a space", "a zero byte", "bare line ends"],
)
def test_what_is_refused_as_a_first_request_is_refused_as_a_second_one(
    stack: Stack, hello: dict[str, Any], change: Callable[[bytes], bytes]
) -> None:
    said = []
    for requests_before in (0, 2):
        with _connect(stack) as line:
            for _ in range(requests_before):
                line.sendall(_request(stack, hello))
                assert _answer(line)[0] == 200
            line.sendall(change(_request(stack, hello)))
            said.append(_ends(line).partition(b" ")[2][:4])
    assert said[0] == b"400 "
    assert said[1] in (b"400 ", b"")  # before the next head is whole a connection may end without a word
    assert len(stack.rows(2)) == 2


def test_a_second_request_has_the_same_bounds(stack: Stack, hello: dict[str, Any]) -> None:
    request = _request(stack, hello)
    head = request.partition(b"content-length")[0]
    for part, status in ((request[:-5], b"408"), (head + b"content-length: 100001\r\n\r\n", b"413")):
        with _connect(stack) as line:
            line.sendall(request)
            assert _answer(line)[0] == 200
            line.sendall(part)
            assert line.recv(100).startswith(b"HTTP/1.1 " + status)


def test_a_connection_on_which_nothing_comes_is_closed(stack: Stack) -> None:
    with _connect(stack) as line:
        assert _ends(line) == b""


def test_a_stream_that_waits_for_its_first_token_has_comments_and_then_its_error(stack: Stack, hello: dict[str, Any]) -> None:
    answer = stack.post(hello | {"stream": True}, headers={"x-simulated-fault": "stall-first"})
    assert answer.status_code == 200
    events = answer.content.strip().split(b"\n\n")
    assert events[0].startswith(b": ")
    assert json.loads(events[-1].removeprefix(b"data: "))["error"]["code"] == "engine_timed_out"
    assert (stack.row()["status"], stack.row()["cost_picousd"]) == ("timed_out", 0)


def test_a_client_that_does_not_read_is_left_and_the_engine_with_it(stack: Stack, hello: dict[str, Any]) -> None:
    with _slow_stream(stack, hello, choices=64):
        row = stack.row()
    assert row["status"] == "client_closed"


def _slow_stream(stack: Stack, hello: dict[str, Any], *, choices: int = 16, window_bytes: int = 4096) -> socket.socket:
    """A connection on which more is to be read than its buffers hold."""
    line = _connect(stack)
    line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, window_bytes)
    line.sendall(_request(stack, hello | {"stream": True, "max_tokens": 4000, "min_tokens": 4000, "n": choices}))
    return line


def test_a_client_that_reads_slowly_all_the_time_has_all_of_its_answer(stack: Stack, hello: dict[str, Any]) -> None:
    with _slow_stream(stack, hello, window_bytes=1_000_000) as line:
        read, began = b"", time.monotonic()
        while time.monotonic() - began < 4 * STALL_S:
            read = line.recv(100_000)
            time.sleep(STALL_S / 10)
        while not read.endswith(b"\r\n0\r\n\r\n"):
            piece = line.recv(1_000_000)
            assert piece
            read = read[-100:] + piece
    assert stack.row()["status"] == "completed"


def test_a_client_that_takes_next_to_nothing_is_left(stack: Stack, hello: dict[str, Any]) -> None:
    over = threading.Event()

    def read(line: socket.socket) -> None:
        with contextlib.suppress(ConnectionError):
            while not over.wait(STALL_S / 10):
                line.recv(1000)

    with _slow_stream(stack, hello) as line:
        reading = threading.Thread(target=read, args=(line,))
        reading.start()
        try:
            assert stack.row()["error_code"] == "client_closed"
        finally:
            over.set()
            reading.join()


@pytest.mark.parametrize("router_env", [{"ROUTER_TOTAL_S_MAX": "2"}])
def test_clients_that_let_the_whole_time_pass_are_charged_and_no_fault_of_the_engine(stack: Stack, hello: dict[str, Any]) -> None:
    with contextlib.ExitStack() as lines:
        for _ in range(REQUESTS_MIN):
            lines.enter_context(_slow_stream(stack, hello))
        rows = stack.rows(REQUESTS_MIN)
    assert {(row["status"], row["error_code"], row["charge_class"]) for row in rows} == {
        ("client_closed", "client_too_slow", "charged")
    }
    assert min(row["output_tokens"] for row in rows) > 0
    assert 'inferhouse_engine_breaker_open{engine="engine-simulated"} 0.0' in httpx.get(f"{stack.router.url}/metrics").text


def test_answers_say_what_they_cost_and_what_the_router_took(stack: Stack, hello: dict[str, Any]) -> None:
    answer = stack.post(hello)
    row = stack.row()
    assert int(answer.headers["x-inferhouse-cost-usd"].replace(".", "")) > 0
    assert float(answer.headers["x-inferhouse-cost-usd"]) == float(row["cost_picousd"]) / 1e12
    assert 0 < float(answer.headers["x-inferhouse-overhead-ms"]) < 1000
    assert (answer.headers["x-inferhouse-model"], answer.headers["x-inferhouse-attempts"]) == (hello["model"], "1")
    assert httpx.Headers(answer.headers)["date"].endswith("GMT")
