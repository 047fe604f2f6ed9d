"""Part 8: where the processor's time goes, and what a router in Python would have to leave out to cost what one in Rust does."""

import json
import os
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.bench.router.bench import Bench
from tests.bench.router.figures import median, shown
from tests.bench.router.meters import cpu_us_between
from tests.bench.router.non_stream import CONNECTIONS, WARM_S, measured
from tests.bench.router.peers import IN_MEMORY, OURS
from tests.bench.router.report import Section
from tests.bench.router.streams import CHUNKS, GAP_S, STREAMS, streamed
from tests.bench.router.targets import Target
from tests.bench.router.upstreams import event_streams, nginx

BESIDE = ("vllm-router", "forwarder")
COUNTED_S = 3.0
COUNTED_STREAMS = 4
"""So few that the router keeps up while it counts: chunks that come together are another case."""
WRITTEN_S_MAX = 10.0
_HTTP = ("server", "heads", "chunked", "responses", "upstream", "encodings", "served", "openapi")
_EXCHANGE = ("exchange", "charging", "usage_sink", "state", "keepalive", "idempotency")
DUTIES: Mapping[str, tuple[str, ...]] = {
    "HTTP on both sides": (*(f"router/inference/{name}.py" for name in _HTTP), "/uvicorn/"),
    "the exchange, its price, its row and the journal": (
        *(f"router/inference/{name}.py" for name in _EXCHANGE),
        *("warehouse/access/usage_", "warehouse/journal/", "warehouse/base/"),
    ),
    "limits and budgets": ("router/inference/reservations/",),
    "who asks for what, and which engine answers": ("router/inference/",),
}  # fmt: skip
"""Part of the work -> where it is written. The first that matches; the rest is Python's own library, psycopg and Redis."""
OTHERS = "libraries"
Load = Callable[[Target, float], tuple[int, float]]
"""Put on a router for some seconds: (requests or chunks, CPU time in microseconds)."""


@dataclass(frozen=True, slots=True)
class Spent:
    """Of one request, or of one chunk, in microseconds."""

    all_us: float
    kernel_us: float

    @property
    def program_us(self) -> float:
        """Outside the kernel."""
        return self.all_us - self.kernel_us


@dataclass(frozen=True, slots=True)
class Run:
    """Python's part of one request, or of one chunk."""

    calls: float
    bytecodes: float


def run(bench: Bench) -> None:
    """Kernel and program of three routers, what waiting for the disk is of it, and the bytecodes of ours."""
    names = (OURS, *(name for name in BESIDE if name in bench.peers))
    spent: dict[str, dict[str, Spent]] = {}
    counted: dict[str, dict[str, Run]] = {}
    taken: list[int] = []
    with bench.counted("profile", taken, 2 * sum(CONNECTIONS) * (bench.repeats + 1) + CONNECTIONS[0] * 2):
        with nginx(bench.cores, bench.folder) as upstream:
            for connections in CONNECTIONS:
                requests = partial(_requests, bench, connections, taken)
                spent[f"request, {connections} connections"] = _by_turns(bench, (*names, IN_MEMORY), upstream, requests)
            counted["request"] = _counted(bench, upstream, partial(_requests, bench, CONNECTIONS[0], taken))
        with event_streams(bench.cores, bench.folder, chunks=CHUNKS, gap_s=GAP_S) as upstream:
            spent[f"chunk, {STREAMS} streams"] = _by_turns(bench, names, upstream, partial(_chunks, bench, STREAMS, taken))
            counted["chunk"] = _counted(bench, upstream, partial(_chunks, bench, COUNTED_STREAMS, taken))
    _tell_spent(bench, spent)
    _tell_counted(bench, counted, spent)


def _requests(bench: Bench, connections: int, taken: list[int], target: Target, seconds: float) -> tuple[int, float]:
    """(requests, CPU time in microseconds)."""
    one = measured(bench, target, connections, seconds, taken)
    return one.result.requests, one.cpu_us * one.result.requests


def _chunks(bench: Bench, streams: int, taken: list[int], target: Target, seconds: float) -> tuple[int, float]:
    """(chunks, CPU time in microseconds)."""
    result, cpu_us = streamed(bench, target, streams, seconds, taken)
    return result.chunks, cpu_us


def _by_turns(bench: Bench, names: tuple[str, ...], upstream: int, load: Load) -> dict[str, Spent]:
    """{router: what one costs}: medians over the turns."""
    readings: dict[str, list[Spent]] = {name: [] for name in names}
    with bench.all_running(names, upstream) as targets:
        for target in targets:
            load(target, WARM_S)
        for _ in range(bench.repeats):
            for target in targets:
                before = target.kernel()
                number, cpu_us = load(target, bench.seconds)
                kernel_us = cpu_us_between(before, target.kernel())
                readings[target.name].append(Spent(cpu_us / number, kernel_us / number))
    return {
        name: Spent(median([one.all_us for one in of]), median([one.kernel_us for one in of])) for name, of in readings.items()
    }


