"""`python -m router`: serve inference and management on ROUTER_HOST:ROUTER_PORT."""

import asyncio
import contextlib
import errno
import gc
import multiprocessing
import os
import signal
import socket
import sys
import threading
import time
from logging import getLogger
from multiprocessing.process import BaseProcess
from pathlib import Path
from weakref import WeakKeyDictionary, WeakSet

import uvicorn
from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors import Multiprocess
from uvicorn.supervisors.multiprocess import Process

from router.app import App, create_app
from router.inference.server import InferenceProtocol
from router.listening import give_up
from router.settings import RouterSettings
from warehouse.base import logging, tracing
from warehouse.base.errors import SettingsError
from warehouse.journal import check_slots

_LOG = getLogger(__name__)
COLLECT_EVERY = 50_000  # objects; Python's 700 look through all that is young several hundred times a second
WORKER_S_MAX = 60  # for a new worker to be ready, and for one that hangs to be replaced
ENDING_S_MAX = 20  # for a worker to end when its calls have; a batch of rows takes a second or two. docker-compose.yml grants 30
KEEP_ALIVE_S = 75  # clients of the OpenAI SDKs pool their connections; closing early costs them a connect


def application() -> App:
    """The application of one worker, from its environment."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # the parent's to hear; its default would cut whatever this worker has under way
    logging.configure("router")
    settings = RouterSettings.from_env(os.environ)
    end_with_parent(settings.shutdown_s_max)
    # The second name is the one that OpenTelemetry's own documents give.
    endpoint = settings.otlp_endpoint or os.environ.get("OTEL_EXPORTER_OTLP_ENDPOINT") or None
    tracing.configure("router", endpoint, settings.trace_share)
    app = create_app(settings)
    calm_collector()
    return app


def end_with_parent(shutdown_s_max: float) -> None:
    """A worker whose parent is killed finishes what it has and goes: it would keep the port from the router that comes next."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_follow, args=(parent, shutdown_s_max), daemon=True).start()


def _follow(parent: BaseProcess, shutdown_s_max: float) -> None:
    parent.join()
    os.kill(os.getpid(), signal.SIGTERM)
    _end_in(shutdown_s_max + ENDING_S_MAX)


def _end_in(seconds: float) -> None:
    """As a parent does with a worker that hangs, for one that has none: a query that a database never answers has no other end.
    Its rows are in the journal."""
    time.sleep(seconds)
    _LOG.warning("this worker has not ended in time, and ends itself", extra={"worker": os.getpid()})
    os._exit(1)


