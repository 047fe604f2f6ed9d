"""Part 6: memory over a minute of load. Part 7: what one and two workers take."""

from tests.bench.router.bench import Bench
from tests.bench.router.figures import median, shown, slope
from tests.bench.router.machine import Cores
from tests.bench.router.meters import MemorySampler
from tests.bench.router.non_stream import WARM_S, measured
from tests.bench.router.peers import OURS
from tests.bench.router.report import Section
from tests.bench.router.upstreams import nginx

MEMORY_S, MEMORY_EACH_S, MEMORY_CONNECTIONS = 60, 5, 16
WORKERS, WORKERS_CONNECTIONS = (1, 2), 64


def memory(bench: Bench) -> None:
    """Resident memory each 5 seconds; the slope leaves the first two readings out, when caches fill."""
    taken: list[int] = []
    seconds = MEMORY_S if bench.seconds >= MEMORY_EACH_S else 4 * bench.seconds
    each_s = seconds * MEMORY_EACH_S / MEMORY_S
    with (
        nginx(bench.cores, bench.folder) as upstream,
        bench.running(OURS, upstream) as target,
        bench.counted("memory", taken, 2 * MEMORY_CONNECTIONS),
    ):
        measured(bench, target, MEMORY_CONNECTIONS, WARM_S, taken)
        assert target.pid is not None
        with MemorySampler(target.pid, interval_s=each_s) as sampled:
            one = measured(bench, target, MEMORY_CONNECTIONS, seconds, taken)
    steady = slope(sampled.at_s[2:], sampled.mib[2:])
    per_million = steady / max(one.result.requests_per_s, 1) * 1e6
    row = (
        f"{seconds:.0f} s, {one.result.requests:,} requests", *(shown(mib, 1) for mib in (sampled.mib[0], sampled.mib[-1])),
        shown(max(sampled.mib), 1), shown(steady * 60, 2), shown(per_million, 2),
    )  # fmt: skip
    columns = ("load", "first MiB", "last MiB", "most MiB", "MiB/minute", "MiB/million requests")
    readings = ", ".join(shown(mib, 1) for mib in sampled.mib)
    bench.add(Section("Memory over time", columns, (row,), (f"RSS each {each_s:.0f} s: {readings} MiB.",)))


def workers(bench: Bench) -> None:
    """One worker on a core, two on two."""
    rows = []
    for count in WORKERS:
        taken: list[int] = []
        cores = Cores.split(bench.available, count)
        with (
            nginx(bench.cores, bench.folder) as upstream,
            bench.ours.router(cores, upstream, workers=count) as target,
            bench.counted(f"{count} workers", taken, WORKERS_CONNECTIONS * (bench.repeats + 1)),
        ):
            measured(bench, target, WORKERS_CONNECTIONS, WARM_S, taken)
            of = [measured(bench, target, WORKERS_CONNECTIONS, bench.seconds, taken) for _ in range(bench.repeats)]
        shared = "yes" if bench.cores.load in cores.router else "no"
        rows.append(
            (
                str(count), shared, shown(median([one.result.requests_per_s for one in of])),
                shown(median([one.cpu_us for one in of]), 1), shown(median([one.result.p50_ms for one in of]), 2),
                shown(median([one.result.p99_ms for one in of]), 2),
            )
        )  # fmt: skip
    columns = ("workers", "core shared with the load", "requests/s", "CPU µs/request", "p50 ms", "p99 ms")
    bench.add(Section(f"Workers, {WORKERS_CONNECTIONS} connections", columns, tuple(rows)))
