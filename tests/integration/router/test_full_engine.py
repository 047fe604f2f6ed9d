"""An engine at its bound of connections is busy, not ill."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.factories import add_model, add_tenant
from tests.integration.router.callers import add_key
from tests.integration.router.conftest import Stack, becomes
from tests.processes import running, simulated_engine
from tests.services import free_port


@pytest.fixture
def router_env() -> dict[str, str]:
    return {"ROUTER_ENGINE_CONNECTIONS_MAX": "1", "ROUTER_QUEUE_S_MAX": "0.3"}


@pytest.fixture
def engine_flags() -> list[str]:
    return ["--tokens-per-second", "100"]


def test_a_full_engine_is_said_to_be_full_and_stays_healthy(stack: Stack, hello: dict[str, Any]) -> None:
    long = hello | {"stream": True, "max_tokens": 300, "min_tokens": 300}
    with httpx.stream(
        "POST", stack.base_url + "/chat/completions", json=long, headers={"authorization": f"Bearer {stack.api_key}"}
    ) as answer:
        chunks = answer.iter_bytes()
        next(chunks)
        refused = stack.post(hello)
        assert refused.status_code == 503
        assert refused.json()["error"]["code"] == "queue_timed_out"
        assert refused.headers["retry-after"] == "1"
        time.sleep(1)  # several probes, beside the call that fills it
        assert stack.post(hello).json()["error"]["code"] == "queue_timed_out"
        rest = b"".join(chunks)
    assert rest.rstrip().endswith(b"[DONE]")
    assert stack.post(hello).status_code == 200


@pytest.mark.parametrize(
    "router_env", [{"ROUTER_ENGINE_CONNECTIONS_MAX": "1", "ROUTER_QUEUE_S_MAX": "60", "ROUTER_SHUTDOWN_S_MAX": "1"}]
)
def test_who_waits_when_a_router_stops_has_a_row(stack: Stack, hello: dict[str, Any]) -> None:
    headers = {"authorization": f"Bearer {stack.api_key}"}
    url, long = stack.base_url + "/chat/completions", hello | {"max_tokens": 2000, "min_tokens": 2000}

    def wait() -> None:
        with pytest.raises(httpx.RemoteProtocolError):
            httpx.post(url, json=hello, headers=headers, timeout=60)

    with httpx.stream("POST", url, json=long | {"stream": True}, headers=headers, timeout=60) as answer:
        chunks = answer.iter_bytes()
        next(chunks)
        waiting = threading.Thread(target=wait)
        waiting.start()
        until_s = time.monotonic() + 10
        while "inferhouse_queue_waiting 1.0" not in httpx.get(stack.router.url + "/metrics").text:
            assert time.monotonic() < until_s
            time.sleep(0.05)
        stack.router.stop()
        waiting.join()
    running, waited = sorted(stack.rows(2), key=lambda row: -row["attempt"])
    assert [(row["attempt"], row["error_code"], row["charge_class"]) for row in (running, waited)] == [
        (1, "router_stopped", "free_router_lost"), (0, "router_stopped", "free_router_lost")
    ]  # fmt: skip
    assert (waited["status"], waited["http_status"], waited["model_asked"]) == ("router_lost", 500, hello["model"])


@pytest.mark.parametrize("router_env", [{"ROUTER_ENGINE_CONNECTIONS_MAX": "1", "ROUTER_QUEUE_S_MAX": "60"}])
def test_who_waits_for_an_alias_takes_the_place_of_the_model_behind_it(
    stack: Stack, hello: dict[str, Any], tmp_path: Path, engine_flags: list[str]
) -> None:
    headers = {"authorization": f"Bearer {stack.api_key}"}
    model_id, _ = add_model(stack.db, "spare")
    with running(simulated_engine(free_port(), tmp_path / "spare.log", *engine_flags)) as engine, ExitStack() as streams:
        stack.db.execute(
            "insert into control.engines (name, kind, base_url, model_id, served_model)"
            " values ('engine-spare', 'simulated', %s, %s, 'simulated')",
            [engine.url, model_id],
        )
        stack.db.execute(
            "insert into control.model_aliases (public_id, org_id, name, stages) select 'alias_000000000001', null, 'either', %s",
            ['[[{"model": "simulated", "weight": 1}], [{"model": "spare", "weight": 1}]]'],
        )
        stack.db.commit()
        assert becomes(lambda: httpx.get(stack.router.url + "/metrics").text.count("inferhouse_engine_up{") == 2)
        assert becomes(lambda: stack.post(hello | {"model": "spare", "max_tokens": 1}).status_code == 200)
        chunks = {}
        for model, tokens in (("simulated", 4000), ("spare", 200)):
            body = hello | {"model": model, "stream": True, "max_tokens": tokens, "min_tokens": tokens}
            url = stack.base_url + "/chat/completions"
            chunks[model] = streams.enter_context(httpx.stream("POST", url, json=body, headers=headers)).iter_bytes()
            next(chunks[model])
        with ThreadPoolExecutor(2) as pool:
            rest = pool.submit(list, chunks["spare"])
            answer = stack.post(hello | {"model": "either", "max_tokens": 1})
        assert b"".join(rest.result()).rstrip().endswith(b"[DONE]")
        assert (answer.status_code, answer.headers["x-inferhouse-model"]) == (200, "spare")
        assert next(chunks["simulated"]), "the first is as full as it was"


@pytest.mark.parametrize("engine_flags", [["--tokens-per-second", "1000"]])
@pytest.mark.parametrize("router_env", [{"ROUTER_ENGINE_CONNECTIONS_MAX": "1", "ROUTER_QUEUE_S_MAX": "60"}])
def test_who_asks_for_long_answers_waits_for_those_who_ask_for_short_ones(stack: Stack, hello: dict[str, Any]) -> None:
    other = add_tenant(stack.db)
    stack.db.commit()
    short = add_key(stack, other.org_id, other.project_id, ["inference"])
    served: list[str] = []

    def ask(key: str, tokens: int) -> None:
        prompt = "x" * (10 if tokens > 8 else 2000)  # what is asked for counts, and not the prompt alone
        messages = [{"role": "user", "content": prompt}]
        assert stack.post(hello | {"max_tokens": tokens, "messages": messages}, key=key).status_code == 200
        served.append("long" if tokens > 8 else "short")

    long = hello | {"max_tokens": 6000, "min_tokens": 6000, "stream": True}
    headers = {"authorization": f"Bearer {stack.api_key}"}
    with httpx.stream("POST", stack.base_url + "/chat/completions", json=long, headers=headers, timeout=60) as answer:
        chunks = answer.iter_bytes()
        next(chunks)
        asking = [threading.Thread(target=ask, args=who) for who in [(stack.api_key, 3000)] * 2 + [(short, 8)] * 2]
        for number, one in enumerate(asking, start=1):
            one.start()
            _until_metrics_say(stack, f"inferhouse_queue_waiting {number}.0")
        for _ in chunks:
            pass
    for one in asking:
        one.join()
    assert served == ["long", "short", "short", "long"]


@pytest.mark.parametrize("engine_flags", [[]])
@pytest.mark.parametrize("router_env", [{"ROUTER_ENGINE_CONNECTIONS_MAX": "1", "ROUTER_QUEUE_S_MAX": "60"}])
def test_what_a_request_has_waited_for_an_engine_adds_up(stack: Stack, hello: dict[str, Any]) -> None:
    """It waits for the first, is told by the engine to come back, and then finds the third there."""

    def ask(fault: str) -> None:
        stack.post(hello, headers={"x-simulated-fault": fault})

    asking = [threading.Thread(target=ask, args=(fault,)) for fault in ("stall-first=3", "429=1", "stall-first=2")]
    seen = 'engine_in_flight{engine="engine-simulated"} 1.0', "queue_waiting 1.0", "queue_waiting 2.0"
    for one, line in zip(asking, seen, strict=True):
        one.start()
        _until_metrics_say(stack, f"inferhouse_{line}")
    for one in asking:
        one.join()
    waited_us = [row["queue_us"] for row in stack.rows(5) if row["error_code"] == "engine_429"]
    assert waited_us == sorted(waited_us)
    assert len(waited_us) == 3


def _until_metrics_say(stack: Stack, line: str) -> None:
    until_s = time.monotonic() + 10
    while line not in httpx.get(stack.router.url + "/metrics").text:
        assert time.monotonic() < until_s, line
        time.sleep(0.02)
