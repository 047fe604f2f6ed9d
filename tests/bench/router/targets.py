"""A router that runs: where it listens, what to send it, what it uses."""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.bench.router import meters
from tests.bench.router.machine import Cores
from tests.bench.router.peers import PEERS, Peer
from tests.bench.router.wrk import script
from tests.services import free_port

START_S_MAX = 120  # LiteLLM imports for half a minute on a busy machine
CHAT = {"model": "m", "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 8}


@dataclass(frozen=True, slots=True)
class Target:
    """What load is put on: a router, or the upstream itself (then nothing is known of its processes)."""

    name: str
    port: int
    pid: int | None
    headers: Mapping[str, str]

    @property
    def title(self) -> str:
        """As the tables have it."""
        peer = PEERS.get(self.name)
        return f"{peer.name} {peer.version} ({peer.written_in})" if peer else self.name

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1/chat/completions"

    def lua(self, folder: Path) -> Path:
        """wrk's script for this target, written."""
        path = folder / f"{self.name}.lua"
        path.write_text(script(dict(self.headers)))
        return path

    def raw_request(self, folder: Path, body: bytes, name: str = "request") -> Path:
        """A whole HTTP request for this target, written."""
        path = folder / f"{self.name}.{name}"
        head = [b"POST /v1/chat/completions HTTP/1.1", b"host: 127.0.0.1"]
        head += [f"{name}: {value}".encode() for name, value in self.headers.items()]
        head += [b"content-length: %d" % len(body), b"", body]
        path.write_bytes(b"\r\n".join(head))
        return path

    def cpu(self) -> dict[int, int]:
        """A reading of the CPU time of its processes."""
        return meters.cpu_ticks(self.pid) if self.pid else {}

    def kernel(self) -> dict[int, int]:
        """A reading of what of that is the kernel's."""
        return meters.kernel_ticks(self.pid) if self.pid else {}

    def memory_mib(self) -> float | None:
        """Resident memory of its processes."""
        return meters.memory_mib(self.pid) if self.pid else None


def headers(key: str = "sk-none", more: Mapping[str, str] | None = None) -> dict[str, str]:
    """Of every request to a router."""
    return {"content-type": "application/json", "authorization": f"Bearer {key}", **(more or {})}


def direct(upstream: int) -> Target:
    """The upstream with nothing in front of it."""
    return Target("direct", upstream, None, headers())


@contextmanager
def running_peer(peer: Peer, cores: Cores, folder: Path, upstream: int, redis_url: str) -> Iterator[Target]:
    """One of the others, up on the router's core and answering; ended by its process number."""
    home, port = peer.install(), free_port()
    for file in peer.files:
        shutil.copy(file, folder)
    target = Target(peer.name, port, None, headers(more=peer.headers(upstream)))
    env = {"PATH": os.environ["PATH"], "HOME": str(folder), "LANG": "C.UTF-8", **peer.env}
    env |= {"UPSTREAM_URL": f"http://127.0.0.1:{upstream}/v1", "COORDINATION_REDIS_URL": redis_url}
    log_path = folder / f"{peer.name}.log"
    with log_path.open("ab") as log:
        process = subprocess.Popen(
            cores.on_router(peer.argv(home, port, upstream)), cwd=folder, env=env,
            stdin=subprocess.DEVNULL, stdout=log, stderr=log,
        )  # fmt: skip
    try:
        wait_for_answer(target, process, log_path)
        yield Target(target.name, port, process.pid, target.headers)
    finally:
        process.terminate()
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(timeout=20)


def wait_for_answer(target: Target, process: subprocess.Popen[bytes], log: Path) -> None:
    """Until a chat completion comes back whole. Raises: AssertionError: it ends, or does not answer in time."""
    deadline, said = time.monotonic() + START_S_MAX, "nothing"
    while True:
        try:
            answer = httpx.post(target.url, json=CHAT, headers=dict(target.headers), timeout=10)
            if answer.status_code == 200:
                return
            said = answer.text[:300]
        except httpx.TransportError as error:
            said = str(error)
        told = f"{target.name} says {said}\n{log.read_text()[-3000:]}"
        assert process.poll() is None, f"{target.name} ended: {told}"
        assert time.monotonic() < deadline, told
        time.sleep(0.2)