def calm_collector() -> None:
    """What is there after start-up stays, and a request leaves no cycles: looking for them all the time costs tail latency."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECT_EVERY, 10, 100)


class Workers(Multiprocess):
    """uvicorn's, which on SIGHUP replaces one worker after the other, each when the new one is ready.

    uvicorn's own waits for the old one to end, and meanwhile replaces no worker that dies and hears no SIGTERM: with streams of
    a quarter of an hour that is too long. So is the minute that a worker has to say that it lives.
    """

    def __init__(self, config: uvicorn.Config, sockets: list[socket.socket]) -> None:
        super().__init__(config, sockets)
        self.leaving: list[Process] = []
        """Old workers that finish what they have."""
        self._asked_s: WeakKeyDictionary[Process, float] = WeakKeyDictionary()
        """When a worker was asked whether it lives, until it has answered."""
        self._serving: WeakSet[Process] = WeakSet()
        """Workers that have said that they serve."""
        self.status = 0
        """That this process ends with."""

    def handle_hup(self) -> None:
        """Once the old workers of the last time have ended: there are never more than twice as many as asked for."""
        if not self._left():
            super().handle_hup()
        elif signal.SIGHUP not in self.signal_queue:
            self.signal_queue.append(signal.SIGHUP)

    def restart_all(self) -> None:
        for place, old in enumerate(self.processes):
            new = Process(self.config, self.sockets)
            new.start()
            if not self._becomes_ready(new):
                return
            old.terminate()
            self.leaving.append(old)
            self.processes[place] = new

    def _becomes_ready(self, new: Process) -> bool:
        """Whether it serves; a stop that is asked for meanwhile is not kept waiting."""
        until_s = time.monotonic() + WORKER_S_MAX
        while new.process.is_alive() and time.monotonic() < until_s:
            if new.is_ready(timeout=1):
                return True
            if not {signal.SIGTERM, signal.SIGINT}.isdisjoint(self.signal_queue):
                new.terminate()  # it may have begun to serve
                self.leaving.append(new)
                return False
            time.sleep(0.1)
        new.kill()
        new.join()
        _LOG.error("a new worker was not ready in time: the old ones go on")
        return False

    def keep_subprocess_alive(self) -> None:
        self._left()
        if self.should_exit.is_set():
            return
        for place, process in enumerate(self.processes):
            if self._is_well(process):
                continue
            process.kill()
            process.join()
            # The next one would fail the same way; where others serve, they do not end over what a worker later finds broken.
            if process.exitcode == STARTUP_FAILURE and not any(other.process.is_alive() for other in self._serving):
                _LOG.error("a worker failed to start", extra={"worker": process.pid})
                self.status = STARTUP_FAILURE
                self.should_exit.set()
                return
            _LOG.warning("a worker has died or did not answer, and is replaced", extra={"worker": process.pid})
            new = self.processes[place] = Process(self.config, self.sockets)
            new.start()

    def _is_well(self, process: Process) -> bool:
        """Whether it runs, and has answered or has time left for that. It is not waited for."""
        if not process.process.is_alive():
            return False
        with contextlib.suppress(OSError, EOFError):  # it ends just now
            if process in self._asked_s and process.parent_conn.poll():
                if process.parent_conn.recv():
                    self._serving.add(process)
                del self._asked_s[process]
            if process not in self._asked_s:
                self._asked_s[process] = time.monotonic()
                process.parent_conn.send(b"ping")
            return time.monotonic() - self._asked_s[process] < WORKER_S_MAX
        return False

    def join_all(self) -> None:
        """Wait for all as long as a stop may take. Who hangs then has no end of its own: a signal does not reach it."""
        everyone = [*self.processes, *self.leaving]
        until_s = time.monotonic() + (self.config.timeout_graceful_shutdown or 0) + ENDING_S_MAX
        for process in everyone:
            process.process.join(max(until_s - time.monotonic(), 0))
        for process in everyone:
            if process.exitcode is None:
                _LOG.warning("a worker has not ended in time, and is killed", extra={"worker": process.pid})
                process.kill()
                process.join()

    def _left(self) -> int:
        """How many old workers there are still; those that have ended are reaped."""
        self.leaving = [process for process in self.leaving if process.exitcode is None]
        return len(self.leaving)

    def terminate_all(self) -> None:
        """Stop listening here, too: a client that connects while the workers finish would wait and be cut off at the end."""
        for pause_s in give_up(self.sockets):
            time.sleep(pause_s)
        for listening in self.sockets:
            listening.close()
        super().terminate_all()


class OnlyWorker(uvicorn.Server):
    """uvicorn's, which accepts who has connected before it stops listening, and ends as soon as a stop must have."""

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        seconds = (self.config.timeout_graceful_shutdown or 0) + ENDING_S_MAX
        threading.Thread(target=_end_in, args=(seconds,), daemon=True).start()
        for pause_s in give_up([listening for server in self.servers for listening in server.sockets]):
            await asyncio.sleep(pause_s)
        await super().shutdown(sockets)


def check_journal(folder: Path) -> None:
    """Said in one line, and once: each worker would fail over it, and be replaced by one that does. Raises: SettingsError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        check_slots(folder)
    except OSError as error:
        why = "it is no folder" if isinstance(error, FileExistsError) else error.strerror
        said = f"ROUTER_JOURNAL_DIR cannot be written to: {error.filename or folder}: {why}"
        if isinstance(error, PermissionError):
            said += f"; give the folder and all in it to the router's user (chown -R {os.geteuid()}), or name another folder"
        raise SettingsError(said) from error


def check_address(host: str, port: int) -> None:
    """Before the database and the journal are taken up. Raises: SettingsError: the router cannot listen there."""
    try:
        for family, kind, protocol, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
            with socket.socket(family, kind, protocol) as tried:
                tried.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                tried.bind(address)
    except OSError as error:
        said = f"the router cannot listen on ROUTER_HOST {host}, ROUTER_PORT {port}: {error.strerror}"
        if error.errno == errno.EADDRINUSE:
            said += "; stop what listens there, or take another port"
        raise SettingsError(said) from error


def main() -> int:
    try:
        settings = RouterSettings.from_env(os.environ)
        if settings.serves_inference:
            check_journal(settings.journal_dir)
        check_address(settings.host, settings.port)
    except SettingsError as error:
        print(f"{error.code}: {error}", file=sys.stderr)
        return 1
    logging.configure("router")
    config = uvicorn.Config(
        "router.__main__:application",
        factory=True,
        host=settings.host,
        port=settings.port,
        workers=settings.workers,
        loop="uvloop",
        http=InferenceProtocol,
        interface="asgi3",
        ws="none",
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,  # uvicorn would believe any local process; ROUTER_TRUSTED_PROXIES says whom we believe
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=settings.shutdown_s_max,
    )
    if config.workers > 1:
        workers = Workers(config, sockets=[config.bind_socket()])
        workers.run()
        return workers.status
    server = OnlyWorker(config)
    server.run()
    return 0 if server.started else 1


if __name__ == "__main__":
    sys.exit(main())