def _counted(bench: Bench, upstream: int, load: Load) -> dict[str, Run]:
    """{part of the work: what one request runs of it}."""
    path = bench.folder / "counted.json"
    path.unlink(missing_ok=True)
    program = ("tests.bench.router.counted", str(path))
    with bench.ours.router(bench.cores, upstream, program=program) as target:
        assert target.pid is not None
        load(target, COUNTED_S)
        with _counting(target.pid, path):
            number, _ = load(target, COUNTED_S)
        counts: dict[str, list[int]] = json.loads(path.read_text())
    return by_duty(counts, number)


@contextmanager
def _counting(pid: int, path: Path) -> Iterator[None]:
    os.kill(pid, signal.SIGUSR1)
    yield
    os.kill(pid, signal.SIGUSR2)
    deadline = time.monotonic() + WRITTEN_S_MAX
    while not path.exists() or not path.read_text().endswith("}"):
        assert time.monotonic() < deadline, "the router does not write what it counted"
        time.sleep(0.05)


def duty_of(file: str) -> str:
    """The part of the work that a source file is of."""
    return next((duty for duty, places in DUTIES.items() if any(place in file for place in places)), OTHERS)


def by_duty(counts: Mapping[str, list[int]], number: int) -> dict[str, Run]:
    """{part of the work: calls and bytecodes of one of `number`}. Args: counts: {source file: [calls, bytecodes]}."""
    sums = {duty: [0, 0] for duty in (*DUTIES, OTHERS)}
    for file, (calls, bytecodes) in counts.items():
        of = sums[duty_of(file)]
        of[0] += calls
        of[1] += bytecodes
    return {duty: Run(calls / number, bytecodes / number) for duty, (calls, bytecodes) in sums.items()}


def _tell_spent(bench: Bench, spent: Mapping[str, Mapping[str, Spent]]) -> None:
    columns = ("of a", "router", "all, µs", "in the kernel, µs", "in the program, µs")
    rows = [
        (what, name, *(shown(value, 1) for value in (one.all_us, one.kernel_us, one.program_us)))
        for what, of in spent.items()
        for name, one in of.items()
    ]
    notes = [said for what, of in spent.items() if (said := disk(what, of))]
    bench.add(Section("Kernel and program", columns, tuple(rows), tuple(notes)))


def _tell_counted(bench: Bench, counted: Mapping[str, Mapping[str, Run]], spent: Mapping[str, Mapping[str, Spent]]) -> None:
    columns = ("part of the work", "calls/request", "bytecodes/request", "calls/chunk", "bytecodes/chunk")
    request, chunk = counted["request"], counted["chunk"]
    rows = [(duty, *_cells(request[duty]), *_cells(chunk[duty])) for duty in request]
    rows.append(("all", *_cells(_sum(request)), *_cells(_sum(chunk))))
    notes = [said for what, of in spent.items() if (said := room(what, of, _sum(counted[what.partition(",")[0]])))]
    bench.add(Section("The Python of a request and of a chunk", columns, tuple(rows), tuple(notes)))


def _cells(run: Run) -> tuple[str, str]:
    return shown(run.calls, 1), shown(run.bytecodes)


def _sum(of: Mapping[str, Run]) -> Run:
    return Run(sum(run.calls for run in of.values()), sum(run.bytecodes for run in of.values()))


def disk(what: str, of: Mapping[str, Spent]) -> str | None:
    """What ours would be beside vllm-router if its rows did not have to be on the disk; None where one of them did not run."""
    if not of.keys() >= {"vllm-router", IN_MEMORY}:
        return None
    rust_us, ours_us, in_memory_us = of["vllm-router"].all_us, of[OURS].all_us, of[IN_MEMORY].all_us
    return (
        f"{what}: {ours_us / rust_us:.2f} of vllm-router's, and {in_memory_us / rust_us:.2f} if nobody waited for the disk,"
        f" which takes {ours_us - in_memory_us:.1f} µs."
    )


def room(what: str, of: Mapping[str, Spent], run: Run) -> str | None:
    """How many bytecodes there is time for if all is to cost what vllm-router does; None where it or the forwarder did not run.

    The kernel's part of ours stays, and so does what the forwarder has outside the kernel: event loop and interpreter at rest.
    """
    if not of.keys() >= {OURS, *BESIDE}:
        return None
    floor_us = of[OURS].kernel_us + of["forwarder"].program_us
    ours_us, room_us = of[OURS].all_us - floor_us, of["vllm-router"].all_us - floor_us
    bytecode_ns = ours_us / run.bytecodes * 1e3
    return (
        f"{what}: {shown(run.bytecodes)} bytecodes take {ours_us:.1f} µs, {bytecode_ns:.0f} ns each."
        f" To cost what vllm-router does, {room_us:.1f} µs are left for them, that is {shown(room_us / bytecode_ns * 1e3)}."
    )
