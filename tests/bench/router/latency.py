"""Part 3: the time that a router adds, at rates it keeps up with."""

import msgspec

from tests.bench.router.bench import Bench
from tests.bench.router.figures import median, shown
from tests.bench.router.meters import cpu_us_between
from tests.bench.router.open_loop import LatencyResult
from tests.bench.router.peers import OURS
from tests.bench.router.report import Bar, Section
from tests.bench.router.targets import Target
from tests.bench.router.upstreams import nginx
from tests.bench.router.wrk import BODY

RATES = (1_000, 200)
BESIDE = ("vllm-router", "smg")
JUDGED_AT, ADDED_P50_MS_MAX, ADDED_P99_MS_MAX = 1_000, 0.6, 1.5
DISK = "record synced, no router"
COLUMNS = ("router", "p50 ms", "p99 ms", "p99.9 ms", "added p50 ms", "added p99 ms", "CPU µs/request")


def run(bench: Bench) -> None:
    """Direct and through each router, by turns."""
    names, taken = ("direct", OURS, *(name for name in bench.peers if name in BESIDE)), list[int]()
    with (
        nginx(bench.cores, bench.folder) as upstream,
        bench.all_running(names, upstream) as targets,
        bench.counted("latency", taken),
    ):
        for rate in RATES:
            _at(bench, targets, rate, taken)


def _at(bench: Bench, targets: list[Target], rate: int, taken: list[int]) -> None:
    results: dict[str, list[LatencyResult]] = {target.name: [] for target in targets}
    cpu_us: dict[str, list[float]] = {target.name: [] for target in targets if target.pid}
    disk: list[LatencyResult] = []
    for _ in range(bench.repeats):
        disk.append(_taken(bench.load("disk_load", bench.folder, rate, bench.seconds, as_router=True)))
        for target in targets:
            before = target.cpu()
            request = target.raw_request(bench.folder, BODY.encode())
            result = _taken(bench.load("open_loop", target.port, rate, bench.seconds, request))
            bench.check_load(target, f"{rate} requests/s", result.failed, result.answered + result.failed)
            results[target.name].append(result)
            if target.pid:
                cpu_us[target.name].append(cpu_us_between(before, target.cpu()) / max(result.answered, 1))
            if target.name == OURS:
                taken.append(result.answered)
    rows: list[tuple[str, ...]] = [(DISK, *_quantiles(disk), *(shown(None) for _ in range(3)))]
    for target in targets:
        of = results[target.name]
        added = [] if target.pid is None else [_added(of, results["direct"], name) for name in ("p50_ms", "p99_ms")]
        rows.append(
            (
                target.title,
                *_quantiles(of),
                *(shown(value, 2) for value in added or (None, None)),
                shown(median(cpu_us.get(target.name, ())), 1),
            )
        )
        if target.name == OURS and rate == JUDGED_AT:
            for name, value, most in zip(("p50", "p99"), added, (ADDED_P50_MS_MAX, ADDED_P99_MS_MAX), strict=True):
                bench.bars.append(Bar(f"added {name} at {rate:,}/s, ms", f"{value:.2f}", f"under {most}", value < most))
    bench.add(Section(f"Latency at {rate:,} requests/s, sent at even intervals", COLUMNS, tuple(rows)))


def _taken(printed: bytes) -> LatencyResult:
    return msgspec.json.decode(printed, type=LatencyResult)


def _quantiles(of: list[LatencyResult]) -> tuple[str, ...]:
    """Cells: medians over the turns."""
    return tuple(shown(median([getattr(one, name) for one in of]), 2) for name in ("p50_ms", "p99_ms", "p999_ms"))


def _added(through: list[LatencyResult], direct: list[LatencyResult], name: str) -> float:
    """Median over the turns of the difference within a turn."""
    return median([getattr(one, name) - getattr(other, name) for one, other in zip(through, direct, strict=True)])
