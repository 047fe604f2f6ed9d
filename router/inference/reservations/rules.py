"""Which budgets and limits a request falls under, decided once for each key and model. Pure."""

import hashlib
from bisect import bisect_right
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime

import msgspec

from router.inference.auth import Caller
from router.inference.reservations.rate_headers import Meters, meters
from warehouse.access.spend_rules import BudgetRule, LimitRule, SpendRules

MATCHES_MAX = 10_000  # keys x models of an organization that are remembered; above it they are decided anew
PICOUSD_PER_USD = 10**12
ALWAYS = datetime(9999, 1, 1, tzinfo=UTC)
_NONE = -1
"""No bound, in what the script reads."""


class NoCalendar(Exception):
    """The windows that were read do not reach to this instant."""


@dataclass(frozen=True, slots=True)
class Window:
    """One budget in the window that an instant falls in, until `ends_at` (exclusive)."""

    rule: BudgetRule
    starts_at: datetime
    ends_at: datetime
    limit_picousd: int
    """The one in force: the raised one while there is one."""
    field: str
    """Its name in the organization's account: the budget's, and its start."""

    @property
    def budget(self) -> str:
        """The budget's name in the account."""
        return self.field.rpartition(":")[0]


@dataclass(frozen=True, slots=True, eq=False)
class Match:
    """What a key's requests of a model fall under, for requests that start in [`since`, `until`)."""

    windows: tuple[Window, ...]
    limits: tuple[LimitRule, ...]
    since: datetime
    until: datetime
    on_trial: bool
    """One of them refuses nobody and is counted."""
    refuses: bool
    """One of them is not on trial."""
    needs_account: bool
    """It has to be known what others spend or have under way: not so for rates alone."""
    budgets: msgspec.Raw = field(repr=False)
    rates: msgspec.Raw = field(repr=False)
    fields: msgspec.Raw = field(repr=False)
    meters: Meters = field(repr=False)
    """What answers say of the limits."""

    def __bool__(self) -> bool:
        return bool(self.windows or self.limits)

    def passed(self, shadows: Sequence[int]) -> frozenset[int]:
        """Ids of limits on trial that would have refused. Args: shadows: as reservations.lua answers; -n is limit n (from 1)."""
        return frozenset(self.limits[-number - 1].id for number in shadows if number < 0)

    def rates_without(self, passed: Collection[int]) -> msgspec.Raw:
        """Those that a request takes from, for which limits of these ids are none."""
        if not passed:
            return self.rates
        return _raw([rates for rates in msgspec.msgpack.decode(self.rates) if rates[0] not in passed])


