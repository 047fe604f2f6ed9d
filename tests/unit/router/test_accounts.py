"""Rules are waited for no longer than said, and what is summed up of rows, the dead and Redis counts everything once."""

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any

import pytest
from psycopg import AsyncConnection

from router.inference.reservations import accounts as module
from router.inference.reservations.account import Account
from router.inference.reservations.accounts import Accounts, _summed
from router.inference.reservations.rules import PICOUSD_PER_USD, Rules
from tests.routing_world import in_loop
from warehouse.access.spend_rules import SpendRules
from warehouse.base.errors import NotReady

GIVEN_UP_S_MAX = 30
WAIT_S = 0.05
NO_RULES = Rules(SpendRules("UTC", shares=False, budgets=[], limits=[], boundaries={}))


class _Database:
    """One that hangs, or is away."""

    def __init__(self, error: Exception | None = None) -> None:
        self.asked, self.error = 0, error

    @contextlib.asynccontextmanager
    async def connect(self) -> AsyncIterator[AsyncConnection]:
        self.asked += 1
        if self.error is not None:
            raise self.error
        await asyncio.get_running_loop().create_future()
        yield  # type: ignore[misc]


def _accounts(database: _Database) -> Accounts:
    async def recorded() -> None:
        pass

    return Accounts(None, life=1, connect=database.connect, recorded=recorded, workers=1)


async def _known(accounts: Accounts) -> Account:
    """An account whose rules were read before."""
    with pytest.raises(NotReady):
        await accounts.of(1)
    account = accounts.get(1)
    assert account is not None
    account.rules, account.stale = NO_RULES, False
    return account


@pytest.mark.parametrize("error", [None, OSError("away")])
@in_loop
async def test_the_first_reading_of_rules_is_waited_for_no_longer_than_said(
    monkeypatch: pytest.MonkeyPatch, error: Exception | None
) -> None:
    monkeypatch.setattr(module, "OPEN_S_MAX", WAIT_S)
    monkeypatch.setattr(module, "READ_S", GIVEN_UP_S_MAX)
    database = _Database(error)
    accounts = _accounts(database)
    async with asyncio.timeout(GIVEN_UP_S_MAX):
        for _ in range(2):
            with pytest.raises(NotReady, match="cannot be reached") as refused:
                await accounts.of(1)
            assert refused.value.retry_after_s == 1
    assert database.asked == (2 if error else 1), "who comes meanwhile waits for the same reading"


@in_loop
async def test_rules_that_are_known_are_read_anew_for_no_longer_than_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "OPEN_S_MAX", WAIT_S)
    monkeypatch.setattr(module, "READ_S", WAIT_S)
    accounts = _accounts(_Database())
    account = await _known(accounts)
    assert await accounts.of(1) is account
    accounts.changed(1)
    monkeypatch.setattr(module, "OPEN_S_MAX", GIVEN_UP_S_MAX)
    async with asyncio.timeout(GIVEN_UP_S_MAX):
        assert await accounts.of(1) is account
    assert (account.rules, account.stale) == (NO_RULES, True), "it goes by those that it has, and asks again"


@in_loop
async def test_a_database_that_was_away_just_now_is_not_asked_by_every_request(monkeypatch: pytest.MonkeyPatch) -> None:
    database = _Database(OSError("away"))
    accounts = _accounts(database)
    account = await _known(accounts)
    accounts.changed(1)
    for _ in range(3):
        assert await accounts.of(1) is account
    assert database.asked == 2
    accounts.changed(None)  # there may be something to read
    assert await accounts.of(1) is account
    assert database.asked == 3
    account.failed_s = time.monotonic() - module.READ_S
    assert await accounts.of(1) is account
    assert database.asked == 4


@in_loop
async def test_organizations_that_hold_nothing_are_forgotten_above_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ACCOUNTS_MAX", 3)
    accounts = _accounts(_Database(OSError("away")))
    for org_id in range(1, 4):
        with pytest.raises(NotReady):
            await accounts.of(org_id)
    of: list[Any] = [accounts.get(org_id) for org_id in range(1, 4)]
    of[0].holds = {None: None}
    of[1].queues = {"window": {}}
    with pytest.raises(NotReady):
        await accounts.of(4)
    assert [account.org_id for account in accounts.all()] == [1, 2, 4]


USD = PICOUSD_PER_USD
TOLD = (7, "day", 3, 5, 2, 1)  # by the dead router with this number: 3 USD and 5 settled, 2 USD and 1 held
SETTLED, HELD = 3 * USD + 5, 2 * USD + 1


@pytest.mark.parametrize(
    ("spent", "of_the_dead", "told", "heard", "sums"),
    [
        (USD, 0, [], [], (USD, 0, 0)),
        (USD, 0, [TOLD], [], (USD + SETTLED, HELD, 0)),
        (USD, SETTLED, [TOLD], [], (USD + SETTLED, HELD, 0)),  # its rows are there, and say the same
        (USD, SETTLED + USD, [TOLD], [], (USD + SETTLED + USD, HELD - USD, 0)),  # and of what it held, one was answered
        (USD, SETTLED + 9 * USD, [TOLD], [], (USD + SETTLED + 9 * USD, 0, 0)),
        (USD, 0, [TOLD, (8, "day", 1, 0, 1, 0)], [], (2 * USD + SETTLED, HELD + USD, 0)),
        (USD, 0, [(7, "month", 3, 5, 2, 1)], [], (USD, 0, 0)),  # of another window
        (USD, 0, [], [("day", 1, 0)], (USD, 0, 0)),
        (USD, 0, [], [("day", 4, 3)], (4 * USD + 3, 0, 3 * USD + 3)),  # more than rows can explain
        (USD, 0, [TOLD], [("day", 4, 0)], (4 * USD + SETTLED, HELD, 3 * USD)),
        (9 * USD, 0, [TOLD], [("day", 4, 0)], (9 * USD + SETTLED, HELD, 0)),
    ],
)
def test_what_is_summed_up_counts_once_whoever_has_told_of_it(
    spent: int, of_the_dead: int, told: Sequence[Any], heard: Sequence[Any], sums: tuple[int, int, int]
) -> None:
    settled, held, unknown = _summed(["other", "day"], [0, spent], {(1, 7): of_the_dead}, told, heard)
    assert (settled["day"], held["day"], unknown.get("day", 0)) == sums
    assert (settled["other"], held["other"], "other" in unknown) == (0, 0, False)
