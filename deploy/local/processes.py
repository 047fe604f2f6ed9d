"""Which processes of this machine belong to an instance: by a mark in their environment, or by the folder they run in.

Never by name. PostgreSQL, Redis and vLLM write their titles over their environment; those are known by their folder.
"""

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

INSTANCE_MARK = "INFERHOUSE_INSTANCE"
PROGRAM_MARK = "INFERHOUSE_PROGRAM"


@dataclass(frozen=True, slots=True)
class Process:
    """A running process of an instance."""

    pid: int
    program: str


def members(instance: str, work: Path) -> Iterator[Process]:
    """Every process of the instance but this one."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            program = _program_of(entry, instance, work)
            if program:
                yield Process(int(entry.name), program)


def _program_of(entry: Path, instance: str, work: Path) -> str | None:
    try:
        environment = dict(
            line.split("=", 1) for line in (entry / "environ").read_bytes().decode(errors="replace").split("\0") if "=" in line
        )
        folder = (entry / "cwd").readlink()
    except OSError:  # it has ended, or is another user's
        return None
    if environment.get(INSTANCE_MARK) == instance:
        return environment.get(PROGRAM_MARK, "unknown")
    if "PATH" not in environment and folder.is_relative_to(work) and folder != work:
        return folder.relative_to(work).parts[0]
    return None


def is_running(pid: int) -> bool:
    """Whether the process works: one that has ended and only waits for its parent to notice does not."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return False
    return stat.rpartition(")")[2].split()[0] != "Z"


def was_reaped(pid: int) -> bool:
    """Whether nothing is left of a process that has ended; a child of ours is cleared away here."""
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
    return not Path(f"/proc/{pid}").exists()


def end(found: Callable[[], list[Process]], patience_s: float) -> list[Process]:
    """End all processes that `found` returns, until it returns none: SIGTERM first, SIGKILL after `patience_s`.

    Returns: those that were there in the beginning.
    """
    first = remaining = found()
    deadline = time.monotonic() + patience_s
    number = signal.SIGTERM
    while remaining:
        for process in remaining:
            _signal(process.pid, number)
        time.sleep(0.1)
        while (remaining := found()) and time.monotonic() < deadline:
            time.sleep(0.1)
        number = signal.SIGKILL
        deadline = time.monotonic() + 1
    return first


def _signal(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):  # it was quicker
        os.kill(pid, number)
