"""What a worker knows of budgets for itself."""

from datetime import UTC, datetime, timedelta

import pytest

from router.inference.auth import Caller
from router.inference.reservations.refusals import LimitsUnavailable
from router.inference.reservations.rules import PICOUSD_PER_USD, Match, Rules
from router.inference.reservations.shares import Shares
from warehouse.access.spend_rules import BudgetRule, SpendRules

FIRST = datetime(2026, 3, 1, tzinfo=UTC)
DAYS = [FIRST + timedelta(days=number) for number in range(4)]
CALLER = Caller(1, 1, 1, user_id=None, service_account_id=None, models=None, answers_kept_s=0)


def test_the_windows_of_the_past_are_forgotten_and_the_others_are_not() -> None:
    """A worker lives for months, and each day begins a window of every budget."""
    budget = BudgetRule(
        1, "budget_1", None, None, None, None, None, None, "day", str(10 * PICOUSD_PER_USD), None, None,
        shadow=False, created_at=FIRST, hold_version=1,
    )  # fmt: skip
    rules = Rules(SpendRules("UTC", shares=True, budgets=[budget], limits=[], boundaries={"day": DAYS}))
    past, present = (rules.match(CALLER, 1, day) for day in DAYS[:2])
    shares = Shares()
    for match in (past, present):
        shares.told(match, (4, 0), (3, 0))
        _take(shares, match, 5)
    shares.keep({window.field for window in rules.windows_at([DAYS[1]])})
    assert shares.heard == {present.windows[0].field: 3 * PICOUSD_PER_USD}
    with pytest.raises(LimitsUnavailable, match="does not know"):
        _take(shares, past, 1)
    with pytest.raises(LimitsUnavailable, match="share"):
        _take(shares, present, 2)
    _take(shares, present, 1)


def _take(shares: Shares, match: Match, usd: int) -> None:
    shares.take(match, usd * PICOUSD_PER_USD, 0, 0, workers=1, running={})
