"""What a request does with budgets and limits: reserve the most it can use, settle what it did use."""

import asyncio
import contextlib
import math
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime
from functools import partial
from itertools import islice
from typing import Any

from router.inference.auth import Caller
from router.inference.reservations.account import ELSEWHERE, HELD, LIMITED, SPENT, TAKEN, Account, Hold
from router.inference.reservations.accounts import OPEN_S_MAX, Accounts, Connect
from router.inference.reservations.estimate import Bounds
from router.inference.reservations.leases import TICK_S, Leases
from router.inference.reservations.line import RedisAway
from router.inference.reservations.rate_headers import rate_headers
from router.inference.reservations.refusals import BudgetExceeded, BudgetHeld, LimitsUnavailable, ModelUnpriced, RateLimited
from router.inference.reservations.rules import PICOUSD_PER_USD, Match, NoCalendar, Window
from warehouse.access.usage_rows import UsageEvent
from warehouse.base.clock import now

WAITING_MAX = 4000  # requests of one worker that wait for others' holds; above it they are refused at once
OF_ORGANIZATION_MAX = 1000  # of these, so that one organization keeps no other from waiting
CALLED_MAX = 8  # of those who wait for one window are asked for at a time, in their order; and as many of those behind them
CALL_S = 0.02  # between two looks at whether other workers have settled
_AGAIN_MAX = 5  # generations that one request follows


