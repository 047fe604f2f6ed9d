"""Engines' counters are read over real HTTP, over restarts, and whatever an engine says."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import dagster as dg
import httpx
import psycopg
import pytest

from orchestration.defs.service import sampler
from orchestration.defs.service.sensors import drop_old_samples, sample_engines_sensor
from orchestration.resources import Warehouse
from tests.factories import add_engine, add_model, engine_sample
from tests.processes import ServerProcess, simulated_engine
from tests.services import free_port
from warehouse.access import engine_samples

ASK = {"model": "simulated", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 20}


@pytest.fixture
def warehouse(role_url: Callable[..., str]) -> Warehouse:
    return Warehouse(database_url=role_url("inferhouse_transform"))


@pytest.fixture
def tick(warehouse: Warehouse) -> Callable[[], str]:
    """One look of the sensor; what it says."""

    def look() -> str:
        with dg.build_sensor_context(resources={"warehouse": warehouse}) as context:
            return str(sample_engines_sensor.evaluate_tick(context).skip_message)

    return look


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[ServerProcess]:
    with ExitStack() as stack:
        server = simulated_engine(free_port(), tmp_path / "engine.log")
        stack.callback(server.stop)
        server.start()
        yield server


def _samples(db: psycopg.Connection) -> list[tuple[Any, ...]]:
    rows = db.execute(
        "select prompt_tokens, generation_tokens, requests_finished, started_at, gpus, gpu_hour_picousd from raw.engine_samples"
        " order by sampled_at"
    ).fetchall()
    db.commit()
    return rows


def test_an_engine_that_starts_anew_is_seen_to(db: psycopg.Connection, tick: Callable[[], str], engine: ServerProcess) -> None:
    model = add_model(db, "simulated")
    add_engine(db, "one", model[0], kind="simulated", base_url=engine.url, gpus=2, gpu_hour_picousd=7)
    add_engine(db, "hosted", model[0], kind="openai", base_url="https://api.example.com")
    db.commit()
    assert tick() == "read 1 engines"
    answer = httpx.post(f"{engine.url}/v1/chat/completions", json=ASK).raise_for_status().json()
    assert tick() == "read 1 engines"
    engine.kill()
    assert tick() == "read 0 engines; one: no answer: ConnectionRefusedError"
    engine.start()
    assert tick() == "read 1 engines"
    first, second, third = _samples(db)
    assert first[:3] == (0, 0, 0)
    assert second[:3] == (answer["usage"]["prompt_tokens"], answer["usage"]["completion_tokens"], 1)
    assert second[3] == first[3]
    assert third[:3] == (0, 0, 0)
    assert third[3] > second[3]
    assert third[4:] == (2, 7)


@contextmanager
def _saying(answer: Callable[[BaseHTTPRequestHandler], None]) -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            with suppress(OSError):  # whoever asked has hung up
                answer(self)

        def log_message(self, *_: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def _body(handler: BaseHTTPRequestHandler, text: bytes, status: int = 200, **headers: str) -> None:
    handler.send_response(status)
    for name, value in headers.items():
        handler.send_header(name, value)
    handler.end_headers()
    handler.wfile.write(text)


def _drips(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.end_headers()
    for _ in range(100):
        handler.wfile.write(b"vllm:x 1\n")
        handler.wfile.flush()
        time.sleep(0.05)


def _floods(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.end_headers()
    for _ in range(200):
        handler.wfile.write(b"vllm:x 1\n" * 1000)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (lambda handler: _body(handler, b"", 302, location="http://127.0.0.1:1/metrics"), "answered 302"),
        (lambda handler: _body(handler, b"up 1\n"), "vllm:num_requests_running is missing"),
        (lambda handler: _body(handler, b"\xff\xfe"), "no answer: UnicodeDecodeError"),
        (lambda handler: handler.wfile.write(b"garbage\n"), "no answer: BadStatusLine"),
        (_drips, "took longer than 1 s"),
        (_floods, "said more than 1000000 bytes"),
    ],
    ids=["redirect", "something else", "no text", "no http", "slowly", "too much"],
)
def test_what_an_engine_says_is_bounded(
    answer: Callable[[BaseHTTPRequestHandler], None],
    said: str,
    db: psycopg.Connection,
    tick: Callable[[], str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sampler, "READ_S_MAX", 1.0)
    monkeypatch.setattr(sampler, "TEXT_BYTES_MAX", 1_000_000)
    with _saying(answer) as url:
        add_engine(db, "odd", add_model(db, "m")[0], base_url=url)
        db.commit()
        assert tick() == f"read 0 engines; odd: {said}"
    assert _samples(db) == []


def test_an_engine_that_hangs_keeps_no_other_waiting(
    db: psycopg.Connection, tick: Callable[[], str], engine: ServerProcess, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sampler, "TICK_S_MAX", 1.0)
    monkeypatch.setattr(sampler, "READ_S_MAX", 2.0)
    model = add_model(db, "simulated")
    with _saying(lambda _: time.sleep(2)) as url:
        add_engine(db, "hangs", model[0], base_url=url)
        add_engine(db, "well", model[0], base_url=engine.url)
        db.commit()
        assert tick() == "read 1 engines; hangs: there was no time for it"


def test_old_samples_are_dropped_by_whole_weeks(db: psycopg.Connection, warehouse: Warehouse) -> None:
    engine = add_engine(db, "one", add_model(db, "m")[0])
    today = datetime.now(UTC)
    engine_samples.add(db, [engine_sample(engine, today - timedelta(days=days)) for days in (0, 300, 420, 430)])
    db.commit()
    with dg.build_op_context(resources={"warehouse": warehouse}) as context:
        drop_old_samples(context)
    rows = db.execute("select (now() - sampled_at) < interval '400 days' from raw.engine_samples").fetchall()
    assert rows == [(True,), (True,)]
    with warehouse.connect() as conn, pytest.raises(psycopg.errors.InvalidParameterValue):
        engine_samples.drop_old(conn, kept_days=6)
