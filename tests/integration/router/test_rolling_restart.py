"""A router that is told to stop finishes what it has begun; clients of the one beside it, or after it, lose nothing."""

import asyncio
import contextlib
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from tests.integration.router.conftest import Stack

STREAMS = 20
STREAM_TOKENS, LONG_TOKENS = 300, 2000
STOPPED_S_MAX, ENDED_S_MAX, REPLACED_S_MAX = 30, 60, 90


@pytest.fixture
def engine_flags() -> list[str]:
    """A stream takes three seconds."""
    return ["--tokens-per-second", "100"]


@pytest.fixture
def router_env() -> dict[str, str]:
    return {"ROUTER_WORKERS": "2"}


@dataclass
class Client:
    """One that begins anew where no connection can be made."""

    keeps: bool
    """Its connection, for the next request."""
    whole: int = 0
    refused: int = 0
    cut: list[str] = field(default_factory=list)

    async def ask(self, stack: Stack, hello: dict[str, Any], until: asyncio.Event) -> None:
        """One request after the other."""
        headers = {"authorization": f"Bearer {stack.api_key}"}
        limits = httpx.Limits(max_keepalive_connections=int(self.keeps))
        async with httpx.AsyncClient(headers=headers, timeout=30, limits=limits) as client:
            while not until.is_set():
                try:
                    answer = await client.post(f"{stack.base_url}/chat/completions", json=hello | {"max_tokens": 3})
                except httpx.ConnectError:
                    self.refused += 1
                    await asyncio.sleep(0.05)
                except httpx.HTTPError as error:
                    self.cut.append(repr(error))
                else:
                    assert answer.status_code == 200, answer.text
                    self.whole += 1


async def stream(stack: Stack, hello: dict[str, Any], began: asyncio.Semaphore) -> str:
    """All of a stream's bytes."""
    headers = {"authorization": f"Bearer {stack.api_key}"}
    body = hello | {"stream": True, "ignore_eos": True}
    read = b""
    async with (
        httpx.AsyncClient(headers=headers, timeout=60) as client,
        client.stream("POST", f"{stack.base_url}/chat/completions", json=body) as answer,
    ):
        async for piece in answer.aiter_raw():
            if not read:
                began.release()
            read += piece
    return read.decode()


def replace_workers(stack: Stack) -> None:
    """SIGHUP: one worker after the other is replaced, and ends when its streams have."""
    assert stack.router.process is not None
    before = workers_of(stack)
    stack.router.process.send_signal(signal.SIGHUP)
    deadline = time.monotonic() + REPLACED_S_MAX
    while before & workers_of(stack) or len(workers_of(stack)) < len(before):
        assert time.monotonic() < deadline, stack.router.log.read_text()[-2000:]
        time.sleep(0.2)


def workers_of(stack: Stack) -> set[int]:
    """Process ids of the workers that serve."""
    assert stack.router.process is not None
    parent = stack.router.process.pid
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    return {int(pid) for pid in children if b"multiprocessing-fork" in _command_of(pid)}


def _command_of(pid: str) -> bytes:
    """Nothing of a process that has ended meanwhile."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""


async def both_new(stack: Stack, before: set[int]) -> set[int]:
    """The two workers that were not there before, as soon as there are two."""
    deadline = time.monotonic() + STOPPED_S_MAX
    while len(new := workers_of(stack) - before) < 2:
        assert time.monotonic() < deadline
        await asyncio.sleep(0.1)
    return new


def test_workers_are_watched_while_old_ones_finish(stack: Stack, hello: dict[str, Any]) -> None:
    """Both are replaced although a stream goes on at one of the old ones, and a new one that dies is replaced as well."""
    before, began = workers_of(stack), asyncio.Semaphore(0)

    async def restart() -> str:
        reading = asyncio.create_task(stream(stack, hello | {"max_tokens": LONG_TOKENS}, began))
        await began.acquire()
        assert stack.router.process is not None
        for _ in range(2):
            stack.router.process.send_signal(signal.SIGHUP)
        new = await both_new(stack, before)
        os.kill(min(new), signal.SIGKILL)
        await both_new(stack, before | {min(new)})
        assert not reading.done(), "or this says nothing"
        return await reading

    assert asyncio.run(restart()).endswith("data: [DONE]\n\n")
    stack.rows(1)


def test_a_worker_that_dies_while_it_is_asked_whether_it_lives_is_replaced_at_once(stack: Stack) -> None:
    before = workers_of(stack)
    dies = min(before)
    os.kill(dies, signal.SIGSTOP)
    time.sleep(1.5)  # by then it is being asked, and for an answer there is a minute's time
    os.kill(dies, signal.SIGKILL)
    deadline = time.monotonic() + STOPPED_S_MAX
    while len(workers_of(stack) - {dies}) < 2:
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_worker_that_cannot_be_replaced_takes_no_other_with_it(stack: Stack, hello: dict[str, Any]) -> None:
    """As where the journal's disk has filled up, or lost a folder, since the start."""
    dies, stays = sorted(workers_of(stack))
    time.sleep(2)  # the parent has asked both whether they serve
    files = (Path(os.readlink(fd)) for fd in Path(f"/proc/{dies}/fd").iterdir())
    lock = next(path for path in files if path.is_relative_to(stack.journal) and path.name == "lock")
    os.kill(dies, signal.SIGKILL)
    lock.unlink()
    lock.mkdir()
    deadline = time.monotonic() + ENDED_S_MAX
    while "a worker has died" not in (said := stack.router.log.read_text()) or said.count("Is a directory") < 2:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert stack.router.process is not None
    assert stack.router.process.poll() is None
    assert stays in workers_of(stack)
    assert stack.post(hello).status_code == 200
    lock.rmdir()
    while "Application startup complete" not in stack.router.log.read_text()[len(said) :]:
        assert time.monotonic() < deadline
        time.sleep(0.2)


