"""The simulated engine as a real process."""

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest

from engines.load import EngineLoad, parse_load
from tests.processes import ServerProcess, running, simulated_engine
from tests.services import free_port

SETTLED_S_MAX = 5


class Engine:
    """A running engine, its books, and the official SDK on it."""

    def __init__(self, server: ServerProcess) -> None:
        self.server = server
        self.base_url = server.url
        self.sdk = openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0, timeout=30)

    def post(self, path: str, body: Any, **headers: str) -> httpx.Response:
        """Plain HTTP; `x_request_id="a"` is the header `x-request-id: a`."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        content = {"content": body} if isinstance(body, bytes) else {"json": body}
        return httpx.post(f"{self.base_url}{path}", headers={"content-type": "application/json", **named}, timeout=30, **content)

    def ledger(self, request_id: str | None = None) -> dict[str, Any]:
        """What it saw."""
        query = {"request_id": request_id} if request_id else None
        report: dict[str, Any] = httpx.get(f"{self.base_url}/simulated/ledger", params=query).raise_for_status().json()
        return report

    def load(self) -> EngineLoad:
        """What it counts."""
        return parse_load(httpx.get(f"{self.base_url}/metrics").raise_for_status().text)

    def load_when(self, ready: Callable[[EngineLoad], bool]) -> EngineLoad:
        """The first load for which `ready` holds."""
        deadline = time.monotonic() + SETTLED_S_MAX
        while not ready(load := self.load()):
            assert time.monotonic() < deadline, f"still {load}"
            time.sleep(0.01)
        return load


@pytest.fixture
def start_engine(tmp_path: Path) -> Iterator[Callable[..., Engine]]:
    """`start_engine("--ttft-ms", "50")`: as many as the test wants, each on its own port."""
    with ExitStack() as stack:

        def start(*flags: str) -> Engine:
            port = free_port()
            engine = Engine(stack.enter_context(running(simulated_engine(port, tmp_path / f"{port}.log", *flags))))
            stack.callback(engine.sdk.close)
            return engine

        yield start


@pytest.fixture
def engine(start_engine: Callable[..., Engine]) -> Engine:
    """One that answers as fast as it can."""
    return start_engine()