class Rules:
    """One reading of an organization's rules."""

    def __init__(self, rules: SpendRules) -> None:
        self.rules, self.shares = rules, rules.shares
        self.is_empty = not rules.budgets and not rules.limits
        self.names = frozenset(self._name(budget) for budget in rules.budgets)
        self.budgets_digest = hashlib.sha256("\n".join(sorted(self.names)).encode()).hexdigest()[:32]
        """Stands for the budgets that are held, whatever their limits are."""
        self._matches: dict[tuple[int, int], Match] = {}

    def match(self, caller: Caller, model_id: int, at: datetime) -> Match:
        """What a request falls under that starts at an instant. Raises: NoCalendar."""
        known = (caller.api_key_id, model_id)
        match = self._matches.get(known)
        if match is None or not match.since <= at < match.until:
            match = self._decide(caller, model_id, at)
            if len(self._matches) >= MATCHES_MAX:
                self._matches.clear()
            self._matches[known] = match
        return match

    def windows_at(self, instants: Sequence[datetime]) -> list[Window]:
        """The windows of all budgets at some instants, each once."""
        found = {}
        for budget in self.rules.budgets:
            for at in instants:
                window = self._window(budget, at)
                found[window.field] = window
        return list(found.values())

    def _decide(self, caller: Caller, model_id: int, at: datetime) -> Match:
        budgets = [budget for budget in self.rules.budgets if _is_of(budget, caller, model_id)]
        windows = tuple(self._window(budget, at) for budget in budgets if _has_begun(budget, at))
        limits = tuple(limit for limit in self.rules.limits if _limits(limit, caller, model_id))
        since = max((window.starts_at for window in windows), default=datetime.min.replace(tzinfo=UTC))
        until = min((window.ends_at for window in windows), default=ALWAYS)
        raises = [window.rule.raised_until for window in windows if window.rule.raised_until]
        begin = [budget.created_at for budget in budgets if not _has_begun(budget, at)]
        until = min([until, *begin, *(ends_at for ends_at in raises if ends_at > at)])
        since = max([since, *(ends_at for ends_at in raises if ends_at <= at)])
        return Match(
            windows,
            limits,
            since,
            until,
            any(window.rule.shadow for window in windows) or any(limit.shadow for limit in limits),
            not all(window.rule.shadow for window in windows) or not all(limit.shadow for limit in limits),
            bool(windows) or any(limit.requests_at_once is not None for limit in limits),
            _raw(
                [
                    [w.field, *divmod(w.limit_picousd, PICOUSD_PER_USD), int(w.rule.shadow), _seconds(w.starts_at) * 1_000_000]
                    for w in windows
                ]
            ),
            _raw([_rates(limit) for limit in limits]),
            _raw([window.field for window in windows]),
            meters(limits),
        )

    def _name(self, budget: BudgetRule) -> str:
        """Of a budget in the account: another time zone makes another one of it, with windows of its own."""
        zone = "" if budget.period == "lifetime" else f".{self.rules.time_zone}"
        return f"{budget.id}.{budget.hold_version}{zone}"

    def _window(self, budget: BudgetRule, at: datetime) -> Window:
        limit = int(budget.limit_picousd)
        if budget.raised_limit_picousd is not None and budget.raised_until is not None and at < budget.raised_until:
            limit = max(limit, int(budget.raised_limit_picousd))
        if budget.period == "lifetime":
            return Window(budget, budget.created_at, ALWAYS, limit, f"{self._name(budget)}:{_seconds(budget.created_at)}")
        starts = self.rules.boundaries[budget.period]
        number = bisect_right(starts, at)
        if number == 0 or number == len(starts):
            raise NoCalendar(f"no {budget.period} is known at {at}")
        start = starts[number - 1]
        return Window(budget, start, starts[number], limit, f"{self._name(budget)}:{_seconds(start)}")


def _raw(value: object) -> msgspec.Raw:
    return msgspec.Raw(msgspec.msgpack.encode(value))


def _seconds(instant: datetime) -> int:
    return int(instant.timestamp())


def _rates(limit: LimitRule) -> list[int]:
    rates = (
        limit.requests_per_minute, limit.input_tokens_per_minute, limit.output_tokens_per_minute, limit.requests_at_once
    )  # fmt: skip
    return [limit.id, int(limit.shadow), *(_NONE if rate is None else rate for rate in rates)]


def _is_of(budget: BudgetRule, caller: Caller, model_id: int) -> bool:
    return (
        budget.project_id in (None, caller.project_id)
        and budget.user_id in (None, caller.user_id)
        and budget.service_account_id in (None, caller.service_account_id)
        and budget.api_key_id in (None, caller.api_key_id)
        and budget.model_id in (None, model_id)
    )


def _has_begun(budget: BudgetRule, at: datetime) -> bool:
    """Whether it counts requests that start at an instant: as in sums over rows, a lifetime begins when its budget is made."""
    return budget.period != "lifetime" or budget.created_at <= at


def _limits(limit: LimitRule, caller: Caller, model_id: int) -> bool:
    return (
        limit.project_id in (None, caller.project_id)
        and limit.api_key_id in (None, caller.api_key_id)
        and limit.model_id in (None, model_id)
    )
