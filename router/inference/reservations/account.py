"""What one worker knows of one organization: its rules, what its own requests hold, and who waits."""

import asyncio
import secrets
from collections.abc import Callable, Collection
from datetime import datetime
from typing import TYPE_CHECKING, Any

import msgspec

from router.inference.auth import Caller
from router.inference.reservations.estimate import Bounds
from router.inference.reservations.rules import PICOUSD_PER_USD, Match, Rules
from router.inference.reservations.shares import Shares

if TYPE_CHECKING:
    from router.inference.reservations.leases import Lease

TAKEN, LIMITED, SPENT, HELD, ELSEWHERE = range(5)
"""The first number of an answer of reservations.lua."""


class Account:
    """An organization as this worker has it."""

    def __init__(self, org_id: int, life: int) -> None:
        self.org_id, self._life = org_id, life
        self.rules: Rules | None = None
        self.stale = True
        """The rules have changed, or were never read."""
        self.changes = 0
        """Announced so far; a reading that began before the last one is not the last."""
        self.generation = 0
        """Of the account in Redis that this worker's holds are in; 0: none is known."""
        self.rules_told: Rules | None = None
        """Those by which what this worker holds was told in `generation`."""
        self.told = self.joined = 0
        """The last generation that was told what this worker holds, and the last one in which it has done its part."""
        self.doubtful = False
        """Redis may lack something of this worker: what it holds must be told in another generation than `told`."""
        self.was_away = False
        """Others may have taken this worker for dead."""
        self.renumber()
        self.holds: dict[Hold, None] = {}
        self.queues: dict[str, dict[Hold, None]] = {}
        """{window: who waits for the holds of others in it}, in order."""
        self.reading: asyncio.Task[None] | None = None
        self.opening: asyncio.Task[None] | None = None
        self.joining: asyncio.Task[None] | None = None
        self.renewing: asyncio.Task[None] | None = None
        self.failed_s = self.touched_s = 0.0
        self.shares = Shares()

    def running(self) -> dict[int, int]:
        """{limit: requests of this worker that count as under way}."""
        counts: dict[int, int] = {}
        for hold in self.holds:
            for limit in hold.match.limits:
                if limit.id not in hold.passed:
                    counts[limit.id] = counts.get(limit.id, 0) + hold.requests
        return counts

    def renumber(self) -> None:
        """Rows that are closed from now on can be told from those before."""
        self.number = secrets.randbelow(2**31)
        """Written into rows, so that a sum over rows can leave out those that Redis counts. A random one that fits the column;
        two of the same would have to live at once to be confused."""
        self.teller = f"{self._life}.{self.number}"
        """Under this Redis keeps what this worker tells of those rows, for the case that it dies before they are written."""


class Hold(msgspec.Struct, eq=False):
    """What one request reserves, from its claim to its settlement."""

    account: Account
    match: Match
    caller: Caller
    model_id: int
    started_at: datetime
    cost_picousd: int
    input_tokens: int
    output_tokens: int
    requests: int = 1
    lease: "Lease | None" = None
    """What it was taken from, where it did not ask Redis itself."""
    renewed: Callable[[], None] | None = None
    """Called before what it holds is told in a new generation."""
    generation: int = 0
    answer: Any = None
    asked: Match | None = None
    """By what it was admitted, and what `answer` is about: `match` follows the rules."""
    passed: Collection[int] = ()
    """Ids of the limits on trial that would have refused it: it has taken nothing from them."""
    noted: Collection[tuple[str, int]] = ()
    """Rules on trial that have counted this request, of other models too: each counts it once."""
    rates: msgspec.Raw | None = None
    """The limits that it has taken requests and tokens from, which get back what it did not use."""
    asking: asyncio.Future[Any] | None = None
    queue: str | None = None
    turn: asyncio.Future[None] | None = None
    waited_s: float = 0.0
    """For others' holds, of other models too."""
    settled: bool = False

    @classmethod
    def of(cls, account: Account, match: Match, caller: Caller, model_id: int, at: datetime, *, most: Bounds) -> "Hold":
        """The most that a request of this caller can use of a model, which begins at an instant."""
        return cls(account, match, caller, model_id, at, most.cost_picousd, most.input_tokens, most.output_tokens)

    def claim(self) -> tuple[Any, ...]:
        """As reservations.lua reads it."""
        match, account = self.match, self.account
        self.generation = account.generation if match.needs_account else 0
        return (
            1, account.org_id, self.generation, *divmod(self.cost_picousd, PICOUSD_PER_USD), self.input_tokens,
            self.output_tokens, match.budgets, match.rates, int(match.needs_account), self.requests, account.teller,
        )  # fmt: skip

    def settlement(self, cost_picousd: int, input_tokens: int, output_tokens: int, requests_back: int) -> tuple[Any, ...]:
        """As reservations.lua reads it."""
        match = self.match
        input_back, output_back = self.input_tokens - input_tokens, self.output_tokens - output_tokens
        if self.rates is not match.rates:
            input_back = output_back = requests_back = 0
        return (
            0, self.account.org_id, self.generation, *divmod(self.cost_picousd, PICOUSD_PER_USD),
            *divmod(cost_picousd, PICOUSD_PER_USD),
            input_back if input_back > 0 else 0, output_back if output_back > 0 else 0, match.fields,
            match.rates_without(self.passed), 1, requests_back, self.account.teller,
        )  # fmt: skip

    def give_back(self, input_tokens: int, output_tokens: int, requests: int, *, running: int = 0) -> tuple[Any, ...]:
        """The same for the limits alone that it has taken from. Args: requests: that were none.  running: that no more are."""
        return (
            0, self.account.org_id, self.generation, 0, 0, 0, 0, max(self.input_tokens - input_tokens, 0),
            max(self.output_tokens - output_tokens, 0), (), self.rates, running, requests, self.account.teller,
        )  # fmt: skip
