"""What a refusal says is exact: the bound, the amounts, and when to come again."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from router.inference.reservations.refusals import DIMENSIONS, BudgetExceeded, BudgetHeld, ModelUnpriced, RateLimited
from router.inference.reservations.rules import ALWAYS, PICOUSD_PER_USD, Window
from warehouse.access.spend_rules import BudgetRule, LimitRule

USD = PICOUSD_PER_USD
AT = datetime(2026, 3, 1, tzinfo=UTC)
BUDGET = BudgetRule(
    1, "budget_1", None, None, None, None, None, None, "day", "", None, None, shadow=False, created_at=AT, hold_version=1
)
LIMIT = LimitRule(1, "limit_1", None, None, None, None, False, 60, 1000, 2000, 3)


def _window(**budget: Any) -> Window:
    ends_at = ALWAYS if budget.get("period") == "lifetime" else AT + timedelta(days=1)
    return Window(replace(BUDGET, **budget), AT, ends_at, 10 * USD, "1.1:0")


@pytest.mark.parametrize(
    ("wait_us", "seconds", "milliseconds"),
    [(1, 1, 1), (999_000, 1, 999), (1_000_000, 1, 1000), (1_000_001, 2, 1001), (59_999_999, 60, 60_000)],
)
@pytest.mark.parametrize(("dimension", "bound"), [(0, 60), (1, 1000), (2, 2000)])
def test_who_has_to_wait_is_told_how_long(wait_us: int, seconds: int, milliseconds: int, dimension: int, bound: int) -> None:
    refusal = RateLimited.of(LIMIT, dimension, wanted=7, wait_us=wait_us)
    assert (refusal.retry_after_s, refusal.retry_after_ms) == (seconds, milliseconds)
    assert refusal.details == {
        "limit_id": "limit_1", "dimension": DIMENSIONS[dimension], "limit": bound, "requested": 7,
        "retry_after_ms": milliseconds,
    }  # fmt: skip
    assert refusal.envelope("req_1")["error"]["details"] == refusal.details


def test_who_never_fits_is_told_so_and_not_to_wait() -> None:
    refusal = RateLimited.of(LIMIT, 1, wanted=1001, wait_us=-1)
    assert (refusal.retry_after_s, refusal.retry_after_ms, refusal.details["retry_after_ms"]) == (None, None, None)
    assert str(refusal) == (
        "This organization may use 1,000 input tokens per minute, which is less than this request could use (1,001):"
        " ask for less, or have limit limit_1 raised."
    )


def test_nobody_knows_when_others_end_and_of_none_at_once_there_is_no_end() -> None:
    refusal = RateLimited.of(LIMIT, 3, wanted=1, wait_us=0)
    assert (refusal.retry_after_s, refusal.retry_after_ms) == (1, None)
    assert str(refusal) == "This organization may use 3 requests at once, and as many are under way."
    refusal = RateLimited.of(replace(LIMIT, requests_at_once=0), 3, wanted=1, wait_us=0)
    assert (refusal.retry_after_s, refusal.retry_after_ms) == (None, None)
    assert str(refusal) == "This organization may use 0 requests at once, and so none is under way."


@pytest.mark.parametrize(
    ("of", "words"),
    [
        ({}, "This organization may"),
        ({"project_id": 1}, "This project may"),
        ({"api_key_id": 1}, "This key may"),
        ({"model": "m", "model_id": 1}, "This organization, of model 'm', may"),
        ({"api_key_id": 1, "model": "m"}, "This key, of model 'm', may"),
    ],
)
def test_a_refusal_names_whom_the_rule_is_about(of: dict[str, Any], words: str) -> None:
    assert str(RateLimited.of(replace(LIMIT, **of), 0, wanted=1, wait_us=1)).startswith(words)
    assert str(BudgetExceeded.of(_window(**of), spent=0, used=0, hold=1, at=AT)).startswith(words)


@pytest.mark.parametrize("name", ["project", "user", "service_account", "api_key"])
def test_the_details_of_a_budget_name_its_scope(name: str) -> None:
    refusal = BudgetExceeded.of(_window(**{f"{name}_id": 1}), spent=0, used=0, hold=1, at=AT)
    assert refusal.details["scope"] == name


def test_the_amounts_of_a_budget_are_exact() -> None:
    refusal = BudgetExceeded.of(
        _window(), spent=7 * USD, used=9 * USD + 1, hold=USD + 5, at=AT + timedelta(hours=23, seconds=0.5)
    )
    assert refusal.details == {
        "budget_id": "budget_1", "scope": "organization", "model": None, "period": "day", "limit_usd": "10.00",
        "spent_usd": "7.00", "held_usd": "2.000000000001", "estimate_usd": "1.000000000005",
        "window_start": "2026-03-01T00:00:00+00:00", "window_end": "2026-03-02T00:00:00+00:00",
    }  # fmt: skip
    assert refusal.retry_after_s == 3600
    assert "may spend 10.00 USD a day and has spent 7.00 USD" in str(refusal)
    late = BudgetExceeded.of(_window(), spent=0, used=0, hold=1, at=AT + timedelta(days=2))
    assert late.retry_after_s == 1
    lifetime = BudgetExceeded.of(_window(period="lifetime"), spent=0, used=0, hold=1, at=AT)
    assert (lifetime.retry_after_s, lifetime.details["window_end"]) == (None, None)
    assert "in its lifetime" in str(lifetime)
    assert "ends at" not in str(lifetime)


def test_who_waits_for_others_is_told_what_they_hold() -> None:
    refusal = BudgetHeld.of(_window(), spent=7 * USD, used=9 * USD, hold=2 * USD, waited_s=1.26)
    assert refusal.retry_after_s == 1
    assert refusal.details["held_usd"] == "2.00"
    assert "may cost up to 2.00 USD more, and this one 2.00 USD. It has waited 1.3 s" in str(refusal)
    assert "this service account has a budget (budget_1)" in str(ModelUnpriced(_window(service_account_id=1)))
