"""A hard budget over everything: what it lets through, and what Redis believes was spent."""

import random
import time
from decimal import Decimal

import httpx

from tests.bench.faults.world import World
from warehouse.base.ids import public_id

AGREED_S_MAX = 20.0  # what a dead router held is free when it is back, and an account is opened after that
AMPLE_PICOUSD = 10**24
BODY = {"model": "simulated", "messages": [{"role": "user", "content": "Is there money?"}], "max_tokens": 1}


class Money:
    """The budget of the organization that everybody works for."""

    def __init__(self, world: World) -> None:
        self._world, db = world, world.db
        db.execute(
            "insert into control.budgets (public_id, org_id, period, limit_picousd, mode)"
            " select %s, id, 'month', %s, 'hard' from control.organizations",
            [public_id("budget"), AMPLE_PICOUSD],
        )
        db.commit()
        self.limit = AMPLE_PICOUSD

    def allow(self, chance: random.Random) -> None:
        """Room for a part of what a seed asks for, every second time; and for all of it otherwise."""
        row = self._world.db.execute("select output_picousd from control.prices where output_picousd > 0 limit 1").fetchone()
        assert row is not None
        some = self.spent() + int(row[0]) * chance.randint(500, 3000)
        self.set_limit(chance.choice([some, AMPLE_PICOUSD]))

    def spent(self) -> int:
        """The sum of the raw rows, pico-dollars."""
        row = self._world.db.execute("select coalesce(sum(cost_picousd), 0)::numeric from raw.usage_events").fetchone()
        self._world.db.commit()
        assert row is not None
        return int(row[0])

    def disagreements(self) -> list[str]:
        """What was spent above the limit, and where Redis believes another sum than the rows say; nothing is right."""
        spent = self.spent()
        found = [f"{spent} pico-dollars are spent of {self.limit}"] if spent > self.limit else []
        self.set_limit(0)
        return found + [said for router in self._world.routers for said in self._asked(router.url)]

    def set_limit(self, limit: int) -> None:
        """In force within a second."""
        self._world.db.execute("update control.budgets set limit_picousd = %s", [limit])
        self._world.db.commit()
        self.limit = limit

    def _asked(self, url: str) -> list[str]:
        """A refusal states what the account has; asked until nobody holds anything any more.

        The first may be admitted, before the router knows of the new limit; so the rows are summed up each time.
        """
        deadline = time.monotonic() + AGREED_S_MAX
        while True:
            answer = httpx.post(
                f"{url}/v1/chat/completions",
                json=BODY, headers={"authorization": f"Bearer {self._world.api_key}"}, timeout=30,
            )  # fmt: skip
            details = answer.json().get("error", {}).get("details") or {}
            believed = {name: Decimal(details.get(name) or "nan") for name in ("limit_usd", "spent_usd", "held_usd")}
            spent_usd = Decimal(self.spent()).scaleb(-12)
            if believed == {"limit_usd": 0, "spent_usd": spent_usd, "held_usd": 0}:
                return []
            if time.monotonic() > deadline:
                return [f"{spent_usd} USD are spent, and {url} says {answer.status_code} {answer.text}"]
            time.sleep(0.1)
