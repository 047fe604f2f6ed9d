"""What a lifetime budget counts is the same to the pico-dollar while days are in the database, only in the archive, and back."""

import asyncio
import random
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis

from orchestration.archive import days
from orchestration.archive.files import ArchiveFiles
from tests.dbt_runs import Dbt
from tests.factories import START, Tenant, copy_events
from tests.integration.archive.conftest import DAY, History, later
from tests.integration.router.reservations_world import add_budget, left, worker
from tests.routing_world import in_loop
from warehouse.access import spend_rules
from warehouse.base.ids import public_id

LIVES = (1, 2)
WITHIN = START + timedelta(hours=10, minutes=7, seconds=13, microseconds=1)
"""Within a quarter of an hour of the day that is dropped."""
MADE = {
    "long before": datetime(2020, 1, 1, tzinfo=UTC),
    "at its midnight": START,
    "within it": WITHIN,
    "at its last instant": START + timedelta(days=1) - timedelta(microseconds=1),
    "after it": START + timedelta(days=1),
}


@dataclass(frozen=True, slots=True)
class Counts:
    """What is counted for each budget, wherever it is asked."""

    routers: Mapping[int, int]
    without_lives: Mapping[int, int]
    of_lives: Mapping[tuple[int, int], int]
    """By budget and life."""
    alerts: Mapping[int, Decimal]
    mart: Mapping[int, Decimal]


@dataclass(frozen=True, slots=True)
class World:
    """Lifetime budgets of every scope and age, and what they count."""

    db: psycopg.Connection
    dbt: Dbt
    router_url: str

    def counts(self) -> Counts:
        """All of it, the mart built anew."""
        made = self.db.execute("select id, created_at from control.budgets order by id").fetchall()
        self.db.execute("delete from marts.budget_status")
        self.db.commit()
        self.dbt.run("run", "--select", "budget_status")
        mart = dict(self.db.execute("select budget_id, spent_picousd from marts.budget_status").fetchall())
        routers, without, of_lives = asyncio.run(self._of_routers(made))
        return Counts(routers, without, of_lives, self._alerts(), mart)

    def _alerts(self) -> dict[int, Decimal]:
        """As they would be told now, if nothing had been told before."""
        self.db.execute("delete from control.budget_alerts")
        self.db.execute("select control.note_budget_alerts_as_of(now())")
        told = dict(self.db.execute("select budget_id, spent_picousd from control.budget_alerts").fetchall())
        self.db.commit()
        return told

    async def _of_routers(
        self, made: list[tuple[int, datetime]]
    ) -> tuple[dict[int, int], dict[int, int], dict[tuple[int, int], int]]:
        windows = [(budget, created_at, datetime(9999, 1, 1, tzinfo=UTC)) for budget, created_at in made]

        async def spent(lives: Collection[int]) -> dict[int, int]:
            return {budget: sum_ for (budget, _), sum_ in zip(made, await spend_rules.spent(conn, windows, lives), strict=True)}

        async with await psycopg.AsyncConnection.connect(self.router_url) as conn:
            of_lives = await spend_rules.spent_of(conn, windows, LIVES)
            by_budget = {(windows[number][0], life): sum_ for (number, life), sum_ in of_lives.items()}
            return await spent([]), await spent(LIVES), by_budget


def _somebody(db: psycopg.Connection, tenant: Tenant) -> tuple[int, int]:
    """(user id, service account id)"""
    row = db.execute(
        "with one as (insert into control.users (public_id, email, name, password_hash) values (%s, 'u@demo.example', 'U', 'x')"
        " returning id), other as (insert into control.service_accounts (public_id, org_id, project_id, name)"
        " values (%s, %s, %s, 'svc') returning id) select one.id, other.id from one, other",
        [public_id("user"), public_id("svc"), tenant.org_id, tenant.project_id],
    ).fetchone()
    assert row is not None
    return row


def _rows(history: History, users: tuple[int, int]) -> list[Any]:
    """Some of each scope and life, around the instants at which budgets are made and all over two days."""
    chance = random.Random(5)
    edges = [at + timedelta(microseconds=off) for at in MADE.values() for off in (-1, 0, 1)]
    instants = [at for at in edges if START <= at < START + timedelta(days=2)] * 6
    instants += [START + timedelta(seconds=chance.randrange(2 * 86_400)) for _ in range(400)]
    return [
        history.row(2 * 10**7 + number, at, cost_picousd=chance.randrange(1, 10**9), router_life=chance.choice([None, *LIVES]),
                    **chance.choice([{}, {"user_id": users[0]}, {"service_account_id": users[1]}]))
        for number, at in enumerate(instants)
    ]  # fmt: skip


