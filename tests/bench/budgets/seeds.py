"""One seed: a budget, clients who spend it, and whether it was kept and used."""

import asyncio
import json
import random
import time
from dataclasses import dataclass
from fractions import Fraction

from tests.bench.budgets.clients import Connection, dearest, spend
from tests.bench.budgets.world import World
from warehouse.base.money import picousd

CLIENTS = 500
HOLDS_MIN, HOLDS_MAX = 100, 250  # of the dearest request that fit into a budget
USED_SHARE_MIN = Fraction(98, 100)
AGREED_S_MAX = 20.0
KNOWN_S = 1.0  # after which every router knows of a change


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of one seed; amounts in pico-dollars."""

    seed: int
    period: str
    limit: int
    spent: int
    spent_at_first_refusal: int
    answered: int
    seconds: float
    mismatches: list[str]


def run(world: World, seed: int, clients: int = CLIENTS) -> Outcome:
    """Spend the budget of a seed."""
    chance = random.Random(seed)
    period = chance.choice(["day", "week", "month", "lifetime"])
    budget = world.new_budget(period)
    time.sleep(KNOWN_S)
    before = world.spent(budget)
    most = asyncio.run(_agreed(world, world.ports[0], before))
    room = most * chance.randint(HOLDS_MIN, HOLDS_MAX) + chance.randint(0, most)
    world.allow(budget, before + room)
    time.sleep(KNOWN_S)
    began = time.monotonic()
    seen = asyncio.run(spend(world, seed, clients))
    seconds = time.monotonic() - began
    found = list(seen.unexpected)
    settled = [picousd(details["spent_usd"]) for details in seen.refusals]
    for details, spent in zip(seen.refusals, settled, strict=True):
        if spent + picousd(details["estimate_usd"]) <= before + room:
            found.append(f"refused although there was room: {details}")
    first = min(settled, default=before) - before
    if first < room * USED_SHARE_MIN:
        found.append(f"{first} of {room} were used at the first refusal")
    world.allow(budget, 0)  # so that every question is refused, and says what the account has
    for port in world.ports:
        asyncio.run(_agreed(world, port, None, budget=budget))
    spent = world.spent(budget) - before
    if spent > room:
        found.append(f"{spent} are spent of {room}")
    return Outcome(seed, period, room, spent, first, seen.answered, round(seconds, 2), found)


async def _agreed(world: World, port: int, spent: int | None, *, budget: int | None = None) -> int:
    """Ask a router until it believes what the rows say and holds nothing; what the dearest request could cost.

    Raises: AssertionError: it never does.
    """
    deadline, connection = time.monotonic() + AGREED_S_MAX, Connection(port, world.api_key)
    try:
        while True:
            rows = world.spent(budget) if spent is None and budget is not None else spent
            status, answer = await connection.ask(dearest())
            details = json.loads(answer).get("error", {}).get("details", {})
            if status == 429 and picousd(details["spent_usd"]) == rows and picousd(details["held_usd"]) == 0:
                return picousd(details["estimate_usd"])
            assert time.monotonic() < deadline, f"the rows say {rows}, and the router {status} {answer.decode()}"
            await asyncio.sleep(0.1)
    finally:
        connection.close()
