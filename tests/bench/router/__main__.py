"""`python -m tests.bench.router`: what our router costs beside others, in one run.

Needs two cores, wrk and nginx; the other routers are installed into .local/bench. About 15 minutes for everything;
`--only non-stream --peers vllm-router` takes one. Exit code 1: a request failed, or has no row: then no figure counts.
"""

import argparse
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime

from tests.bench.router import endurance, ingest, latency, non_stream, profile, streams
from tests.bench.router.bench import Bench
from tests.bench.router.install import HOME, debian_packages
from tests.bench.router.machine import Cores, commit, described, missing_tools, run_folder
from tests.bench.router.ours import bound_to, prepared
from tests.bench.router.peers import PEERS
from tests.bench.router.report import put_between_marks, written
from tests.services import ROOT

PARTS: Mapping[str, Callable[[Bench], None]] = {
    "non-stream": non_stream.run,
    "stream": streams.run,
    "profile": profile.run,
    "latency": latency.run,
    "crowd": streams.crowd,
    "ingest": ingest.run,
    "memory": endurance.memory,
    "workers": endurance.workers,
}
DOCUMENT = ROOT / "docs" / "benchmarks.md"


def _listed(allowed: Sequence[str]) -> Callable[[str], tuple[str, ...]]:
    def parse(text: str) -> tuple[str, ...]:
        names = tuple(name for name in text.split(",") if name)
        if unknown := [name for name in names if name not in allowed]:
            raise argparse.ArgumentTypeError(f"{', '.join(unknown)}: choose from {', '.join(allowed)}")
        return names

    return parse


def parser() -> argparse.ArgumentParser:
    """The options."""
    made = argparse.ArgumentParser(prog="python -m tests.bench.router", description=__doc__)
    made.add_argument("--only", type=_listed([*PARTS]), default=tuple(PARTS), help=f"parts: {','.join(PARTS)}")
    made.add_argument("--peers", type=_listed([*PEERS]), default=tuple(PEERS), help=f"others: {','.join(PEERS)}, or ''")
    made.add_argument("--seconds", type=float, default=5, help="of load in each measurement")
    made.add_argument("--repeats", type=int, default=3, help="of each measurement; the median counts")
    made.add_argument("--write", action="store_true", help=f"put the report into {DOCUMENT.relative_to(ROOT)}")
    return made


def _run(bench: Bench, name: str) -> None:
    """One part; where it cannot be run, the others still are."""
    print(f"part {name}", file=sys.stderr, flush=True)
    try:
        PARTS[name](bench)
    except Exception as error:  # noqa: BLE001 the edge of a part: what it could not do is said at the end
        bench.check(False, f"part {name}: {type(error).__name__}: {error}")


def main(argv: Sequence[str] | None = None) -> int:
    options = parser().parse_args(argv)
    wanted = [PEERS[name] for name in options.peers]
    if missing := missing_tools([program for peer in wanted for program in peer.needs]):
        if os.geteuid() != 0:
            print(f"missing: ask an administrator for `apt-get install {' '.join(missing)}`", file=sys.stderr)
            return 2
        debian_packages(missing)
    for peer in wanted:
        peer.install()
    available = tuple(sorted(os.sched_getaffinity(0)))
    try:
        cores = Cores.split(available)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    with run_folder(HOME) as folder:
        machine = described(folder)
        bound_to(cores.load)
        with prepared(folder) as ours:
            machine += f"; inferhouse {commit()}, {ours.versions()}"
            bench = Bench(ours, cores, available, folder, options.seconds, options.repeats, options.peers)
            for name in options.only:
                _run(bench, name)
    command = " ".join(["python -m tests.bench.router", *(sys.argv[1:] if argv is None else argv)])
    report = written(machine, command, datetime.now(UTC).date().isoformat(), bench.sections, bench.bars, bench.remarks)
    print(report)
    if options.write and not bench.failures:
        put_between_marks(DOCUMENT, report)
    for failure in bench.failures:
        print(f"FAILED: {failure}", file=sys.stderr)
    return 1 if bench.failures else 0


if __name__ == "__main__":
    sys.exit(main())