@pytest.fixture
def world(
    db: psycopg.Connection, history: History, dbt: Dbt, role_url: Callable[..., str], request: pytest.FixtureRequest
) -> World:
    """Both days are in the marts, the chain and the archive."""
    tenant = history.tenants[0]
    users = _somebody(db, tenant)
    copy_events(db, _rows(history, users))
    scopes: list[dict[str, int]] = [
        {}, {"project_id": tenant.project_id}, {"api_key_id": tenant.api_key_id}, {"user_id": users[0]},
        {"service_account_id": users[1]}, {"model_id": history.model[0]}, {"user_id": users[0], "model_id": history.model[0]},
        {"user_id": users[0], "model_id": history.model[0] + 1},
    ]  # fmt: skip
    db.execute("insert into control.models (name, context_tokens_max, output_tokens_max) values ('other', 8192, 8192)")
    for created_at in MADE.values():
        for scope in scopes:
            budget = add_budget(db, tenant, 1, period="lifetime", mode="soft" if scope else "hard", **scope)
            db.execute("update control.budgets set created_at = %s, alert_percents = '{1}' where id = %s", [created_at, budget])
    db.commit()
    dbt.run("build", "--select", "config.materialized:incremental", "--exclude", "resource_type:test")
    ready = request.getfixturevalue("ready")
    days.archive_day(ready, request.getfixturevalue("files"), later(DAY, 1))
    return World(db, dbt, role_url("inferhouse_router"))


def test_it_counts_the_same_while_days_are_dropped_and_after_they_are_restored(
    world: World, ready: psycopg.Connection, files: ArchiveFiles
) -> None:
    before = world.counts()
    assert len(before.mart) == len(MADE) * 8
    assert before.mart == before.routers
    assert before.alerts == {budget: sum_ for budget, sum_ in before.routers.items() if sum_}
    assert set(before.routers.values()) > {0}
    days.drop_day(ready, files, DAY)
    assert world.counts() == before
    days.drop_day(ready, files, later(DAY, 1))
    assert world.counts() == before
    days.restore_day(ready, files, DAY)
    assert world.counts() == before
    days.restore_day(ready, files, later(DAY, 1))
    assert world.counts() == before
    days.drop_day(ready, files, DAY)
    assert world.counts() == before


def test_a_late_row_of_a_dropped_day_counts_once_before_and_after_the_restore(
    world: World, ready: psycopg.Connection, files: ArchiveFiles, history: History
) -> None:
    before = world.counts().routers
    days.drop_day(ready, files, DAY)
    copy_events(world.db, [history.row(1, WITHIN, cost_picousd=7)])
    after = world.counts().routers
    of_all = {budget for budget, sum_ in after.items() if sum_ != before[budget]}
    # Organization, project, key and model; made before the row.
    assert len(of_all) == 3 * 4
    assert all(after[budget] == before[budget] + 7 for budget in of_all)
    assert days.restore_late_days(ready, files) == [DAY]
    assert world.counts().routers == after


def test_a_budget_that_was_deleted_when_a_day_was_dropped_counts_it_when_it_is_back(
    world: World, ready: psycopg.Connection, files: ArchiveFiles
) -> None:
    before = world.counts()
    world.db.execute("update control.budgets set deleted_at = now()")
    world.db.commit()
    days.drop_day(ready, files, DAY)
    world.db.execute("update control.budgets set deleted_at = null")
    world.db.commit()
    assert world.counts() == before


@in_loop
async def test_an_account_that_is_opened_after_the_drop_leaves_what_it_left_before(
    db: psycopg.Connection, ready: psycopg.Connection, files: ArchiveFiles, history: History, role_url: Callable[..., str],
    redis_url: str, tmp_path: Path,
) -> None:  # fmt: skip
    tenant, limit = history.tenants[1], 10**12
    budget = add_budget(db, tenant, limit, period="lifetime")
    db.execute("update control.budgets set created_at = %s where id = %s", [START, budget])
    db.commit()

    async def left_by_a_new_router() -> int:
        with redis.Redis.from_url(redis_url) as client:
            client.flushall()
        async with worker(role_url("inferhouse_router"), redis_url, tmp_path / "journal", history.model) as one:
            return await left(one, tenant, limit)

    before = await left_by_a_new_router()
    assert before < limit
    days.drop_day(ready, files, DAY)
    assert await left_by_a_new_router() == before
    days.restore_day(ready, files, DAY)
    assert await left_by_a_new_router() == before