@pytest.mark.parametrize("router_env", [{"ROUTER_WORKERS": "2", "ROUTER_SHUTDOWN_S_MAX": "1"}], ids=["who waits a second"])
@pytest.mark.parametrize("starting", [False, True], ids=["one that serves", "one that starts"])
def test_a_stop_is_heard_while_a_worker_hangs(stack: Stack, starting: bool) -> None:
    """What it is asked, or waited for until it serves, may take a minute: the others end before. Then it is killed."""
    parent, before = stack.router.process, workers_of(stack)
    assert parent is not None
    if starting:
        parent.send_signal(signal.SIGHUP)
    (hangs,) = first_new(stack, before) if starting else {min(before)}
    os.kill(hangs, signal.SIGSTOP)
    time.sleep(1.5)
    parent.send_signal(signal.SIGTERM)
    deadline = time.monotonic() + STOPPED_S_MAX
    while workers_of(stack) - {hangs}:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    parent.wait(ENDED_S_MAX)
    assert not Path(f"/proc/{hangs}").exists()


def first_new(stack: Stack, before: set[int]) -> set[int]:
    """The worker that was not there before, as soon as there is one."""
    deadline = time.monotonic() + STOPPED_S_MAX
    while not (new := workers_of(stack) - before):
        assert time.monotonic() < deadline
    return new


@pytest.mark.parametrize("router_env", [{"ROUTER_WORKERS": "1"}, {"ROUTER_WORKERS": "2"}], ids=["one worker", "two workers"])
def test_a_worker_that_is_told_to_be_replaced_itself_cuts_nobody(stack: Stack, hello: dict[str, Any]) -> None:
    """As when a terminal closes, or a reload is sent to every process of a unit."""
    began = asyncio.Semaphore(0)

    async def hang_up() -> list[str]:
        streams = [asyncio.create_task(stream(stack, hello | {"max_tokens": 30}, began)) for _ in range(8)]
        for _ in streams:
            await began.acquire()
        assert stack.router.process is not None
        for pid in workers_of(stack) or {stack.router.process.pid}:
            os.kill(pid, signal.SIGHUP)
        return await asyncio.gather(*streams)

    assert all(text.endswith("data: [DONE]\n\n") for text in asyncio.run(hang_up()))
    stack.rows(8)


def stop_and_start(stack: Stack) -> None:
    """SIGTERM, and a new process when it has ended."""
    began = time.monotonic()
    stack.router.stop()
    assert time.monotonic() - began < STOPPED_S_MAX
    stack.router.start()


