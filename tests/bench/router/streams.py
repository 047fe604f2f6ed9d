"""Part 2: what one chunk of a stream costs. Part 4: as many streams at once as two workers are to hold."""

import msgspec

from tests.bench.router.bench import Bench
from tests.bench.router.figures import median, shown
from tests.bench.router.machine import Cores
from tests.bench.router.meters import MemorySampler, cpu_us_between
from tests.bench.router.peers import IN_MEMORY, OURS, PEERS
from tests.bench.router.report import Bar, Section
from tests.bench.router.sse_load import StreamResult
from tests.bench.router.targets import Target
from tests.bench.router.turns import Turns
from tests.bench.router.upstreams import event_streams

STREAMS, CHUNKS, GAP_S = 64, 100, 0.005
VLLM_RATIO_MAX = 1.0
CROWD, CROWD_CHUNKS, CROWD_GAP_S, CROWD_S, CROWD_WORKERS = 5_000, 8, 1.0, 1.0, 2
CROWD_MIB_MAX = 600.0
COLUMNS = (
    "router", "CPU µs/chunk", "of vllm-router", "of litellm", "chunks/s", "first token p50 ms", "first token p99 ms",
    "whole p50 ms", "whole p99 ms",
)  # fmt: skip
BODY = (
    b'{"model":"m","stream":true,"stream_options":{"include_usage":true},"max_tokens":200,'
    b'"messages":[{"role":"user","content":"Tell me something nice"}]}'
)


def streamed(bench: Bench, target: Target, streams: int, seconds: float, taken: list[int]) -> tuple[StreamResult, float]:
    """Streams on one router: (what the clients saw, CPU time of the router in microseconds)."""
    request = target.raw_request(bench.folder, BODY, "stream")
    before = target.cpu()
    result = msgspec.json.decode(bench.load("sse_load", target.port, streams, seconds, request), type=StreamResult)
    cpu_us = cpu_us_between(before, target.cpu())
    if target.name in (OURS, IN_MEMORY):
        taken.append(result.finished)
    bad = result.failed + result.cut_off
    bench.check_load(target, f"{streams} streams", bad, result.finished + bad, f": {result.failures[:1]}")
    return result, cpu_us


def run(bench: Bench) -> None:
    """Every router by turns: 64 streams at once, 100 chunks each."""
    able = [name for name in bench.peers if not PEERS[name].no_streams]
    names, taken = ("direct", OURS, *able), list[int]()
    results: dict[str, list[StreamResult]] = {name: [] for name in names}
    cpu_us: dict[str, list[float]] = {}
    with (
        event_streams(bench.cores, bench.folder, chunks=CHUNKS, gap_s=GAP_S) as upstream,
        bench.all_running(names, upstream) as targets,
        bench.counted("stream", taken),
    ):
        for target in targets:
            streamed(bench, target, STREAMS, 0.1, taken)
        for _ in range(bench.repeats):
            for target in targets:
                result, used_us = streamed(bench, target, STREAMS, bench.seconds, taken)
                results[target.name].append(result)
                if target.pid:
                    cpu_us.setdefault(target.name, []).append(used_us / max(result.chunks, 1))
    left_out = tuple(f"{name} {why}." for name in bench.peers if (why := PEERS[name].no_streams))
    costs = Turns(cpu_us)
    rows = []
    for target in targets:
        of = results[target.name]
        rows.append(
            (
                target.title,
                shown(costs.median_us(target.name), 1),
                shown(costs.ratio(target.name, "vllm-router"), 2),
                shown(costs.ratio(target.name, "litellm"), 3),
                shown(median([one.chunks / one.seconds for one in of])),
                *(shown(median([getattr(one, name) for one in of]), 1) for name in TIMES),
            )
        )
    bench.add(
        Section(f"{STREAMS} streams at once, {CHUNKS} chunks each, {GAP_S * 1e3:.0f} ms apart", COLUMNS, tuple(rows), left_out)
    )
    ratio = costs.ratio(OURS, "vllm-router")
    if ratio is not None:
        wanted = f"at most {VLLM_RATIO_MAX:.1f}"
        bench.bars.append(Bar("CPU per chunk, of vllm-router's", f"{ratio:.2f}", wanted, ratio <= VLLM_RATIO_MAX))


TIMES = ("first_p50_ms", "first_p99_ms", "whole_p50_ms", "whole_p99_ms")


def crowd(bench: Bench) -> None:
    """5,000 streams at once on two workers, each about eight seconds long with a chunk a second."""
    taken: list[int] = []
    cores = Cores.split(bench.available, CROWD_WORKERS)
    with (
        event_streams(bench.cores, bench.folder, chunks=CROWD_CHUNKS, gap_s=CROWD_GAP_S) as upstream,
        bench.ours.router(cores, upstream, workers=CROWD_WORKERS) as target,
        bench.counted("crowd", taken),
    ):
        assert target.pid is not None
        with MemorySampler(target.pid, interval_s=1, proportional=True) as memory:
            result, cpu_us = streamed(bench, target, CROWD, CROWD_S, taken)
    most_mib = max(memory.mib)
    bad = result.failed + result.cut_off
    row = (
        f"{CROWD_WORKERS} workers", str(result.at_once_max), str(result.finished), str(bad),
        shown(cpu_us / max(result.chunks, 1), 1), shown(result.first_p50_ms, 1), shown(result.first_p99_ms, 1),
        shown(most_mib),
    )  # fmt: skip
    columns = ("router", "at once", "streams", "failed", "CPU µs/chunk", "first token p50 ms", "first token p99 ms", "MiB")
    note = "Memory is the largest sum over the router's processes, each page that they share counted once."
    bench.add(Section(f"{CROWD:,} streams at once", columns, (row,), (note,)))
    bench.check(result.at_once_max >= CROWD, f"only {result.at_once_max} streams were open at once")
    reached = most_mib <= CROWD_MIB_MAX and not bad
    bench.bars.append(
        Bar(f"memory with {CROWD:,} streams, MiB", f"{most_mib:.0f}", f"at most {CROWD_MIB_MAX:.0f}, none fails", reached)
    )
