"""No key, password, token or prompt text is in any log, metric, error, trace or table: of one busy run, and of all of them."""

import re
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tests.integration.router.conftest import Stack
from tests.integration.router.evidence import Collector, Evidence
from warehouse.identity.keys import ApiKeySecret

PROMPT = f"The plan for {uuid4()} is nobody else's business"
TRACE = "0af7651916cd43dd8448eb211c80319c"
SECRETS_MIN = 10


@pytest.fixture
def collector() -> Iterator[Collector]:
    made = Collector()
    yield made
    made.close()


@pytest.fixture
def router_env(collector: Collector) -> dict[str, str]:
    return {"ROUTER_OTLP_ENDPOINT": collector.url, "ROUTER_TRACE_SHARE": "1"}


def test_what_is_found_is_told(evidence: Evidence) -> None:
    """The scan itself: it would find a secret in each kind of evidence."""
    looked = Evidence(evidence.folder.with_name("planted"))
    looked.folder.mkdir()
    looked.secret("a secret that was planted")
    looked.add("log", b"\x00\xff before a secret that was planted after")
    looked.add("error", "nothing here")
    assert [line.rpartition("/")[2] for line in looked.found()] == ["000000.log:a secret that was planted"]


def test_calls_of_every_kind_leave_no_secret_in_traces(
    stack: Stack, collector: Collector, evidence: Evidence, hello: dict[str, Any]
) -> None:
    said = hello | {"messages": [{"role": "user", "content": PROMPT}]}
    traceparent = {"traceparent": f"00-{TRACE}-b7ad6b7169203331-01"}
    assert stack.post(said, headers=traceparent).status_code == 200
    assert stack.post(said | {"stream": True}).status_code == 200
    stack.post(said, headers={"x-simulated-fault": "wrong-json"})
    stack.post(said, headers={"x-simulated-fault": "500"})
    stack.post(said | {"model": "nothing"})
    stack.post(PROMPT.encode())
    wrong = ApiKeySecret.generate().reveal()
    stack.post(said, key=wrong)
    session = {"email": stack.email, "password": stack.password}
    token = httpx.post(stack.base_url + "/sessions", json=session).json()["token"]
    httpx.post(stack.base_url + "/sessions", json=session | {"password": f"not {stack.password}"})
    httpx.post(stack.base_url + "/sessions", json=session | {"unknown": stack.password})
    httpx.post(stack.base_url + f"/sessions?token={token}", content=PROMPT.encode())
    httpx.get(stack.base_url + f"/nothing?key={stack.api_key}", headers={"cookie": f"session={token}"})
    httpx.get(stack.base_url + "/organizations", headers={"authorization": f"Bearer {token}x"})
    httpx.get(stack.base_url + "/organizations", headers={"authorization": f"Basic {stack.admin_key}"})
    row = next(row for row in stack.rows(6) if row["trace_id"] is not None and row["trace_id"].hex == TRACE)
    evidence.add("metrics", httpx.get(f"{stack.router.url}/metrics").content)
    stack.router.stop()  # sends the spans that wait
    spans = b"".join(collector.received)
    evidence.add("spans", spans)
    assert bytes.fromhex(TRACE) in spans, "the caller's trace goes on"
    assert str(row["request_id"]).encode() in spans, "a row is found in the traces by its request id"
    assert b"/v1/sessions" in spans
    assert b"POST /v1/chat/completions" in spans
    evidence.add("log", stack.router.log.read_bytes())
    evidence.secret(PROMPT)
    assert len(evidence.secrets) >= SECRETS_MIN
    assert evidence.found() == []


def test_nothing_of_the_whole_run_tells_a_secret(evidence: Evidence) -> None:
    """The last of the router's tests: all before it have left their logs, metrics, errors and tables."""
    kinds = {re.sub(r"^\d+\.", "", path.name) for path in evidence.folder.iterdir()}
    print(f"{len(evidence.secrets)} secrets, {sum(1 for _ in evidence.folder.iterdir())} files of {len(kinds)} kinds")
    assert kinds >= {"log", "metrics", "error", "spans", "control.api_keys", "control.users", "raw.usage_events"}
    assert evidence.found() == []
