"""Why a request was not admitted, so that whoever reads it knows what to change."""

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from router.inference.reservations.rules import ALWAYS, Window
from warehouse.access.spend_rules import BudgetRule, LimitRule
from warehouse.base.errors import InferhouseError
from warehouse.base.money import usd

DIMENSIONS = ("requests_per_minute", "input_tokens_per_minute", "output_tokens_per_minute", "requests_at_once")
_WORDS = ("requests per minute", "input tokens per minute", "output tokens per minute", "requests at once")
HELD_RETRY_AFTER_S = 1
AT_ONCE_RETRY_AFTER_S = 1


class _Explained(InferhouseError):
    """An error whose envelope has `details`."""

    def __init__(self, message: str, details: Mapping[str, Any], *, retry_after_s: int | None) -> None:
        super().__init__(message, retry_after_s=retry_after_s)
        self.details = dict(details)

    def envelope(self, request_id: str | None) -> Mapping[str, Any]:
        """OpenAI's, and the numbers that the message has in words."""
        return {"error": super().envelope(request_id)["error"] | {"details": self.details}}


class BudgetExceeded(_Explained):
    """What has been spent leaves no room for what the request could cost. Nothing was charged."""

    status, code, type = 429, "budget_exceeded", "insufficient_quota"

    @classmethod
    def of(cls, window: Window, *, spent: int, used: int, hold: int, at: datetime) -> "BudgetExceeded":
        """The refusal by one budget; amounts in pico-dollars, `used` with what others hold."""
        details = _details(window, spent=spent, used=used, hold=hold)
        ends = "" if window.ends_at == ALWAYS else f" It ends at {details['window_end']}."
        message = (
            f"{_scope(window.rule)} may spend {_money(window.limit_picousd)} {_period(window.rule)} and has spent"
            f" {_money(spent)}: this request could cost {_money(hold)}, which does not fit.{ends}"
            f" Ask for fewer tokens, or have budget {window.rule.public_id} raised."
        )
        left_s = None if window.ends_at == ALWAYS else max(int((window.ends_at - at).total_seconds()) + 1, 1)
        return cls(message, details, retry_after_s=left_s)


class BudgetHeld(_Explained):
    """Requests under way hold what is left of a budget, and have done so for as long as one waits for it. Nothing was charged."""

    status, code, type = 429, "budget_held", "rate_limit_error"

    @classmethod
    def of(cls, window: Window, *, spent: int, used: int, hold: int, waited_s: float) -> "BudgetHeld":
        """The refusal by one budget; amounts in pico-dollars, `used` with what others hold."""
        message = (
            f"{_scope(window.rule)} may spend {_money(window.limit_picousd)} {_period(window.rule)} and has spent"
            f" {_money(spent)}; requests under way may cost up to {_money(used - spent)} more, and this one {_money(hold)}."
            f" It has waited {waited_s:.1f} s for them: try again."
        )
        return cls(message, _details(window, spent=spent, used=used, hold=hold), retry_after_s=HELD_RETRY_AFTER_S)


class ModelUnpriced(InferhouseError):
    """The model has no price, so nobody can say whether a request fits into its budgets. Nothing was charged."""

    status, code, type = 403, "model_unpriced", "invalid_request_error"

    def __init__(self, window: Window) -> None:
        super().__init__(
            f"this model has no price, and {_scope(window.rule).lower()} has a budget ({window.rule.public_id}): what the request"
            " costs cannot be held. Give the model a price.",
            param="model",
        )


class RateLimited(_Explained):
    """A limit has no room for the request now. Nothing was taken from any limit, nothing was charged."""

    status, code, type = 429, "rate_limit_exceeded", "rate_limit_error"

    @classmethod
    def of(cls, rule: LimitRule, dimension: int, *, wanted: int, wait_us: int) -> "RateLimited":
        """Args: dimension: its place in DIMENSIONS.  wait_us: until it would fit; -1: it never will."""
        bound, words = getattr(rule, DIMENSIONS[dimension]), _WORDS[dimension]
        scope = _of(rule.project_id is not None and "project", rule.api_key_id is not None and "key", rule.model)
        message = f"{scope} may use {bound:,} {words}"
        retry_after_s = None
        if DIMENSIONS[dimension] == "requests_at_once":
            message += f", and {'as many are' if bound else 'so none is'} under way"
            retry_after_s = AT_ONCE_RETRY_AFTER_S if bound else None
        elif wait_us < 0:
            message += (
                f", which is less than this request could use ({wanted:,}): ask for less, or have limit {rule.public_id} raised"
            )
        else:
            retry_after_s = max(-(-wait_us // 1_000_000), 1)
            message += f": there is room for this request in {-(-wait_us // 100_000) / 10} s"
        details = {
            "limit_id": rule.public_id, "dimension": DIMENSIONS[dimension], "limit": bound, "requested": wanted,
            "retry_after_ms": None if retry_after_s is None or not wait_us else -(-wait_us // 1000),
        }  # fmt: skip
        refusal = cls(message + ".", details, retry_after_s=retry_after_s)
        refusal.retry_after_ms = details["retry_after_ms"]
        return refusal


class LimitsUnavailable(InferhouseError):
    """Budgets or limits cannot be checked now, and the organization has chosen to refuse then. Nothing was charged."""

    status, code, type = 503, "limits_unavailable", "server_error"

    def __init__(self, why: str) -> None:
        super().__init__(f"budgets and limits cannot be checked now: {why}", retry_after_s=1)


def _details(window: Window, *, spent: int, used: int, hold: int) -> dict[str, Any]:
    rule = window.rule
    return {
        "budget_id": rule.public_id,
        "scope": _kind(rule),
        "model": rule.model,
        "period": rule.period,
        "limit_usd": usd(window.limit_picousd),
        "spent_usd": usd(spent),
        "held_usd": usd(used - spent),
        "estimate_usd": usd(hold),
        "window_start": window.starts_at.isoformat(),
        "window_end": None if window.ends_at == ALWAYS else window.ends_at.isoformat(),
    }


def _kind(rule: BudgetRule) -> str:
    for name in ("project", "user", "service_account", "api_key"):
        if getattr(rule, f"{name}_id") is not None:
            return name
    return "organization"


def _scope(rule: BudgetRule) -> str:
    words = _kind(rule).replace("api_", "").replace("_", " ")
    return _of(words, None, rule.model)


def _of(*names: str | bool | None) -> str:
    *scopes, model = names
    scope = next((name for name in scopes if name), "organization")
    return f"This {scope}" + (f", of model {model!r}," if model else "")


def _period(rule: BudgetRule) -> str:
    return "in its lifetime" if rule.period == "lifetime" else f"a {rule.period}"


def _money(picousd: int) -> str:
    return f"{usd(picousd)} USD"
