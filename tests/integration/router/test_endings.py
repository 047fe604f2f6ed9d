"""Every way a call can end: one row, the right class, and a client that knows."""

import socket
import time
from typing import Any

import httpx
import openai
import pytest

from tests.integration.router.conftest import Stack


@pytest.fixture
def router_env() -> dict[str, str]:
    return {"ROUTER_FIRST_TOKEN_S_MAX": "1", "ROUTER_BETWEEN_TOKENS_S_MAX": "1"}


@pytest.fixture
def engine_flags() -> list[str]:
    return ["--tokens-per-second", "100"]


BUSY = ("429", "503")


def _fault(fault: str) -> dict[str, str]:
    return {"x-simulated-fault": fault}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("fault", "http_status", "status", "code"),
    [
        ("refuse", 502, "engine_failed", "engine_hung_up"),
        ("500", 502, "engine_failed", "engine_failed"),
        ("503", 503, "engine_failed", "no_healthy_engine"),
        ("429", 429, "refused", "engine_429"),
        ("stall-first", 504, "timed_out", "engine_timed_out"),
    ],
)
def test_a_fault_before_the_first_byte_is_a_clear_status(
    stack: Stack, hello: dict[str, Any], fault: str, http_status: int, status: str, code: str, stream: bool
) -> None:
    answer = stack.post(hello | {"stream": stream}, headers=_fault(fault))
    assert answer.status_code == http_status, answer.text
    assert "error" in answer.json()
    rows = stack.rows(3 if fault in BUSY else 1)  # an engine that is busy is asked again, each time with a row
    assert [row["attempt"] for row in rows] == list(range(1, len(rows) + 1))
    for row in rows:
        assert (row["status"], row["error_code"], row["http_status"], row["cost_picousd"]) == (status, code, http_status, 0)
        assert row["charge_class"].startswith("free_")


def test_an_answer_that_is_no_json_is_not_passed_on(stack: Stack, hello: dict[str, Any]) -> None:
    answer = stack.post(hello, headers=_fault("wrong-json"))
    assert answer.status_code == 502
    assert stack.row()["status"] == "engine_failed"


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [("die=3", "engine_failed", "engine_hung_up"), ("stall-between=3", "timed_out", "engine_timed_out")],
)
def test_a_stream_that_is_cut_ends_in_an_error_never_cleanly(
    stack: Stack, hello: dict[str, Any], fault: str, status: str, code: str
) -> None:
    answer = stack.post(hello | {"stream": True}, headers=_fault(fault))
    events = answer.content.strip().split(b"\n\n")
    assert events[-1].startswith(b'data: {"error"')
    assert b"[DONE]" not in answer.content
    row = stack.row()
    assert (row["status"], row["error_code"], row["token_source"], row["cost_picousd"]) == (status, code, "running", 0)
    assert row["output_tokens"] > 0


def test_the_sdk_raises_when_a_stream_is_cut(stack: Stack, hello: dict[str, Any]) -> None:
    with pytest.raises(openai.APIError):
        list(stack.sdk.chat.completions.create(**hello, stream=True, extra_headers=_fault("die=3")))


@pytest.mark.parametrize("events_read", [0, 1, 3, 10])
def test_a_client_that_leaves_a_stream_is_charged_what_was_counted(stack: Stack, hello: dict[str, Any], events_read: int) -> None:
    body = hello | {"stream": True, "max_tokens": 500, "min_tokens": 400}
    _leave(stack, body, events_read)
    row = stack.row()
    assert (row["status"], row["http_status"]) == ("client_closed", 499)
    assert row["charge_class"] == "charged"
    if events_read:
        assert row["token_source"] == "running"
        assert row["output_tokens"] >= events_read - 1
        assert row["cost_picousd"] > 0
    _engine_is_idle(stack)


def test_a_client_that_leaves_while_the_engine_thinks_ends_the_engines_work(stack: Stack, hello: dict[str, Any]) -> None:
    _leave(stack, hello | {"max_tokens": 400, "min_tokens": 400}, 0)
    assert stack.row()["status"] == "client_closed"
    _engine_is_idle(stack)


def test_a_client_that_leaves_after_the_end_changes_nothing(stack: Stack, hello: dict[str, Any]) -> None:
    with httpx.Client() as client:
        client.post(
            stack.base_url + "/chat/completions", json=hello, headers={"authorization": f"Bearer {stack.api_key}"}
        ).raise_for_status()
    assert stack.row()["status"] == "completed"


def test_a_router_that_is_stopped_finishes_its_calls(stack: Stack, hello: dict[str, Any]) -> None:
    with httpx.stream(
        "POST", stack.base_url + "/chat/completions", json=hello | {"stream": True, "max_tokens": 50, "min_tokens": 50},
        headers={"authorization": f"Bearer {stack.api_key}"},
    ) as answer:  # fmt: skip
        chunks = answer.iter_bytes()
        first = next(chunks)
        process = stack.router.process
        assert process is not None
        process.terminate()
        rest = b"".join(chunks)
    assert (first + rest).endswith(b"data: [DONE]\n\n")
    process.wait(timeout=30)
    assert stack.row()["status"] == "completed"
    assert stack.db.execute("select count(*) from raw.journal_positions").fetchone() == (0,)
    assert not list(stack.journal.glob("*/*.journal"))


def _leave(stack: Stack, body: dict[str, Any], events_read: int) -> None:
    """Send a request, read some events, and hang up with a reset."""
    content = httpx.Request("POST", stack.base_url, json=body).content
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {stack.api_key}\r\n"
        f"content-type: application/json\r\ncontent-length: {len(content)}\r\n\r\n"
    )
    host, port = stack.router.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as client:
        client.sendall(head.encode() + content)
        received = b""
        while received.count(b"data: ") < events_read:
            received += client.recv(65536)
        if not events_read:
            time.sleep(0.2)


def _engine_is_idle(stack: Stack, within_s: float = 3.0) -> None:
    """The engine has stopped working on the call long before its end."""
    deadline = time.monotonic() + within_s
    while True:
        metrics = httpx.get(stack.engine.url + "/metrics").text
        running = sum(float(line.split()[-1]) for line in metrics.splitlines() if line.startswith("vllm:num_requests_running"))
        if not running:
            return
        assert time.monotonic() < deadline, "the engine is still working for nobody"
        time.sleep(0.02)
