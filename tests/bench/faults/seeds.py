"""One seed: load, faults, and the books afterwards."""

import asyncio
import random
from dataclasses import dataclass

from tests.bench.faults import books
from tests.bench.faults.load import Clients
from tests.bench.faults.money import Money
from tests.bench.faults.schedule import befall, long_outage
from tests.bench.faults.world import BUDGET_S_MAX, CALL_S_MAX, World

SLACK_S = 2.0  # of two cores that everything shares
SLOW_READER_S = 4.0  # the longest that a slow reader of ours takes for what it has already been sent
LONG_EVERY = 50  # seeds; the others last some seconds


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one seed."""

    seed: int
    faults: list[str]
    requests: int
    answered: int
    rows: int
    longest_s: float
    mismatches: list[str]


def run(world: World, money: Money, seed: int) -> Outcome:
    """Load and faults of the seed, everything mended, then the comparison."""
    chance = random.Random(seed)
    for engine in world.engines:
        engine.entries()  # what was asked to see the money of the seed before
    money.allow(chance)
    row = world.db.execute("select now()").fetchone()
    world.db.commit()
    assert row is not None

    async def under_load() -> tuple[Clients, list[str]]:
        clients = Clients(world, seed)
        asking = asyncio.create_task(clients.run())
        try:
            names = await asyncio.to_thread(long_outage if seed % LONG_EVERY == 0 else befall, world, chance)
        finally:
            clients.stop()
            await asking
        return clients, names

    clients, names = asyncio.run(under_load())
    seen = clients.seen
    rows, found = books.compare(world, row[0], seen.answered)
    found += money.disagreements()
    if seen.longest_s > CALL_S_MAX + BUDGET_S_MAX + SLOW_READER_S + SLACK_S:
        found.append(f"a request took {seen.longest_s:.1f} s")
    return Outcome(seed, names, seen.requests, len(seen.answered), rows, seen.longest_s, found + seen.unexpected)
