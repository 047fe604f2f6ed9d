"""The routers beside ours, each set up as its own documents say for one worker and one engine."""

import secrets
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.bench.router.install import node_peer, python_peer
from tests.services import ROOT, free_port

OURS = "inferhouse"
IN_MEMORY = "inferhouse, journal in memory"
"""Ours as nobody should run it: what the wait for the disk costs is what the other one costs more."""
LITELLM = Path(__file__).parent / "litellm"
_LITELLM_KEY = f"sk-{secrets.token_hex(32)}"  # it refuses to start without one, or with one that is easy to guess


@dataclass(frozen=True, slots=True)
class Peer:
    """How one router is started. `argv(folder, port, upstream port)`; `headers(upstream port)` beside the usual ones.

    `files`: copied to where it runs. Its environment has UPSTREAM_URL and COORDINATION_REDIS_URL beside `env`.
    `no_streams`: why it is left out where streams are measured.
    """

    name: str
    version: str
    written_in: str
    install: Callable[[], Path]
    argv: Callable[[Path, int, int], list[str]]
    files: tuple[Path, ...] = ()
    headers: Callable[[int], Mapping[str, str]] = lambda upstream: {}
    env: Mapping[str, str] = field(default_factory=dict)
    needs: tuple[str, ...] = ()
    no_streams: str | None = None


def _rust(program: list[str], *more: str) -> Callable[[Path, int, int], list[str]]:
    def argv(home: Path, port: int, upstream: int) -> list[str]:
        return [
            str(home / "bin" / program[0]), *program[1:], "--worker-urls", f"http://127.0.0.1:{upstream}",
            "--host", "127.0.0.1", "--port", str(port), "--policy", "round_robin", "--log-level", "error",
            *(word.format(prometheus=free_port()) for word in more),
        ]  # fmt: skip

    return argv


def _litellm(name: str, config: str, *files: str) -> Peer:
    def argv(home: Path, port: int, upstream: int) -> list[str]:
        return [
            str(home / "bin" / "litellm"), "--config", config, "--host", "127.0.0.1", "--port", str(port), "--num_workers", "1",
        ]  # fmt: skip

    return Peer(
        name, "1.106.2", "Python", lambda: python_peer("litellm"), argv,
        files=tuple(LITELLM / file for file in (config, *files)),
        headers=lambda upstream: {"authorization": f"Bearer {_LITELLM_KEY}"},
        # Its price list would be fetched from the network.
        env={
            "LITELLM_MODE": "PRODUCTION", "LITELLM_LOG": "ERROR", "LITELLM_LOCAL_MODEL_COST_MAP": "True",
            "MASTER_KEY": _LITELLM_KEY,
        },
    )  # fmt: skip


def _forwarder(home: Path, port: int, upstream: int) -> list[str]:
    return [sys.executable, "-m", "tests.bench.router.forwarder", str(port), str(upstream)]


def _portkey(home: Path, port: int, upstream: int) -> list[str]:
    server = home / "node_modules" / "@portkey-ai" / "gateway" / "build" / "start-server.js"
    return ["node", str(server), f"--port={port}", "--headless"]


PEERS: Mapping[str, Peer] = {
    peer.name: peer
    for peer in (
        # No router at all: the floor under every router in Python, beside which the others are to be read.
        Peer("forwarder", "of bytes alone", "Python", lambda: ROOT, _forwarder, env={"PYTHONPATH": str(ROOT)}),
        Peer(
            "vllm-router", "0.1.17", "Rust", lambda: python_peer("vllm-router"),
            _rust(["vllm-router"], "--prometheus-host", "127.0.0.1", "--prometheus-port", "{prometheus}"),
        ),
        Peer(
            "smg", "1.13.0", "Rust", lambda: python_peer("smg"),
            _rust(["smg", "launch"], "--prometheus-host", "127.0.0.1", "--prometheus-port", "{prometheus}"),
        ),
        Peer(
            "portkey", "1.15.2", "Node", node_peer, _portkey, needs=("node", "npm"),
            no_streams="answers every stream with 500 (`TypeError: immutable`, Portkey-AI/gateway#1389)",
            headers=lambda upstream: {
                "x-portkey-provider": "openai", "x-portkey-custom-host": f"http://127.0.0.1:{upstream}/v1"
            },
        ),
        _litellm("litellm", "forwarding.yaml"),
        _litellm("litellm-metering", "metering.yaml", "metering.py"),
    )
}  # fmt: skip
