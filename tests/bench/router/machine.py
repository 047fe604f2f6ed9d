"""The machine: which core does what, and what the report says of it."""

import os
import platform
import shutil
import statistics
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

TOOLS = {"wrk": "wrk", "nginx": "nginx-light", "taskset": "util-linux", "setpriv": "util-linux"}
"""Program -> the Debian package that has it."""
SYNCS = 200
NICE = "-10"


@dataclass(frozen=True, slots=True)
class Cores:
    """The router under test has the first cores to itself; client, upstream, database and Redis share the last one."""

    router: tuple[int, ...]
    load: int

    @classmethod
    def split(cls, available: Sequence[int], workers: int = 1) -> "Cores":
        """One core a worker. Where there are too few, the workers share the last one with the load.

        Raises: ValueError: fewer than two cores: what is measured would be the load.
        """
        if len(available) < 2:
            raise ValueError("the benchmark needs two cores: one for the router, one for client and upstream")
        ordered = sorted(available)
        return cls(tuple(ordered[:workers]), ordered[-1])

    def on_router(self, argv: Sequence[str]) -> list[str]:
        """The command, bound to the router's cores."""
        return _bound(self.router, argv)

    def on_load(self, argv: Sequence[str]) -> list[str]:
        """The command, bound to the other core."""
        return _bound((self.load,), argv)


def _bound(cores: Sequence[int], argv: Sequence[str]) -> list[str]:
    """The command on some cores, ended with the benchmark if that dies.

    Routers, clients and upstreams stand for machines of their own: where root may say so, they wait neither for the database
    nor for whatever else runs on this one.
    """
    nice = ["nice", "-n", NICE] if os.geteuid() == 0 else []
    listed = ",".join(str(core) for core in cores)
    return [*nice, "taskset", "-c", listed, "setpriv", "--pdeathsig", "KILL", "--", *argv]


def tool(program: str) -> str | None:
    """Where a program is; Debian keeps some where only root looks."""
    return shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin")


def missing_tools(more: Sequence[str] = ()) -> list[str]:
    """Debian packages without which the benchmark cannot run."""
    wanted = TOOLS | dict.fromkeys(more, "nodejs npm")
    missing = [packages.split() for program, packages in wanted.items() if tool(program) is None]
    return sorted({package for packages in missing for package in packages})


@contextmanager
def run_folder(home: Path) -> Iterator[Path]:
    """A folder for one run, gone at its end; what a run that was killed left behind goes first."""
    home.mkdir(parents=True, exist_ok=True)
    for left in home.glob("run-*"):
        if not Path(f"/proc/{left.name.removeprefix('run-')}").exists():
            shutil.rmtree(left, ignore_errors=True)
    folder = home / f"run-{os.getpid()}"
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def cpu_model(cpuinfo: str) -> str:
    """What /proc/cpuinfo calls the processor."""
    names = [line.partition(":")[2].strip() for line in cpuinfo.splitlines() if line.startswith("model name")]
    return names[0] if names else "unknown processor"


def sync_ms(folder: Path) -> float:
    """Median time of an fdatasync after a write of 4 KiB to a file in the folder, in milliseconds."""
    path, taken_ms = folder / "sync", []
    with path.open("wb", buffering=0) as file:
        for _ in range(SYNCS):
            file.write(bytes(4096))
            started_s = time.perf_counter()
            os.fdatasync(file.fileno())
            taken_ms.append((time.perf_counter() - started_s) * 1e3)
    path.unlink()
    return statistics.median(taken_ms)


def commit() -> str:
    """What of this repository was measured."""
    done = subprocess.run(["git", "describe", "--always", "--dirty"], capture_output=True, text=True, check=False)
    return done.stdout.strip() or "unknown"


def described(folder: Path) -> str:
    """One line: cores, processor, kernel, memory, time of an fdatasync where the journal lies, and how busy all this is."""
    cores = len(os.sched_getaffinity(0))
    memory_gib = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    model = cpu_model(Path("/proc/cpuinfo").read_text())
    return (
        f"{cores} cores of {model}, {memory_gib:.0f} GiB, Linux {platform.release()},"
        f" Python {platform.python_version()}, fdatasync {sync_ms(folder):.2f} ms,"
        f" load {os.getloadavg()[0]:.1f} before"
    )
