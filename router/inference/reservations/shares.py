"""What one worker last heard of budgets; and while Redis is down, what it may still admit of them.

That is for an organization that has chosen to go on: of each budget, its share of what was left when Redis was last heard of; of
each rate, its share of the rate. What all workers admit together is then at most what was left by the one whose knowledge was
the oldest. Of a window that begins meanwhile all is left, where its budget was held before. Pure, but for the clock.
"""

import time
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

from router.inference.reservations.refusals import DIMENSIONS, BudgetExceeded, LimitsUnavailable, RateLimited
from router.inference.reservations.rules import PICOUSD_PER_USD, Match, Window
from warehouse.base.clock import now

_MINUTE_US = 60_000_000
_SHARE = "Redis cannot be reached, and this router's share of a {} has no room for the request"


class Shares:
    """Of one organization in one worker."""

    def __init__(self) -> None:
        self._known: dict[str, int] = {}
        self.heard: dict[str, int] = {}
        """{window: pico-dollars that are settled in it at least}, for when Redis loses them and a dead worker's rows are missing.
        What this worker has settled since it was told is in it."""
        self._used: dict[str, int] = {}
        self._rates: dict[int, tuple[int, list[int]]] = {}
        self._lost_at: datetime | None = None
        self._budgets: Collection[str] = ()

    def lost(self, at: datetime, budgets: Collection[str]) -> None:
        """Redis is away from now on. Args: budgets: names of those that were held by then."""
        self._lost_at, self._budgets = at, budgets

    def told(self, match: Match, used: Sequence[int], settled: Sequence[int]) -> None:
        """What is used of the windows (settled and held) by whomever, and what is settled; dollars and pico-dollars by turns."""
        for limit in match.limits if self._rates else ():
            self._rates.pop(limit.id, None)
        for number, window in enumerate(match.windows):
            self._used.pop(window.field, None)
            self._known[window.field] = used[2 * number] * PICOUSD_PER_USD + used[2 * number + 1]
            self.heard[window.field] = settled[2 * number] * PICOUSD_PER_USD + settled[2 * number + 1]

    def refused(self, window: Window, used_picousd: int, settled_picousd: int) -> None:
        """The same of the one window that has no room: a worker that admits nothing hears of it in no other way."""
        self._used.pop(window.field, None)
        self._known[window.field], self.heard[window.field] = used_picousd, settled_picousd

    def keep(self, fields: Collection[str]) -> None:
        """Forget the windows that are not among these: each day and month begins one more of every budget."""
        for amounts in (self._known, self.heard, self._used):
            for gone in amounts.keys() - fields:
                del amounts[gone]

    def settled(self, match: Match, picousd: int) -> None:
        """This worker has told Redis of that cost, or it is of a share."""
        for window in match.windows:
            if window.field in self.heard:
                self.heard[window.field] += picousd

    def take(
        self,
        match: Match,
        cost_picousd: int,
        input_tokens: int,
        output_tokens: int,
        *,
        workers: int,
        running: Mapping[int, int],
    ) -> None:
        """Admit a request, or raise: BudgetExceeded, RateLimited, LimitsUnavailable. Nothing is taken then.

        Args: running: requests of this worker under way by limit, whoever admitted them.
        """
        for window in match.windows:
            if not window.rule.shadow:
                self._check(window, cost_picousd, workers)
        levels = {}
        at_us = time.monotonic_ns() // 1000
        for limit in match.limits:
            before_us, level = self._rates.get(limit.id, (at_us, [0, 0, 0]))
            levels[limit.id] = at_us, (level := list(level))
            for number, wanted in enumerate((1, input_tokens, output_tokens)):
                rate = getattr(limit, DIMENSIONS[number])
                if rate is None:
                    continue
                share = rate // workers
                level[number] = max(level[number] - (at_us - before_us) * share, 0) + wanted * _MINUTE_US
                over = level[number] - share * _MINUTE_US
                if over > 0 and not limit.shadow:
                    if share < wanted <= rate:
                        raise LimitsUnavailable(_SHARE.format("limit"))
                    wait_us = -1 if wanted > share else over // max(share, 1)
                    raise RateLimited.of(limit, number, wanted=wanted, wait_us=wait_us)
            at_once, counted = limit.requests_at_once, running.get(limit.id, 0)
            if at_once is not None and not limit.shadow and counted >= at_once // workers:
                if counted < at_once:
                    raise LimitsUnavailable(_SHARE.format("limit"))
                raise RateLimited.of(limit, 3, wanted=1, wait_us=0)
        self._rates.update(levels)
        self.add(match, cost_picousd)

    def _check(self, window: Window, cost_picousd: int, workers: int) -> None:
        """Raises: BudgetExceeded, LimitsUnavailable."""
        known, used = self._known.get(window.field), self._used.get(window.field, 0)
        if known is None:
            if self._lost_at is None or window.starts_at < self._lost_at or window.budget not in self._budgets:
                raise LimitsUnavailable("Redis cannot be reached, and this router does not know what the budget has left")
            known = 0  # nobody has asked Redis for it, and each router knows what it has admitted itself
            self.heard.setdefault(window.field, 0)
        spent = self.heard.get(window.field, 0)
        if spent + cost_picousd > window.limit_picousd:
            raise BudgetExceeded.of(window, spent=spent, used=max(known + used, spent), hold=cost_picousd, at=now())
        if used + cost_picousd > max(window.limit_picousd - known, 0) // workers:
            raise LimitsUnavailable(_SHARE.format("budget"))

    def give_back(self, match: Match, requests: int, input_tokens: int, output_tokens: int) -> None:
        """What a request has taken of rates and not used."""
        for limit in match.limits:
            if limit.id in self._rates:
                at_us, level = self._rates[limit.id]
                back = (requests, input_tokens, output_tokens)
                self._rates[limit.id] = at_us, [max(had - more * _MINUTE_US, 0) for had, more in zip(level, back, strict=True)]

    def add(self, match: Match, picousd: int) -> None:
        """More, or with a negative number less, of a share is used."""
        for window in match.windows:
            self._used[window.field] = self._used.get(window.field, 0) + picousd