@pytest.mark.parametrize("restarted", [replace_workers, stop_and_start])
def test_a_restart_cuts_no_stream_and_no_answer(stack: Stack, hello: dict[str, Any], restarted: Callable[[Stack], None]) -> None:
    clients = [Client(keeps=number < 4) for number in range(8)]

    async def restart() -> list[str]:
        until, began = asyncio.Event(), asyncio.Semaphore(0)
        asking = [asyncio.create_task(client.ask(stack, hello, until)) for client in clients]
        streams = [asyncio.create_task(stream(stack, hello | {"max_tokens": STREAM_TOKENS}, began)) for _ in range(STREAMS)]
        for _ in range(STREAMS):
            await began.acquire()
        await asyncio.to_thread(restarted, stack)
        read = await asyncio.gather(*streams)
        before = sum(client.whole for client in clients)
        await asyncio.sleep(1)
        until.set()
        await asyncio.gather(*asking)
        assert sum(client.whole for client in clients) > before
        return read

    read = asyncio.run(restart())
    assert all(text.endswith("data: [DONE]\n\n") for text in read)
    assert [client.cut for client in clients] == [[]] * len(clients)
    assert sum(client.refused for client in clients) == 0 or restarted is stop_and_start
    whole = sum(client.whole for client in clients)
    rows = stack.rows(whole + STREAMS)
    assert {row["status"] for row in rows} == {"completed"}
    assert sorted(row["output_tokens"] for row in rows)[-STREAMS:] == [STREAM_TOKENS] * STREAMS


@pytest.mark.parametrize("router_env", [{"ROUTER_WORKERS": "1"}, {"ROUTER_WORKERS": "2"}], ids=["one worker", "two workers"])
def test_who_connects_while_a_router_stops_is_answered_or_refused(stack: Stack) -> None:
    at = urlsplit(stack.router.url)
    answers: list[bytes] = []
    stopped = asyncio.Event()

    async def connect_again_and_again() -> None:
        while not stopped.is_set():
            try:
                reader, writer = await asyncio.open_connection(at.hostname, at.port)
            except ConnectionRefusedError:
                return
            writer.write(b"GET /health/live HTTP/1.1\r\nhost: router\r\nconnection: close\r\n\r\n")
            answers.append(await reader.read())
            writer.close()

    async def stop() -> None:
        clients = [asyncio.create_task(connect_again_and_again()) for _ in range(60)]
        await asyncio.sleep(0.5)
        await asyncio.to_thread(stack.router.stop)
        stopped.set()
        await asyncio.gather(*clients)

    asyncio.run(stop())
    assert len(answers) > 100
    assert [answer for answer in answers if not answer.startswith(b"HTTP/1.1 200 ")] == []


LIVE = b"GET /health/live HTTP/1.1\r\nhost: router\r\n\r\n"


def stopping(stack: Stack) -> threading.Thread:
    """A stop under way."""
    thread = threading.Thread(target=stack.router.stop)
    thread.start()
    return thread


def test_a_stop_waits_for_workers_that_are_slow_to_accept(stack: Stack) -> None:
    """As on a machine with more to do than cores: they had a tenth of a second, and who was not accepted then was reset."""
    at = urlsplit(stack.router.url)
    workers = workers_of(stack)
    for pid in workers:
        os.kill(pid, signal.SIGSTOP)
    with socket.create_connection((at.hostname, at.port), timeout=10) as client:
        client.sendall(LIVE)
        stop = stopping(stack)
        time.sleep(1)
        for pid in workers:
            os.kill(pid, signal.SIGCONT)
        assert client.recv(1000).startswith(b"HTTP/1.1 200 ")
    stop.join()


@pytest.mark.parametrize("router_env", [{"ROUTER_WORKERS": "1"}, {"ROUTER_WORKERS": "2"}], ids=["one worker", "two workers"])
def test_who_connected_before_a_stop_may_send_its_first_request_after_it(stack: Stack) -> None:
    at = urlsplit(stack.router.url)
    with socket.create_connection((at.hostname, at.port), timeout=10) as client:
        time.sleep(0.2)
        stop = stopping(stack)
        time.sleep(0.8)
        client.sendall(LIVE)
        assert client.recv(1000).startswith(b"HTTP/1.1 200 ")
    stop.join()


def test_liveness_touches_nothing_and_readiness_says_why(stack: Stack, database_line: Any, hello: dict[str, Any]) -> None:
    stack.engine.stop()
    deadline = time.monotonic() + 10
    while (answer := httpx.get(stack.router.url + "/health/ready")).status_code == 200:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert answer.json()["reasons"] == {"engines": "none answers"}
    database_line.cut()
    assert stack.post(hello).status_code == 503
    assert httpx.get(stack.router.url + "/health/live").json() == {"status": "live"}


def test_workers_whose_parent_is_killed_finish_and_leave_the_port_to_the_next(stack: Stack, hello: dict[str, Any]) -> None:
    left = workers_of(stack)
    assert len(left) == 2
    assert stack.post(hello).status_code == 200
    stack.router.kill()
    deadline = time.monotonic() + STOPPED_S_MAX
    while any(Path(f"/proc/{pid}").exists() for pid in left):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    stack.router.start()
    assert stack.post(hello).status_code == 200
    stack.rows(2)
