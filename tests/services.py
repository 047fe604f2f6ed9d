"""Real TimescaleDB and Redis for a test session: from `.local/runtime`, on free ports, gone with their starter."""

import fcntl
import functools
import os
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from deploy.local import postgres
from deploy.local.account import Account, service_account
from deploy.local.ports import is_free
from deploy.local.postgres import PostgresServer
from deploy.local.redis_server import RedisServer
from deploy.local.runtime import is_complete

ROOT = Path(__file__).resolve().parents[1]
RUNTIME = ROOT / ".local" / "runtime"


@dataclass(frozen=True, slots=True)
class Services:
    """Where the servers of this session are."""

    server_dsn: str
    redis_url: str


# Below those that Linux gives to connections: one of them could be gone by the time its server starts.
_FIRST_PORT, _BLOCK_PORTS, _BLOCKS = 10_240, 5_632, 4
_given: set[int] = set()
_locks: list[IO[str]] = []


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on now, and that nobody got of this function before."""
    while True:
        port = secrets.choice(_ports())  # chance that no test has a seed of
        if port not in _given and is_free(port):
            _given.add(port)
            return port


@functools.cache
def _ports() -> range:
    """Those of this process while it lives: a server may start long after it got its port, and another session would take it."""
    for block in range(_BLOCKS):
        lock = (Path(tempfile.gettempdir()) / f"inferhouse-test-ports-{os.getuid()}-{block}").open("w")
        with suppress(BlockingIOError):
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            _locks.append(lock)
            begin = _FIRST_PORT + block * _BLOCK_PORTS
            return range(begin, begin + _BLOCK_PORTS)
        lock.close()
    return range(_FIRST_PORT, _FIRST_PORT + _BLOCKS * _BLOCK_PORTS)


@contextmanager
def running_services(settings: Mapping[str, str] = postgres.FOR_TESTS) -> Iterator[Services]:
    """Both servers, up and empty; stopped and removed at the end. `settings`: PostgreSQL's, beside those that it always has.

    Raises: AssertionError: the runtime is not there. Tests fail then; they are never skipped.
    """
    assert is_complete(RUNTIME.resolve()), f"{RUNTIME} is missing: run `make test-services` once"
    account = service_account()
    with ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="inferhouse-test-"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        folder.chmod(0o755)
        account.own(folder)
        database = PostgresServer(RUNTIME.resolve(), folder / "postgres", free_port(), secrets.token_hex(8), account)
        database.prepare(settings)
        stack.enter_context(_running(account, database.argv, folder / "postgres", signal.SIGQUIT))
        cache = RedisServer(RUNTIME.resolve(), folder / "redis", free_port(), secrets.token_hex(8), account)
        cache.prepare(persist=False)
        stack.enter_context(_running(account, cache.argv, folder / "redis", signal.SIGKILL))
        database.wait()
        _wait_for_port(cache.port)
        yield Services(server_dsn=database.dsn, redis_url=cache.url)


@contextmanager
def _running(account: Account, argv: list[str], folder: Path, stop: signal.Signals) -> Iterator[None]:
    """A server in the background, its output in `server.log` beside its data."""
    with (folder / "server.log").open("wb") as log:
        process = subprocess.Popen(
            account.argv(["setpriv", "--pdeathsig", stop.name.removeprefix("SIG"), "--", *argv]),
            cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env={"PATH": os.environ["PATH"], "LANG": "C.UTF-8"},
        )  # fmt: skip
    try:
        yield
    finally:
        process.send_signal(stop)
        process.wait(timeout=30)


def _wait_for_port(port: int, timeout_s: float = 10) -> None:
    deadline = time.monotonic() + timeout_s
    while True:
        with suppress(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        assert time.monotonic() < deadline, f"nothing listens on port {port} after {timeout_s} s"
        time.sleep(0.05)
