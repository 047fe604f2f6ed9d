"""`python -m tests.bench.anomalies`: false alarms on normal use, and how many runaways are found within five minutes.

Five weeks of generated keys: sizes from a request a minute to some a second, days and weekends, noise of 30 % within a
window, one quarter of an hour in a hundred at twice the use. The last week is watched every five minutes. Runaways: the same
week again, each key at some moment at ten times its mean.
"""

import argparse
import math
import random
import sys
from collections import defaultdict
from datetime import UTC, datetime, timedelta

import polars as pl

from orchestration.jobs.anomalies import FLOOR_REQUESTS, HISTORY, HISTORY_SCHEMA, QUARTER_HOUR, RECENT_SCHEMA, WINDOW, runaways

START = datetime(2026, 3, 2, tzinfo=UTC)
WATCHED_FROM = START + HISTORY
PICOUSD = 3 * 10**9  # a request
RUNAWAY_TIMES = 10
QUIET_WINDOWS = 6  # half an hour: an alarm after it is another episode
Windows = dict[datetime, dict[int, int]]


def main() -> int:
    """Watch a week; 1 if there was more than one false alarm a key and month, or less than 95 % of runaways were found."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--keys", type=int, default=40)
    options.add_argument("--days", type=int, default=7)
    said = options.parse_args()
    windows = _windows(said.keys, random.Random(1))
    history = _history(windows)
    watched = [at for at in sorted(windows) if WATCHED_FROM <= at < WATCHED_FROM + timedelta(days=said.days)]
    last: dict[int, int] = defaultdict(lambda: -QUIET_WINDOWS - 1)
    alarms = 0
    for number, at in enumerate(watched):
        for key in _found(windows[at], history, at):
            alarms += number - last[key] > QUIET_WINDOWS
            last[key] = number
    a_month = alarms / said.keys / said.days * 30
    print(f"{said.keys} keys, {said.days} days: {alarms} false alarms, {a_month:.2f} a key and month")
    chance, found, tried = random.Random(2), 0, 0
    for key in range(said.keys):
        at = chance.choice(watched)
        runaway = RUNAWAY_TIMES * sum(windows[each][key] for each in watched) // len(watched)
        if runaway <= FLOOR_REQUESTS:
            continue
        tried += 1
        found += key in _found(windows[at] | {key: runaway}, history, at)
    print(f"runaways at {RUNAWAY_TIMES} times their mean use: {found} of {tried} found in their first five minutes")
    return 0 if a_month <= 1 and found >= 0.95 * tried else 1


def _windows(keys: int, chance: random.Random) -> Windows:
    """{start of five minutes: {key: requests}}."""
    sizes = [5 * 10 ** chance.uniform(0, 2.5) for _ in range(keys)]
    windows: Windows = {}
    at = START
    while at < WATCHED_FROM + timedelta(days=7):
        hour = at.hour + at.minute / 60
        season = (0.15 + max(0.0, math.sin((hour - 6) / 24 * 2 * math.pi))) * (0.3 if at.weekday() > 4 else 1)
        burst = [2 if random.Random(f"{key} {at - (at - START) % QUARTER_HOUR}").random() < 0.01 else 1 for key in range(keys)]
        windows[at] = {
            key: _poisson(size * season * burst[key] * chance.lognormvariate(0, 0.3), chance) for key, size in enumerate(sizes)
        }
        at += WINDOW
    return windows


def _poisson(mean: float, chance: random.Random) -> int:
    """By its normal approximation, which is no worse than the rest of the model."""
    return max(0, round(chance.gauss(mean, math.sqrt(mean))))


def _history(windows: Windows) -> pl.DataFrame:
    sums: dict[tuple[int, datetime], int] = defaultdict(int)
    for at, of in windows.items():
        for key, requests in of.items():
            sums[key, at - (at - START) % QUARTER_HOUR] += requests
    rows = [(1, key, at, requests, requests * PICOUSD) for (key, at), requests in sums.items() if requests]
    return pl.DataFrame(rows, schema=HISTORY_SCHEMA, orient="row")


def _found(window: dict[int, int], history: pl.DataFrame, at: datetime) -> list[int]:
    """As the sensor does: only keys above the floor, with the quarters of hours that were over."""
    rows = [(1, 1, key, at, at, n, n * PICOUSD) for key, n in window.items() if n > FLOOR_REQUESTS]
    recent = pl.DataFrame(rows, schema=RECENT_SCHEMA, orient="row")
    known = history.filter(pl.col("quarter_hour_at") + QUARTER_HOUR <= at)
    return runaways(recent, known.filter(pl.col("api_key_id").is_in(recent["api_key_id"].implode())), at + WINDOW)[
        "api_key_id"
    ].to_list()


if __name__ == "__main__":
    sys.exit(main())
