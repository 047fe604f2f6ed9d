"""CPU time and memory of a process and all that it started, from /proc."""

import os
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

TICK_US = 1_000_000 / os.sysconf("SC_CLK_TCK")
PROC = Path("/proc")


@dataclass(frozen=True, slots=True)
class Stat:
    """The part of /proc/PID/stat that is needed."""

    parent: int
    ticks: int
    kernel_ticks: int


def parse_stat(text: str) -> Stat:
    """User and system time, and the latter alone. A name may hold spaces and brackets, so fields count from its end."""
    fields = text.rpartition(")")[2].split()
    return Stat(parent=int(fields[1]), ticks=int(fields[11]) + int(fields[12]), kernel_ticks=int(fields[12]))


def _stat(pid: int) -> Stat | None:
    try:
        return parse_stat((PROC / str(pid) / "stat").read_text())
    except (FileNotFoundError, ProcessLookupError):
        return None


def tree(root: int) -> list[int]:
    """The process and its descendants, as they are now."""
    parents = {int(path.name): stat.parent for path in PROC.glob("[0-9]*") if (stat := _stat(int(path.name))) is not None}
    found = [root]
    for pid in found:
        found += [child for child, parent in parents.items() if parent == pid]
    return found


def cpu_ticks(root: int) -> dict[int, int]:
    """{process: ticks used so far} of the process and its descendants; threads are in their process's count."""
    return {pid: stat.ticks for pid in tree(root) if (stat := _stat(pid)) is not None}


def kernel_ticks(root: int) -> dict[int, int]:
    """The same of the time that the kernel worked for them."""
    return {pid: stat.kernel_ticks for pid in tree(root) if (stat := _stat(pid)) is not None}


def cpu_us_between(before: dict[int, int], after: dict[int, int]) -> float:
    """CPU time between two readings, in microseconds; a process that was born between them counts whole."""
    return sum(ticks - before.get(pid, 0) for pid, ticks in after.items()) * TICK_US


def rss_kib(status: str) -> int:
    """Resident memory out of /proc/PID/status, in KiB; a process that has just ended has none."""
    return next((int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS:")), 0)


def pss_kib(rollup: str) -> int:
    """Proportional memory out of /proc/PID/smaps_rollup, in KiB: pages shared by n processes count 1/n each."""
    return next((int(line.split()[1]) for line in rollup.splitlines() if line.startswith("Pss:")), 0)


def memory_mib(root: int, *, proportional: bool = False) -> float:
    """Resident memory of the process and its descendants; `proportional` counts pages that they share once."""
    name, parse = ("smaps_rollup", pss_kib) if proportional else ("status", rss_kib)
    whole = 0
    for pid in tree(root):
        try:
            whole += parse((PROC / str(pid) / name).read_text())
        except (FileNotFoundError, ProcessLookupError):
            continue
    return whole / 1024


class MemorySampler:
    """Reads memory at even intervals while a block runs, at its begin and at its end."""

    def __init__(self, root: int, *, interval_s: float, proportional: bool = False) -> None:
        self._root, self._interval_s, self._proportional = root, interval_s, proportional
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="memory-sampler", daemon=True)
        self.at_s: list[float] = []
        self.mib: list[float] = []

    def __enter__(self) -> "MemorySampler":
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        started_s = time.monotonic()
        while True:
            self.at_s.append(time.monotonic() - started_s)
            self.mib.append(memory_mib(self._root, proportional=self._proportional))
            if self._stop.wait(self._interval_s):
                break
        self.at_s.append(time.monotonic() - started_s)
        self.mib.append(memory_mib(self._root, proportional=self._proportional))
