"""Ports of an instance: the usual ones, others where those are taken, the same again at the next start."""

import json
import socket
from collections.abc import Mapping
from pathlib import Path

from deploy.local.account import Account
from deploy.local.errors import PreflightFailed

USUAL = {
    "router": 8000, "portal": 8501, "dagster": 3000, "dagster_code": 4266,
    "postgres": 5432, "redis": 6379, "vllm": 8100, "simulated": 8101,
}  # fmt: skip
_TRIES = 200  # ports looked at above the usual one


def choose(asked: Mapping[str, int | None], path: Path, account: Account, *, keep: bool) -> dict[str, int]:
    """A port for each process; written to `path` and taken from there the next time.

    `asked`: ports that must be those.  `keep`: the instance runs, so that its ports are taken by itself.
    Raises: PreflightFailed: a port that was asked for is taken, or none is free.
    """
    remembered = json.loads(path.read_text()) if path.is_file() else {}
    chosen: dict[str, int] = {}
    for name, usual in USUAL.items():
        wanted = asked.get(name)
        if wanted and not is_free(wanted) and not (keep and remembered.get(name) == wanted):
            raise PreflightFailed(f"port {wanted} (INFERHOUSE_{name.upper()}_PORT) is taken by another process")
        last = remembered.get(name)
        if wanted:
            chosen[name] = wanted
        elif last and (keep or is_free(last)):
            chosen[name] = last
        else:
            chosen[name] = _next_free(usual, set(chosen.values()), name)
    account.write(path, json.dumps(chosen, indent=1), 0o644)
    return chosen


def is_free(port: int) -> bool:
    """Whether a server could listen on 127.0.0.1:port now. A port whose last connections are still closing is free."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def _next_free(usual: int, taken: set[int], name: str) -> int:
    for port in range(usual, min(usual + _TRIES, 65536)):
        if port not in taken and is_free(port):
            return port
    raise PreflightFailed(f"no free port for {name}: {usual} to {usual + _TRIES - 1} are all taken")
