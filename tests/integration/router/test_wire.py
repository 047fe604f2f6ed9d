"""What may stand on a connection beside plain requests: each request is answered as itself, and nobody holds the router up."""

import json
import socket
import time
from typing import Any

import pytest

from tests.integration.router.conftest import Stack

RECEIVE_S = 1.0
ENDS_S_MAX = 5.0  # of the engine's work after its client has left
UPGRADE = "connection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABkAAQAAP__\r\n"


@pytest.fixture
def router_env() -> dict[str, str]:
    return {"ROUTER_RECEIVE_S_MAX": str(RECEIVE_S), "ROUTER_BODY_BYTES_MAX": "100000"}


@pytest.fixture
def engine_flags() -> list[str]:
    return ["--tokens-per-second", "60"]


def _connect(stack: Stack) -> socket.socket:
    host, _, port = stack.router.url.removeprefix("http://").partition(":")
    return socket.create_connection((host, int(port)), timeout=10)


def _head(stack: Stack, headers: str, *, target: str = "/v1/chat/completions") -> bytes:
    return f"POST {target} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {stack.api_key}\r\n{headers}\r\n".encode()


def _request(stack: Stack, body: dict[str, Any], headers: str = "", **target: str) -> bytes:
    content = json.dumps(body).encode()
    return _head(stack, f"{headers}content-length: {len(content)}\r\n", **target) + content


def _answers(data: bytes) -> list[tuple[int, bytes]]:
    """(status, head and body) of what came."""
    return [(int(part.split()[0]), part) for part in data.split(b"HTTP/1.1 ")[1:]]


def _until_end(line: socket.socket) -> bytes:
    data = b""
    try:
        while piece := line.recv(65536):
            data += piece
    except ConnectionResetError:
        pass  # what was sent behind the answer was never read
    return data


def _ended(stack: Stack, sent: bytes) -> tuple[int, bytes]:
    """(status, head and body) of the only answer, after which the connection ends."""
    with _connect(stack) as line:
        line.sendall(sent)
        (answer,) = _answers(_until_end(line))
    return answer


def test_an_offer_of_another_protocol_is_declined_and_the_request_answered(stack: Stack, hello: dict[str, Any]) -> None:
    """Java's client offers HTTP/2 with each request to a plain address."""
    offer = _request(stack, hello, UPGRADE)
    models = f"GET /v1/models HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {stack.api_key}\r\n{UPGRADE}\r\n".encode()
    with _connect(stack) as line:
        line.sendall(offer + models + offer[:-5])
        time.sleep(0.2)
        line.sendall(offer[-5:] + _request(stack, hello, "connection: close\r\n"))
        answers = _answers(_until_end(line))
    assert [status for status, _ in answers] == [200] * 4
    assert [row["status"] for row in stack.rows(3)] == ["completed"] * 3


def test_a_path_may_be_written_in_every_form_of_http(stack: Stack, hello: dict[str, Any]) -> None:
    targets = (
        *("http://x/v1/chat/completions", "/v1/chat/completion%73?a=b", "http://x/v1/chat/completions?a=%00"),
        *("/v1/chat/completions#x", "/v1/chat/completions?a=b#x"),  # a fragment is not for servers
    )
    for target in targets:
        status, answer = _ended(stack, _request(stack, hello, "connection: close\r\n", target=target))
        assert status == 200, answer
    assert len(stack.rows(len(targets))) == len(targets)


def test_a_body_that_never_becomes_whole_has_its_answer_and_its_row(stack: Stack, hello: dict[str, Any]) -> None:
    bodies = [
        (_head(stack, "content-length: 100\r\n") + b"{", 408, "request_timed_out"),
        (_request(stack, hello)[:-1], 408, "request_timed_out"),  # held back, where its head is known
        (_head(stack, "transfer-encoding: chunked\r\n") + b"5\r\nhello\r\nzz\r\n", 400, "invalid_request"),
        (_head(stack, "transfer-encoding: gzip\r\n") + b"hello", 400, "invalid_request"),
    ]
    rows = 0
    for known in (False, True):
        for sent, status, code in bodies:
            with _connect(stack) as line:
                if known:
                    line.sendall(_request(stack, hello))
                    assert line.recv(65536).startswith(b"HTTP/1.1 200 ")
                line.sendall(sent)
                ((told, answer),) = _answers(_until_end(line))
            assert (told, json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["code"]) == (status, code)
            rows += 1 + known
            refused = [row for row in stack.rows(rows) if str(row["request_id"]).encode() in answer]
            assert [(row["http_status"], row["error_code"], row["cost_picousd"]) for row in refused] == [(status, code, 0)]


def test_what_is_nobodys_request_is_refused_with_an_id_too(stack: Stack) -> None:
    for sent in (b"\x16\x03\x01 hello\r\n\r\n", b"CONNECT x:1 HTTP/1.1\r\nhost: x\r\n\r\n", b"POST /v1/chat"):
        status, answer = _ended(stack, sent)
        error = json.loads(answer.partition(b"\r\n\r\n")[2])["error"]
        assert status in (400, 408)
        assert error["request_id"]
        assert f"x-request-id: {error['request_id']}".encode() in answer


