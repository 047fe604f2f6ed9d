"""`python -m tests.bench.vllm_parity`: 2,000 mixed requests against a real vLLM, one in ten left in the middle: rows, counters.

Starts an instance of its own and removes it. Exit code 1: rows and counters do not agree.
"""

import argparse
import math
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from tests.bench.router.machine import commit, described
from tests.bench.router.report import put_between_marks, written
from tests.bench.vllm_parity.run import settled
from tests.local_instance import local_instance
from tests.services import ROOT

DOCUMENT = ROOT / "docs" / "benchmarks.md"
MARK = "parity"


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.vllm_parity", description=__doc__)
    parser.add_argument("--requests", type=int, default=2000, help="how many (default 2000, some minutes)")
    parser.add_argument("--seconds", type=float, default=math.inf, help="ask no more after that; the report says how many")
    parser.add_argument("--write", action="store_true", help=f"put the report into {DOCUMENT.relative_to(ROOT)}")
    options = parser.parse_args(argv)
    instance = local_instance("parity")
    instance.remove()
    try:
        done = instance.command("up")
        if done.returncode:
            print(done.stderr, file=sys.stderr)
            return 1
        machine = f"{described(Path(instance.layout.state))}; inferhouse {commit()}, model {instance.outputs['INFERHOUSE_MODEL']}"
        began_s = time.monotonic()
        account = settled(instance.outputs, options.requests, seconds_max=options.seconds)
        took_s = time.monotonic() - began_s
    finally:
        instance.remove()
    command = " ".join(["python -m tests.bench.vllm_parity", *(sys.argv[1:] if argv is None else argv)])
    remark = f"{len(account.seen)} requests in {took_s:.0f} s"
    report = written(machine, command, datetime.now(UTC).date().isoformat(), account.sections(), account.bars(), [remark])
    print(report)
    mismatches = account.mismatches()
    if options.write and not mismatches:
        put_between_marks(DOCUMENT, report, MARK)
    for mismatch in mismatches:
        print(f"FAILED: {mismatch}", file=sys.stderr)
    return 1 if mismatches else 0


if __name__ == "__main__":
    sys.exit(main())
