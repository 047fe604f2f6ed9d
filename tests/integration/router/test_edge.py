"""Whatever is sent, the answer is one of ours: OpenAI's envelope with the request's id, in the header as well."""

import json
import socket
import time
from uuid import UUID

import httpx
import pytest

from tests.integration.router.conftest import Stack

LOGGED_S_MAX = 5
DEEP = b'{"email": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"
BODIES = {
    "no JSON": b"{",
    "deep JSON": DEEP,
    "invalid UTF-8": b'{"email": "\xff\xfe", "password": "x"}',
    "NUL": b'{"email": "a\\u0000@b.example", "password": "x\\u0000"}',
    "half a surrogate": b'{"email": "\\ud800", "password": "x"}',
    "half a surrogate as a name": b'{"email": "a@b.example", "password": "x", "\\ud800": 1}',
    "a huge integer": b'{"email": ' + b"9" * 5000 + b', "password": "x"}',
    "a float beyond all": b'{"email": 1e999, "password": NaN}',
    "an array": b"[]",
    "null": b"null",
    "nothing": b"",
}


def _is_ours(answer: httpx.Response, status: int) -> None:
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code", "request_id"}
    assert UUID(error["request_id"]).version == 7
    assert answer.headers["x-request-id"] == error["request_id"]
    assert answer.headers["content-type"] == "application/json"


@pytest.mark.parametrize("path", ["/sessions", "/chat/completions"])
def test_a_body_that_cannot_be_read_is_refused_in_the_envelope(stack: Stack, path: str) -> None:
    with httpx.Client(base_url=stack.base_url, headers={"authorization": f"Bearer {stack.api_key}"}) as client:
        for name, body in BODIES.items():
            answer = client.post(path, content=body, headers={"content-type": "application/json"})
            assert answer.status_code in {400, 401, 404}, (name, answer.text)
            _is_ours(answer, answer.status_code)
            assert "surrogate" in name or answer.status_code == 400 or path == "/sessions", (name, answer.text)


def test_what_is_wrong_with_a_body_is_said_in_words_for_people(stack: Stack) -> None:
    said = {}
    with httpx.Client(base_url=stack.base_url, headers={"authorization": f"Bearer {stack.admin_key}"}) as client:
        for name, body in (
            ("cut", b'{"email": "a@b.org", '),
            ("list", b"[]"),
            ("none", b""),
            ("word", b'{"name": "x", "time_zone": "Moon"}'),
        ):
            path = "/organizations" if name == "word" else "/sessions"
            said[name] = client.post(path, content=body, headers={"content-type": "application/json"}).json()["error"]
    assert {name: error["param"] for name, error in said.items()} == {
        "cut": None,
        "list": None,
        "none": None,
        "word": "time_zone",
    }
    assert "no JSON: at character 21" in said["cut"]["message"]
    assert (
        said["list"]["message"]
        == said["none"]["message"]
        == ("the body is no JSON object: send one, with content-type application/json")
    )
    assert said["word"]["message"].startswith("no time zone of the IANA database")


def test_paths_queries_and_headers_that_nobody_sends_are_refused_in_the_envelope(stack: Stack) -> None:
    with httpx.Client(base_url=stack.base_url, headers={"authorization": f"Bearer {stack.admin_key}"}) as client:
        _is_ours(client.get("/nothing"), 404)
        _is_ours(client.get("/nothing/%00"), 400)
        _is_ours(client.get("/organizations?after=%00"), 400)
        _is_ours(client.get("/nothing/%ff%fe%ED%A0%80"), 404)
        _is_ours(client.delete("/sessions"), 405)
        _is_ours(client.request("PROPFIND", "/sessions"), 405)
        below_a_name_that_may_have_slashes = client.options("/platform/models/x/restore")
        _is_ours(below_a_name_that_may_have_slashes, 405)
        assert below_a_name_that_may_have_slashes.headers["allow"] == "POST"
        large = client.post("/sessions", content=b"x" * (1024 * 1024 + 1), headers={"content-type": "application/json"})
        _is_ours(large, 413)
        _is_ours(client.post("/sessions", content=iter([b"x" * 1024] * 1025)), 413)
        _is_ours(client.post("/sessions", content=b"email=a", headers={"content-type": "text/plain"}), 400)
    for authorization in (b"Bearer", b"Basic eDp5", b"Bearer sk-ih-x", b"Bearer \xff\xfe.x", b"Bearer a.b.c", b"."):
        headers = [(b"authorization", authorization)]
        _is_ours(httpx.get(stack.base_url + "/organization/projects", headers=headers), 401)


