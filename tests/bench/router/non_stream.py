"""Part 1: what one request that is answered as a whole costs."""

from dataclasses import dataclass

from tests.bench.router.bench import Bench
from tests.bench.router.figures import median, shown
from tests.bench.router.meters import cpu_us_between
from tests.bench.router.peers import IN_MEMORY, OURS
from tests.bench.router.report import Bar, Section
from tests.bench.router.targets import Target
from tests.bench.router.turns import Turns
from tests.bench.router.upstreams import nginx
from tests.bench.router.wrk import WrkResult, run_wrk

CONNECTIONS = (16, 32)
WARM_S = 1
VLLM_RATIO_MAX, LITELLM_RATIO_MIN = 1.0, 150.0
LITELLM = {"litellm": "LiteLLM's that only forwards", "litellm-metering": "LiteLLM's with limits, a budget and rows"}
COLUMNS = ("router", "CPU µs/request", "of vllm-router", "of litellm", "requests/s", "p50 ms", "p99 ms", "RSS MiB")


@dataclass(frozen=True, slots=True)
class Measured:
    """One load on one router. CPU time in microseconds a request."""

    result: WrkResult
    cpu_us: float


def run(bench: Bench) -> None:
    """Every router, at each number of connections."""
    names, taken = ("direct", OURS, *bench.peers), list[int]()
    cut_off_max = sum(CONNECTIONS) * (bench.repeats + 1)
    with (
        nginx(bench.cores, bench.folder) as upstream,
        bench.all_running(names, upstream) as targets,
        bench.counted("non-stream", taken, cut_off_max),
    ):
        for connections in CONNECTIONS:
            _compare(bench, targets, connections, taken)


def _compare(bench: Bench, targets: list[Target], connections: int, taken: list[int]) -> None:
    """One table: all routers by turns."""
    for target in targets:
        measured(bench, target, connections, WARM_S, taken)
    turns = [[measured(bench, target, connections, bench.seconds, taken) for target in targets] for _ in range(bench.repeats)]
    by_name = {target.name: [turn[at] for turn in turns] for at, target in enumerate(targets)}
    costs = Turns({target.name: [one.cpu_us for one in by_name[target.name]] for target in targets if target.pid})
    rows = []
    for target in targets:
        results = [one.result for one in by_name[target.name]]
        rows.append(
            (
                target.title,
                shown(costs.median_us(target.name), 1),
                shown(costs.ratio(target.name, "vllm-router"), 2),
                shown(costs.ratio(target.name, "litellm"), 4),
                shown(median([result.requests_per_s for result in results])),
                shown(median([result.p50_ms for result in results]), 2),
                shown(median([result.p99_ms for result in results]), 2),
                shown(target.memory_mib()),
            )
        )
    bench.add(Section(f"A request answered as a whole, {connections} connections", COLUMNS, tuple(rows)))
    _judge(bench, costs, connections)


def measured(bench: Bench, target: Target, connections: int, seconds: float, taken: list[int]) -> Measured:
    """Load on one router; what ours answered is added to `taken`."""
    before = target.cpu()
    result = run_wrk(bench.cores, target.lua(bench.folder), target.port, connections=connections, seconds=seconds)
    cpu_us = cpu_us_between(before, target.cpu()) / max(result.requests, 1)
    if target.name in (OURS, IN_MEMORY):
        taken.append(result.requests)
    bench.check_load(target, f"{connections} connections", result.failures, result.requests)
    return Measured(result, cpu_us)


def _judge(bench: Bench, costs: Turns, connections: int) -> None:
    ratio = costs.ratio(OURS, "vllm-router")
    if ratio is not None:
        name = f"CPU per request, {connections} connections, of vllm-router's"
        bench.bars.append(Bar(name, f"{ratio:.2f}", f"at most {VLLM_RATIO_MAX:.1f}", ratio <= VLLM_RATIO_MAX))
    for peer, what in LITELLM.items():
        times = costs.ratio(peer, OURS)
        if times is not None:
            name = f"CPU per request, {connections} connections, {what} over ours"
            bench.bars.append(Bar(name, f"{times:.0f}", f"at least {LITELLM_RATIO_MIN:.0f}", times >= LITELLM_RATIO_MIN))
