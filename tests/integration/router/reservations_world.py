"""Workers that reserve, settle and write rows on a real Redis and database, without HTTP and engines in between."""

import asyncio
import contextlib
import random
import secrets
import time
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import psycopg
import pytest
from psycopg_pool import AsyncConnectionPool

from router.inference.auth import Caller
from router.inference.reservations.account import Hold
from router.inference.reservations.estimate import Bounds
from router.inference.reservations.refusals import BudgetExceeded
from router.inference.reservations.reservations import Reservations
from router.inference.usage_sink import UsageSink
from tests.factories import Tenant, usage_event
from tests.proxy import TcpProxy
from tests.usage_sinks import running, usage_sink
from warehouse.base.clock import now
from warehouse.base.ids import public_id, uuid7
from warehouse.base.money import picousd


def caller_of(tenant: Tenant, **fields: Any) -> Caller:
    """The caller that a tenant's key makes."""
    values = {"user_id": None, "service_account_id": None, "models": None, "answers_kept_s": 0}
    return Caller(tenant.api_key_id, tenant.org_id, tenant.project_id, **values | fields)


def add_budget(
    db: psycopg.Connection, tenant: Tenant, limit_picousd: int, *, period: str = "month", mode: str = "hard", **of: int
) -> int:
    """A budget of the organization, or of what `project_id`, `api_key_id`, `model_id` … name; its id."""
    values = {
        "public_id": public_id("budget"),
        "org_id": tenant.org_id,
        "period": period,
        "limit_picousd": limit_picousd,
        "mode": mode,
    }
    return _insert(db, "budgets", values | of)


def add_limit(db: psycopg.Connection, tenant: Tenant, *, mode: str = "hard", **rates: int) -> int:
    """A limit of the organization, or of what `project_id`, `api_key_id`, `model_id` name; its id."""
    return _insert(db, "limits", {"public_id": public_id("limit"), "org_id": tenant.org_id, "mode": mode} | rates)


def _insert(db: psycopg.Connection, table: str, values: dict[str, Any]) -> int:
    columns, places = ", ".join(values), ", ".join(["%s"] * len(values))
    row = db.execute(f"insert into control.{table} ({columns}) values ({places}) returning id", list(values.values())).fetchone()
    db.commit()
    assert row is not None
    return int(row[0])


USD = 10**12
KNOWN_S_MAX = 10


@dataclass(slots=True, eq=False)
class Worker:
    """One router's reservations with its journal and the writer behind it."""

    reservations: Reservations
    sink: UsageSink
    pool: AsyncConnectionPool
    model_id: int
    price_id: int

    async def call(
        self,
        tenant: Tenant,
        hold: Bounds,
        *,
        cost: int,
        seconds: float = 0.0,
        caller: Caller | None = None,
        at: datetime | None = None,
    ) -> None:
        """One request from admission to its row. Raises: what `reserve` raises."""
        caller, at = caller or caller_of(tenant), at or now()
        held = await self.reservations.reserve(caller, self.model_id, at, hold)
        await asyncio.sleep(seconds)
        self.record(tenant, held, caller, cost=cost, at=at)

    async def connected(self) -> None:
        """Until Redis is there."""
        await self.reservations.accounts.line.connected.wait()

    def record(self, tenant: Tenant, held: Hold | None, caller: Caller, *, cost: int, at: datetime) -> None:
        """The row of a request that is at its end."""
        row = usage_event(
            tenant, 0, at, request_id=uuid7(), model_id=self.model_id, price_id=self.price_id, cost_picousd=cost,
            charge_class="charged",
            finished_at=at + timedelta(milliseconds=1), router_life=self.reservations.number_of(tenant.org_id),
        )  # fmt: skip
        attempt = self.sink.open(row)
        self.reservations.settle_row(held, caller, row)
        self.sink.close(attempt)
        if held is not None:
            self.reservations.settle(held)


Workers = Callable[..., contextlib.AbstractAsyncContextManager[list[Worker]]]
"""The fixture `workers`."""


@contextlib.asynccontextmanager
async def worker(
    database_url: str, redis_url: str | None, journal: Path, model: tuple[int, int], *, wait_s: float = 10.0
) -> AsyncIterator[Worker]:
    """A worker that ends as a router does. Args: model: its id and that of its price."""
    async with AsyncConnectionPool(database_url, min_size=1, max_size=4, timeout=2, open=False) as pool:
        life = secrets.randbelow(2**31)
        sink = usage_sink(journal, pool.connection, life=life)
        reservations = Reservations(
            redis_url, life=life, connect=pool.connection, recorded=sink.recorded, budget_wait_s_max=wait_s
        )
        async with reservations.running(), running(sink):
            yield Worker(reservations, sink, pool, *model)


async def until_they_know_each_other(workers: Sequence[Worker]) -> None:
    """Each has heard of all: that many share what is left while Redis is away."""
    deadline = time.monotonic() + KNOWN_S_MAX
    while any(one.reservations.accounts.lives != len(workers) for one in workers):
        assert time.monotonic() < deadline
        await asyncio.sleep(0.02)


def spread(chance: random.Random, most: int) -> int:
    """A cost of at most that: often little, sometimes all."""
    return chance.choice([0, 1, most, most - 1, chance.randint(0, most), chance.randint(0, most // 3 + 1)])


def request_id(number: int) -> UUID:
    """One that names itself."""
    return UUID(int=(7 << 76) | (2 << 62) | number)


def spent_by_rows(db: psycopg.Connection, tenant: Tenant) -> int:
    """Pico-dollars in the rows of an organization."""
    row = db.execute("select coalesce(sum(cost_picousd), 0) from raw.usage_events where org_id = %s", [tenant.org_id]).fetchone()
    db.commit()
    assert row is not None
    return int(row[0])


def most(picousd_: int) -> Bounds:
    """A request that can cost that much."""
    return Bounds(10, 10, picousd_)


async def left(one: Worker, tenant: Tenant, limit: int) -> int:
    """Pico-dollars that are left of an organization's only budget, in which nothing is held."""
    unspent, held = await left_and_held(one, tenant, limit)
    assert held == 0
    return unspent


async def left_and_held(one: Worker, tenant: Tenant, limit: int) -> tuple[int, int]:
    """Pico-dollars that are not spent of an organization's only budget, and what is held of them, as a refusal says it."""
    await asyncio.sleep(0.1)  # what other workers have settled is on its way on other connections
    with pytest.raises(BudgetExceeded) as refused:
        await one.call(tenant, most(limit + 1), cost=0)
    return limit - picousd(refused.value.details["spent_usd"]), picousd(refused.value.details["held_usd"])


def through(line: TcpProxy, url: str) -> str:
    """The address of Redis at the other end of the line."""
    parts = urlsplit(url)
    return url.replace(f"{parts.hostname}:{parts.port}", f"127.0.0.1:{line.port}")
