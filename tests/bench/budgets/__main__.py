"""`python -m tests.bench.budgets --seeds 200`: 500 clients of three routers spend a budget, again and again.

Prints a line a seed to stderr and the sums as JSON to stdout. Exit code 1: a mismatch; `--first SEED --seeds 1` repeats it.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import psycopg

from tests.bench.budgets import seeds
from tests.bench.budgets.world import world
from tests.bench.faults.world import database
from tests.services import running_services


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.bench.budgets", description=__doc__)
    parser.add_argument("--seeds", type=int, default=200, help="how many (default 200, about half an hour)")
    parser.add_argument("--first", type=int, default=1, help="the first seed (default 1)")
    parser.add_argument("--clients", type=int, default=seeds.CLIENTS, help=f"at once (default {seeds.CLIENTS})")
    args = parser.parse_args(argv)
    outcomes: list[seeds.Outcome] = []
    with running_services() as services, tempfile.TemporaryDirectory(prefix="inferhouse-budgets-") as folder:
        owner, dsn = database(services.server_dsn, "budgets")
        with psycopg.connect(owner) as db, world(db, dsn, services.redis_url, Path(folder)) as made:
            for seed in range(args.first, args.first + args.seeds):
                outcome = seeds.run(made, seed, args.clients)
                outcomes.append(outcome)
                print(outcome, file=sys.stderr, flush=True)
    used = min(Fraction(outcome.spent_at_first_refusal, outcome.limit) for outcome in outcomes)
    wrong = sum(len(outcome.mismatches) for outcome in outcomes)
    print(
        json.dumps(
            {
                "seeds": len(outcomes),
                "requests_answered": sum(outcome.answered for outcome in outcomes),
                "least_used_at_first_refusal_percent": round(float(used * 100), 3),
                "most_above_limit_picousd": max(outcome.spent - outcome.limit for outcome in outcomes),
                "mismatches": wrong,
            }
        )
    )
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