class Reservations:
    """Those of one worker."""

    def __init__(
        self,
        redis_url: str | None,
        *,
        life: int,
        connect: Connect,
        recorded: Callable[[], Awaitable[None]],
        budget_wait_s_max: float,
        workers: int = 1,
    ) -> None:
        """Args: life: names this worker.  connect: to the database.  recorded: waits until every row closed by now is in it.
        workers: how many there are at least, this one among them.
        """
        self._life, self._budget_wait_s_max = life, budget_wait_s_max
        self.accounts = Accounts(redis_url, life=life, connect=connect, recorded=recorded, workers=workers)
        self._line = self.accounts.line
        self.leases = Leases(self._line)
        self.waiting = 0
        self.counts: Counter[str] = Counter()
        """{admitted, shared, or the code of a refusal: how many}"""
        self._shadows: Counter[tuple[str, int, int]] = Counter()

    def is_free(self, org_id: int) -> bool:
        """Whether nothing bounds an organization, so that its requests need not reserve."""
        account = self.accounts.get(org_id)
        return account is not None and not account.stale and account.rules is not None and account.rules.is_empty

    def at_once(self, caller: Caller, model_id: int, at: datetime, most: Bounds) -> Hold | None:
        """Admit a request under a lease of its key, which nothing is waited for; None: `reserve` has to be asked."""
        account = self.accounts.get(caller.org_id)
        if account is None or account.stale or account.rules is None or account.queues or not most.is_priced:
            return None
        try:
            match = account.rules.match(caller, model_id, at)
        except NoCalendar:
            return None
        hold = Hold.of(account, match, caller, model_id, at, most=most)
        if not self.leases.take(hold):
            return None
        account.touched_s = time.monotonic()
        self.counts["admitted"] += 1
        return hold

    async def reserve(
        self, caller: Caller, model_id: int, at: datetime, most: Bounds, *, moved: Hold | None = None, left_s: float = math.inf
    ) -> Hold | None:
        """Admit a request that starts at an instant and can use that much at most; None where nothing bounds it.

        Args: moved: what it held of another model, before it was to go on to this one.
            left_s: of the request's whole time; it waits for others' holds no longer.
        Raises: RateLimited, BudgetExceeded, BudgetHeld, ModelUnpriced, LimitsUnavailable, NotReady. Then nothing is taken.
        """
        account = self.accounts.get(caller.org_id)
        if account is None or account.stale or account.rules is None:
            account = await self.accounts.of(caller.org_id)
        match = await self._match(account, caller, model_id, at, most=most)
        if not match:
            return None
        hold = Hold.of(account, match, caller, model_id, at, most=most)
        if moved is not None:
            hold.noted, hold.waited_s = moved.noted, moved.waited_s
        account.touched_s = time.monotonic()
        if not account.queues:
            if self.leases.take(hold):
                self.counts["admitted"] += 1
                return hold
            self.leases.note(hold)
        try:
            await self._take(hold, most, min(self._budget_wait_s_max - hold.waited_s, left_s))
        except RedisAway:
            return self._share(hold)
        except (RateLimited, BudgetExceeded, BudgetHeld, LimitsUnavailable) as error:
            if isinstance(error, LimitsUnavailable) and not hold.match.refuses:
                return self._share(hold)
            self.counts[error.code] += 1
            raise
        except asyncio.CancelledError:
            if hold.answer is not None:  # taken in the very turn in which the client left
                self.settle(hold)
            raise
        finally:
            if hold.queue is not None:
                self._leave_queue(hold)
        self.counts["admitted"] += 1
        return hold if hold.match else None

    async def _match(self, account: Account, caller: Caller, model_id: int, at: datetime, most: Bounds) -> Match:
        """What a request falls under by the rules of now.

        Raises: LimitsUnavailable: the database has been away for so long that nobody knows when this month ends.  ModelUnpriced.
        """
        assert account.rules is not None
        try:
            match = account.rules.match(caller, model_id, at)
        except NoCalendar:
            account.stale = True
            await self.accounts.of(caller.org_id)
            try:
                match = account.rules.match(caller, model_id, at)
            except NoCalendar as error:
                raise LimitsUnavailable("the calendar of the organization's time zone must be read from the database") from error
        if not most.is_priced and (held := next((window for window in match.windows if not window.rule.shadow), None)):
            self.counts[ModelUnpriced.code] += 1
            raise ModelUnpriced(held)
        return match

    async def _take(self, hold: Hold, most: Bounds, wait_s_max: float) -> None:
        """Raises: as `reserve`, RedisAway."""
        account, began_s, again = hold.account, time.monotonic(), 0
        rules = account.rules
        while True:
            if account.stale or account.rules is not rules:  # who waits is bound by what holds now
                await self.accounts.of(account.org_id)
                rules = account.rules
                hold.match = await self._match(account, hold.caller, hold.model_id, hold.started_at, most)
                if not hold.match:
                    return
            if await self._had_to_wait(hold, began_s + wait_s_max):
                continue
            asking = hold.asking = asyncio.get_running_loop().create_future()
            if not self._line.up:
                raise RedisAway
            self._line.send(hold.claim(), partial(self._answered, hold))
            answer = await asking
            if isinstance(answer, RedisAway):
                raise answer
            kind = answer[0]
            if kind in (SPENT, HELD):
                account.shares.refused(hold.match.windows[answer[1] - 1], *_amounts(answer))
            if kind == TAKEN:
                if hold.queue is not None:
                    hold.waited_s += time.monotonic() - began_s
                self._note(hold, answer, is_priced=most.is_priced)
                return
            if kind == HELD:
                await self._wait(hold, answer, began_s, wait_s_max)
                continue
            if kind == ELSEWHERE:
                again += 1
                if again > _AGAIN_MAX or time.monotonic() - began_s > OPEN_S_MAX + wait_s_max:
                    raise LimitsUnavailable("what has been spent is being summed up")
                await self._follow(hold, answer, most)
                continue
            raise _refusal(hold, answer)

    async def _had_to_wait(self, hold: Hold, until_s: float) -> bool:
        """For its account, or behind others, before it may ask; the rules may be others by then. Raises: as `Accounts.open`."""
        account = hold.account
        if hold.match.needs_account and not account.generation:
            await self.accounts.open(account)
            return True
        if not account.queues or hold.queue is not None:
            return False
        await self._stand_in_line(hold, until_s)
        return hold.queue is not None

    def _answered(self, hold: Hold, answer: Any) -> None:
        """The answer to a claim is there: it counts from this moment on, before the request itself gets to know."""
        asking = hold.asking
        assert asking is not None
        if not isinstance(answer, RedisAway) and answer[0] == TAKEN:
            account = hold.account
            hold.asked, hold.passed = hold.match, hold.match.passed(answer[1]) if answer[1] else ()
            hold.rates = hold.match.rates_without(hold.passed)
            if hold.match.needs_account and hold.generation != account.generation:
                answer = (ELSEWHERE, account.generation, 0)  # taken in an account that is no more
                if hold.match.limits and self._line.up:
                    self._line.send(hold.give_back(0, 0, hold.requests, running=hold.requests))
            else:
                hold.answer = answer
                account.holds[hold] = None
                if asking.cancelled():
                    self.settle(hold)
        if not asking.done():
            asking.set_result(answer)

    async def _follow(self, hold: Hold, answer: Any, most: Bounds) -> None:
        """The account is another one now, is not open yet, or lacks a window that is older than itself."""
        account = hold.account
        if answer[1] == account.generation and answer[2]:
            account.generation, account.doubtful = 0, True
        await self.accounts.open(account)
        hold.match = await self._match(account, hold.caller, hold.model_id, hold.started_at, most)

    async def _stand_in_line(self, hold: Hold, until_s: float) -> None:
        """Who comes later is not asked for before those who wait."""
        for window in hold.match.windows:
            if window.field in hold.account.queues and not self._is_full(hold.account):
                await self._turn(hold, window, until_s - time.monotonic())
                return

    async def _wait(self, hold: Hold, answer: Any, began_s: float, wait_s_max: float) -> None:
        """Until it may be worth asking again. Raises: BudgetHeld."""
        window = hold.match.windows[answer[1] - 1]
        waited_s = time.monotonic() - began_s
        left_s = wait_s_max - waited_s
        if left_s <= 0 or (hold.queue is None and self._is_full(hold.account)):
            used, spent = _amounts(answer)
            waited_s += hold.waited_s
            refusal = BudgetHeld.of(window, spent=spent, used=used, hold=hold.cost_picousd, waited_s=waited_s)
            refusal.lines = rate_headers(hold.match.meters, answer[-1])
            raise refusal
        await self._turn(hold, window, left_s)

    def _is_full(self, account: Account) -> bool:
        """Whether nobody else may wait."""
        return self.waiting >= WAITING_MAX or sum(map(len, account.queues.values())) >= OF_ORGANIZATION_MAX

    async def _turn(self, hold: Hold, window: Window, left_s: float) -> None:
        if hold.queue != window.field:
            if hold.queue is not None:
                self._leave_queue(hold)
            hold.account.queues.setdefault(window.field, {})[hold] = None
            hold.queue = window.field
            self.waiting += 1
        loop = asyncio.get_running_loop()
        turn = hold.turn = loop.create_future()
        timer = loop.call_later(left_s, _call, hold)
        try:
            await turn
        finally:
            timer.cancel()
            hold.turn = None

    def _leave_queue(self, hold: Hold) -> None:
        assert hold.queue is not None
        queue = hold.account.queues[hold.queue]
        del queue[hold]
        self.waiting -= 1
        if queue:
            self._call_next(queue)
        else:
            del hold.account.queues[hold.queue]
        hold.queue = None

    @staticmethod
    def _call_next(queue: dict[Hold, None], first: int = 0) -> None:
        for hold in islice(queue, first, first + CALLED_MAX):
            _call(hold)

    def _note(self, hold: Hold, answer: Any, *, is_priced: bool) -> None:
        asked = hold.asked
        assert asked is not None
        if answer[1] or not is_priced:
            counted = {
                ("budget", asked.windows[number - 1].rule.id) if number > 0 else ("limit", asked.limits[-number - 1].id)
                for number in answer[1]
            }
            if not is_priced:  # all that hold it are on trial, and would have refused it
                counted.update(("budget", window.rule.id) for window in asked.windows)
            for kind, rule_id in counted.difference(hold.noted):
                self._shadows[kind, rule_id, hold.account.org_id] += 1
            hold.noted = counted.union(hold.noted)
        hold.account.shares.told(asked, answer[4], answer[5])

    def _share(self, hold: Hold) -> Hold:
        """Redis is away. Raises: LimitsUnavailable, and what a share can refuse with."""
        account = hold.account
        try:
            self._take_share(account, hold)
        except (RateLimited, BudgetExceeded, LimitsUnavailable) as error:
            self.counts[error.code] += 1
            raise
        hold.generation, hold.answer = 0, None
        account.holds[hold] = None
        self.accounts.doubt([account])  # Redis knows nothing of it
        self.counts["shared"] += 1
        return hold

    def _take_share(self, account: Account, hold: Hold) -> None:
        match = hold.match
        if account.rules is None or (match.refuses and not account.rules.shares):
            raise LimitsUnavailable("Redis cannot be reached" if self.accounts.configured else "ROUTER_REDIS_URL is not set")
        running = account.running() if any(limit.requests_at_once is not None for limit in match.limits) else {}
        account.shares.take(
            match, hold.cost_picousd, hold.input_tokens, hold.output_tokens, workers=self.accounts.lives, running=running
        )

    def move(self, hold: Hold) -> None:
        """The request is asked for anew, of another model: it counts there, and here as none."""
        self.settle(hold, requests_back=1)

    def settle(
        self, hold: Hold, *, cost_picousd: int = 0, input_tokens: int = 0, output_tokens: int = 0, requests_back: int = 0
    ) -> None:
        """It has used that much; the rest goes back. The first call counts."""
        if hold.settled:
            return
        hold.settled = True
        if hold.lease is not None:
            hold.lease.settle(hold, cost_picousd, input_tokens, output_tokens, requests_back)
            return
        account = hold.account
        account.holds.pop(hold, None)
        account.touched_s = time.monotonic()
        if hold.answer is None:
            input_back, output_back = hold.input_tokens - input_tokens, hold.output_tokens - output_tokens
            account.shares.add(hold.match, cost_picousd - hold.cost_picousd)
            account.shares.give_back(hold.match, requests_back, max(input_back, 0), max(output_back, 0))
        is_told = self._line.up and (hold.generation or hold.answer is not None)
        if is_told:
            self._line.send(hold.settlement(cost_picousd, input_tokens, output_tokens, requests_back))
            if hold.rates is not None and hold.rates is not hold.match.rates:
                self._line.send(hold.give_back(input_tokens, output_tokens, requests_back))
        if is_told or hold.answer is None:
            account.shares.settled(hold.match, cost_picousd)
        if account.queues:
            for window in hold.match.windows:
                queue = account.queues.get(window.field)
                if queue:
                    self._call_next(queue)

    def settle_row(self, hold: Hold | None, caller: Caller, row: UsageEvent) -> None:
        """The row of an attempt is closed: it belongs to the account as it is at this instant, and so does its cost."""
        account = hold.account if hold is not None else self.accounts.get(row.org_id)
        if account is None:
            return
        row.router_life = account.number
        if row.charge_class != "charged":
            return  # another attempt may be made under the same hold
        cost_picousd = row.cost_picousd
        if cost_picousd is None:  # nobody knows it; it is not more than what was held
            cost_picousd = 0 if hold is None else hold.cost_picousd
        if hold is not None:
            self.settle(hold, cost_picousd=cost_picousd, input_tokens=row.input_tokens, output_tokens=row.output_tokens)
            if hold.generation or hold.lease is not None:
                return
        if account.generation and cost_picousd and row.model_id is not None:
            self._add_unheld(account, caller, row, row.model_id, cost_picousd)

    def _add_unheld(self, account: Account, caller: Caller, row: UsageEvent, model_id: int, cost_picousd: int) -> None:
        """A request that no budget bounded when it was admitted: it counts for one that was made meanwhile.

        So does one that took from limits alone, and had its answer when the account had been opened.
        """
        assert account.rules is not None
        match = account.rules.match(caller, model_id, row.started_at)
        if match.windows and not self._line.up:
            self.accounts.doubt([account])
        elif match.windows:
            amount = divmod(cost_picousd, PICOUSD_PER_USD)
            account.touched_s = time.monotonic()
            operation = (0, account.org_id, account.generation, 0, 0, *amount, 0, 0, match.fields, (), 0, 0, account.teller)
            self._line.send(operation)

    def number_of(self, org_id: int) -> int:
        """What rows of an organization have in `router_life` now."""
        account = self.accounts.get(org_id)
        return self._life if account is None else account.number

    @staticmethod
    def headers(hold: Hold | None) -> bytes:
        """What is left of the rate limits, as lines of HTTP."""
        if hold is None or hold.answer is None:
            return b""
        if hold.lease is not None:
            return hold.lease.headers
        return b"" if hold.asked is None else rate_headers(hold.asked.meters, hold.answer[2])

    def take_shadows(self) -> dict[tuple[str, int, int], int]:
        """{(budget or limit, its id, organization id): requests that it would have refused} since the last time."""
        taken, self._shadows = self._shadows, Counter()
        return dict(taken)

    def degraded(self) -> str | None:
        """What is not as it should be, if anything."""
        if not self.accounts.configured:
            return "ROUTER_REDIS_URL is not set: requests under a budget or a limit are refused"
        if self._line.up:
            return None
        what = f"refuses this router ({self._line.refusal})" if self._line.refusal else "cannot be reached"
        return f"{what}: requests under a budget or a limit are refused, or admitted by shares"

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Connected to Redis, for as long as it can be reached."""
        async with self.accounts.running():
            tasks = [asyncio.create_task(work(), name=work.__name__) for work in (self._call_waiting, self._lease)]
            try:
                yield
            finally:
                for task in tasks:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
                self.leases.end()

    async def _lease(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            self.leases.tick()

    async def _call_waiting(self) -> None:
        """What other workers settle nobody tells this one. Those behind the first may need less: they are looked at by turns."""
        looked = 0
        while True:
            await asyncio.sleep(CALL_S)
            if not self.waiting:
                continue
            looked += CALLED_MAX
            for account in self.accounts.all():
                for queue in account.queues.values():
                    self._call_next(queue)
                    if len(queue) > CALLED_MAX:
                        self._call_next(queue, CALLED_MAX + looked % (len(queue) - CALLED_MAX))


def _call(hold: Hold) -> None:
    if hold.turn is not None and not hold.turn.done():
        hold.turn.set_result(None)


def _amounts(answer: Any) -> tuple[int, int]:
    """(used, spent) in pico-dollars."""
    return answer[2] * PICOUSD_PER_USD + answer[3], answer[4] * PICOUSD_PER_USD + answer[5]


def _refusal(hold: Hold, answer: Any) -> RateLimited | BudgetExceeded:
    kind, number = answer[0], answer[1] - 1
    refusal: RateLimited | BudgetExceeded
    if kind == LIMITED:
        dimension = answer[2] - 1
        wanted = (1, hold.input_tokens, hold.output_tokens, 1)[dimension]
        refusal = RateLimited.of(hold.match.limits[number], dimension, wanted=wanted, wait_us=int(answer[3]))
    else:
        assert kind == SPENT
        used, spent = _amounts(answer)
        refusal = BudgetExceeded.of(hold.match.windows[number], spent=spent, used=used, hold=hold.cost_picousd, at=now())
    refusal.lines = rate_headers(hold.match.meters, answer[-1])
    return refusal