def test_malformed_http_breaks_nothing(stack: Stack) -> None:
    url = httpx.URL(stack.router.url)
    for raw in (
        b"GET /v1/organizations HTTP/1.1\r\nHost: x\r\nAuthorization: a\x00b\r\n\r\n",
        b"GET /v1/organizations HTTP/1.1\r\nHost: x\r\ncontent-length: -1\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00",
        b"POST /v1/sessions HTTP/1.1\r\nHost: x\r\ncontent-length: 99999999999999999999\r\n\r\n",
    ):
        with socket.create_connection((url.host, url.port or 80), timeout=5) as line:
            line.sendall(raw)
            answer = line.recv(4096)
        assert not answer or answer.startswith((b"HTTP/1.1 4", b"HTTP/1.0 4")), answer
    assert httpx.get(stack.router.url + "/health/live").status_code == 200


def test_an_error_is_found_in_the_log_by_its_id(stack: Stack) -> None:
    stack.db.execute("alter table control.users rename column email to email_gone")
    stack.db.commit()
    answer = httpx.post(stack.base_url + "/sessions", json={"email": stack.email, "password": stack.password})
    _is_ours(answer, 500)
    assert answer.json()["error"]["code"] == "internal_error"
    deadline, found = time.monotonic() + LOGGED_S_MAX, False
    while not found and time.monotonic() < deadline:
        lines = [json.loads(line) for line in stack.router.log.read_text().splitlines(keepends=True) if line.endswith("\n")]
        ours = [line for line in lines if line.get("request_id") == answer.headers["x-request-id"]]
        found = any("UndefinedColumn" in line.get("exception", "") for line in ours)
    assert found, lines
    assert stack.password not in stack.router.log.read_text()
    metrics = httpx.get(stack.router.url + "/metrics").text
    assert 'inferhouse_http_requests_total{method="POST",route="/v1/sessions",status="500"} 1.0' in metrics


def test_who_asks_for_an_unknown_path_is_told_of_the_one_that_is_near(stack: Stack) -> None:
    for path, words in (
        ("/chat/completions", ": did you mean /v1/chat/completions?"), ("/v1/v1/embeddings", ": did you mean /v1/embeddings?"),
        ("/v1/tokenize", ": did you mean /tokenize?"), ("/v1/messages/", ": did you mean /v1/messages?"),
        ("/v1/responses/resp_1/cancel", ": stored responses cannot be read, cancelled or deleted here"),
        ("/v1/responses/input_tokens", ": tokens are counted at /tokenize"), ("/v1/responses/compact", " are not shortened here"),
        ("/v1/batches/batch_1/cancel", ": batches are not taken here"),
        ("/openai/deployments/simulated/chat/completions", ": did you mean /v1/chat/completions?"),
        ("/v1/chat/completions/chat/completions", ": did you mean /v1/chat/completions?"),
        ("/v1/responses/responses", ": did you mean /v1/responses?"), ("//v1/completions", ": did you mean /v1/completions?"),
        ("/models", ": did you mean /v1/models?"), ("/rerank/", ": did you mean /v1/rerank?"),
    ):  # fmt: skip
        answer = httpx.post(stack.router.url + path, json={})
        _is_ours(answer, 404)
        assert words in answer.json()["error"]["message"]
    for path in ("/v1/audio/transcriptions", "/v1/threads/thread_1/messages", "/organization/usage/completions"):
        assert httpx.post(stack.router.url + path, json={}).json()["error"]["message"] == f"there is nothing at {path}"


def test_a_large_body_is_told_of_its_path_and_not_of_its_size_where_nobody_reads_it(stack: Stack) -> None:
    large = b"x" * (1024 * 1024 + 1)
    with httpx.Client(base_url=stack.router.url, headers={"authorization": f"Bearer {stack.api_key}"}) as client:
        for _ in range(2):  # the connection is as good as before
            answer = client.post("/chat/completions", content=large)
            _is_ours(answer, 404)
            assert "did you mean /v1/chat/completions?" in answer.json()["error"]["message"]
        _is_ours(client.post("/v1/files", files={"file": large}), 404)
        _is_ours(client.put("/v1/chat/completions", content=large), 405)
        _is_ours(client.post("/v1/sessions", content=large), 413)
