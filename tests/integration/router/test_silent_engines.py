"""An engine that is well by its probes and answers nobody: clients leave it before its time is up, and others take over."""

import contextlib
import json
import socket
import threading
import time
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from router.inference.breaker import REQUESTS_MIN
from router.inference.engine_set import SILENT_S
from tests.integration.router.conftest import Stack, becomes
from tests.integration.router.test_odd_engines import SEALING_KEY, OddEngine, odd

__all__ = ["odd"]


@pytest.fixture
def router_env() -> dict[str, str]:
    return {"ROUTER_SEALING_KEY": SEALING_KEY}


def leave(stack: Stack, engine: str, body: dict[str, Any], fault: str = "") -> None:
    """Clients that all leave when the engine has had their requests for as long as it may be silent."""
    url, content = urlsplit(stack.base_url), json.dumps(body).encode()
    head = f"POST {url.path}/chat/completions HTTP/1.1\r\nhost: {url.netloc}\r\nauthorization: Bearer {stack.api_key}\r\n"
    head += f"content-length: {len(content)}\r\nx-simulated-fault: {fault}\r\n\r\n"
    with contextlib.ExitStack() as clients:
        for _ in range(REQUESTS_MIN):
            client = clients.enter_context(socket.create_connection((url.hostname or "", url.port or 0)))
            client.sendall(head.encode() + content)
        assert becomes(lambda: gauge(stack, "in_flight", engine) >= REQUESTS_MIN)
        time.sleep(SILENT_S + 2.5)  # a connection that a busy engine does not take is tried again by TCP a second later


def gauge(stack: Stack, name: str, engine: str) -> float:
    begin = f'inferhouse_engine_{name}{{engine="{engine}"}} '
    lines = httpx.get(stack.router.url + "/metrics").text.splitlines()
    return next((float(line.removeprefix(begin)) for line in lines if line.startswith(begin)), 0.0)


@pytest.mark.parametrize(
    "head", [b"", b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"]
)
def test_an_engine_that_answers_nobody_fails_those_who_leave_it(
    stack: Stack, odd: OddEngine, hello: dict[str, Any], head: bytes
) -> None:
    odd.hangs_up = head, 60.0
    leave(stack, "engine-odd", hello | {"model": "either", "stream": bool(head)})
    assert becomes(lambda: gauge(stack, "breaker_open", "engine-odd") == 1)
    assert {row["status"] for row in stack.rows(REQUESTS_MIN)} == {"client_closed"}


@pytest.mark.parametrize("engine_flags", [["--tokens-per-second", "20"]])
@pytest.mark.parametrize("stream", [False, True])
def test_an_engine_that_answers_others_meanwhile_has_failed_nobody(stack: Stack, hello: dict[str, Any], *, stream: bool) -> None:
    stop = threading.Event()

    def ask() -> None:
        tokens = 200 if stream else 1
        while not stop.is_set():
            stack.post(hello | {"stream": stream, "max_tokens": tokens, "min_tokens": tokens})

    asking = threading.Thread(target=ask)
    asking.start()
    leave(stack, "engine-simulated", hello, "stall-first=60")
    assert becomes(lambda: gauge(stack, "in_flight", "engine-simulated") <= 1)
    assert gauge(stack, "breaker_open", "engine-simulated") == 0
    stop.set()
    asking.join()