@pytest.mark.parametrize("hosts", ["", "host: x\r\nHost: x\r\n"])
def test_a_request_without_one_host_is_refused(stack: Stack, hello: dict[str, Any], hosts: str) -> None:
    key = f"authorization: Bearer {stack.api_key}\r\n".encode()
    post = _request(stack, hello)
    for sent in (post, b"GET /v1/models HTTP/1.1\r\nhost: x\r\n%b\r\n" % key):
        status, answer = _ended(stack, sent.replace(b"host: x\r\n", hosts.encode()))
        error = json.loads(answer.partition(b"\r\n\r\n")[2])["error"]
        assert (status, error["code"]) == (400, "invalid_request")
        assert "Host" in error["message"]
    with _connect(stack) as line:
        line.sendall(post)
        assert line.recv(65536).startswith(b"HTTP/1.1 200 ")
        line.sendall(post.replace(b"host: x\r\n", hosts.encode()))
        assert [status for status, _ in _answers(_until_end(line))] == [400]
    with _connect(stack) as line:
        line.sendall(post.replace(b"host: x\r\n", b"").replace(b"HTTP/1.1", b"HTTP/1.0"))
        assert [status for status, _ in _answers(_until_end(line))] == [200]


def test_what_stands_behind_a_request_does_not_spoil_its_answer(stack: Stack, hello: dict[str, Any]) -> None:
    chunked = b"POST %b HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n"
    for behind in (b"\x00 no request\r\n\r\n", chunked % b"/v1/organization/projects"):
        for stream in (False, True):
            status, answer = _ended(stack, _request(stack, hello | {"stream": stream, "min_tokens": 24}) + behind)
            assert status == 200
            assert answer.endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n" if stream else b"}")
    assert [row["status"] for row in stack.rows(4)] == ["completed"] * 4
    too_large = _head(stack, "connection: close\r\ncontent-length: 100001\r\n") + b"x" * 100_001
    for behind, status in ((chunked % b"/v1/embeddings", 401), (too_large, 413)):
        with _connect(stack) as line:
            line.sendall(_request(stack, hello) + behind)
            assert [status for status, _ in _answers(_until_end(line))] == [200, status]


def test_a_flood_beside_a_body_is_refused_before_it_takes_memory(stack: Stack) -> None:
    """The parser would gather a trailer of 200 MB, and copy it with each piece: minutes in which nobody is served."""
    for flood in (b"5\r\nhello\r\n0\r\nx: ", b"5;x="):
        status, answer = _ended(stack, _head(stack, "transfer-encoding: chunked\r\n") + flood + b"a" * 200_000)
        assert (status, json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["code"]) == (431, "headers_too_large")
    assert {row["error_code"] for row in stack.rows(2)} == {"headers_too_large"}


def test_chunks_that_come_in_pieces_are_no_flood(stack: Stack, hello: dict[str, Any]) -> None:
    content = json.dumps(hello | {"padding": "x" * 15_000}).encode()
    with _connect(stack) as line:
        line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        line.sendall(_head(stack, "connection: close\r\ntransfer-encoding: chunked\r\n"))
        for at in range(0, len(content), 1000):
            piece = content[at : at + 1000]
            line.sendall(b"%x;%b\r\n" % (len(piece), b"y" * 6000))
            time.sleep(0.01)
            line.sendall(piece)
            line.sendall(b"\r\n")
        line.sendall(b"0\r\nx-checksum: 7\r\n\r\n")
        assert [status for status, _ in _answers(_until_end(line))] == [200]


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_leaves_with_requests_in_line_ends_the_engines_work(
    stack: Stack, hello: dict[str, Any], stream: bool
) -> None:
    """And the engine is not blamed for it."""
    body = hello | {"stream": stream, "max_tokens": 600, "min_tokens": 600}
    with _connect(stack) as line:
        line.sendall(_request(stack, body) + _request(stack, hello) * 2)
        time.sleep(0.4)
    left_s = time.monotonic()
    row = stack.row()
    assert (row["status"], row["error_code"]) == ("client_closed", "client_closed")
    assert time.monotonic() - left_s < ENDS_S_MAX
    (entry,) = stack.ledger()["requests"]
    assert entry["completion_tokens"] < 600
    assert stack.post(hello).status_code == 200


def test_who_sends_far_ahead_is_not_read_further(stack: Stack, hello: dict[str, Any]) -> None:
    request = _request(stack, hello | {"min_tokens": 24, "padding": "x" * 50_000})
    with _connect(stack) as line:
        line.sendall(request * 4)
        data = b""
        while data.count(b"HTTP/1.1 ") < 4 or not data.endswith(b"}"):
            data += line.recv(65536)
    assert [status for status, _ in _answers(data)] == [200] * 4
