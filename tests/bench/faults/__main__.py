"""`python -m tests.bench.faults --seeds 200`: faults under load, and whether the books agree afterwards.

Prints a line a seed to stderr and the sums as JSON to stdout. Exit code 1: a mismatch; `--first SEED --seeds 1` repeats it.
"""

import argparse
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import psycopg

from tests.bench.faults import seeds
from tests.bench.faults.money import Money
from tests.bench.faults.world import database, world
from tests.services import running_services


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.faults", description=__doc__)
    parser.add_argument("--seeds", type=int, default=200, help="how many (default 200, about half an hour)")
    parser.add_argument("--first", type=int, default=1, help="the first seed (default 1)")
    args = parser.parse_args(argv)
    outcomes: list[seeds.Outcome] = []
    with running_services() as services, tempfile.TemporaryDirectory(prefix="inferhouse-faults-") as folder:
        owner, dsn = database(services.server_dsn, "faults")
        with psycopg.connect(owner) as db, world(db, dsn, services.redis_url, Path(folder)) as made:
            money = Money(made)
            for seed in range(args.first, args.first + args.seeds):
                outcome = seeds.run(made, money, seed)
                outcomes.append(outcome)
                print(outcome, file=sys.stderr, flush=True)
    wrong = sum(len(outcome.mismatches) for outcome in outcomes)
    print(
        json.dumps(
            {
                "seeds": len(outcomes),
                "faults": Counter(name for outcome in outcomes for name in outcome.faults),
                "requests": sum(outcome.requests for outcome in outcomes),
                "answered_whole": sum(outcome.answered for outcome in outcomes),
                "rows": sum(outcome.rows for outcome in outcomes),
                "longest_s": round(max(outcome.longest_s for outcome in outcomes), 2),
                "mismatches": wrong,
            }
        )
    )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
