"""Accounts of organizations in Redis: opened from rows, and opened anew whenever Redis may lack something.

Redis is a cache of the truth. An account is opened in a new *generation*:

1. One router begins it. Every router that lives learns of it with its next beat.
2. Each reads the rules anew, and at one instant (between two turns of its event loop) gives the rows that it closes from then
   on another number, and tells Redis what its requests under way hold. What it settles from then on is told to Redis.
3. When all rows that it closed before are in the database, it says so, with its new number and the budgets that it knows.
   Where the routers do not know the same ones, the next generation begins.
4. The last one sums up the rows of all windows without those of the new numbers, adds the sums, and the account is open.

So each row counts once: in the sum, or in what was told. A window that begins after its account did begins with nothing, if its
budget was summed up then, and nothing has to happen at midnight. A new budget, one that was soft meanwhile, another time zone, a
flushed Redis, a lost connection, a router that died and the journal of a router that came back are all the same case: the next
generation.
"""

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Coroutine, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from psycopg import AsyncConnection, Error
from psycopg_pool import PoolTimeout

from router.inference.reservations.account import Account
from router.inference.reservations.line import Line, RedisAway
from router.inference.reservations.refusals import LimitsUnavailable
from router.inference.reservations.rules import PICOUSD_PER_USD, NoCalendar, Rules
from warehouse.access import spend_rules
from warehouse.base.clock import now
from warehouse.base.errors import NotReady

_LOG = logging.getLogger(__name__)
BEAT_S = 0.2
LIFE_S = 5.0  # a router that has not beaten for this long is dead
HELD_S_MAX = 900.0  # for which what it held stays held, unless its journal is read: it may have answered that, and told nobody
BEGIN_S_MAX = 1.0  # for which a start waits for Redis
OPEN_S_MAX = 3.0  # for which a request waits for its account to be opened
ACCOUNTS_MAX = 50_000  # organizations that one worker remembers; above it those without holds are forgotten
LOOK_S = 0.02
AGAIN_S = 0.1  # after which a step that nobody has finished is taken again
READ_S = 1.0  # between two tries to read rules while the database is away, and for which a request waits for them
RENEWED_S = 7 * 86_400  # after which an account is opened anew: windows of the past, and what was told of them, go
LATE = timedelta(hours=1)  # a request under way may be of the window before
_ALL_JOINED, _NO_MORE = 1, 2  # how an answer to `joined` begins
_AWAY = (Error, PoolTimeout, OSError)

Work = Callable[..., Coroutine[Any, Any, None]]
Connect = Callable[[], contextlib.AbstractAsyncContextManager[AsyncConnection]]


class Accounts:
    """Those of one worker."""

    def __init__(
        self, url: str | None, *, life: int, connect: Connect, recorded: Callable[[], Awaitable[None]], workers: int
    ) -> None:
        """Args: recorded: waits until every row closed by now is in the database.  workers: that live, until Redis tells."""
        self._life, self._connect, self._recorded = life, connect, recorded
        self.line = Line(url or "redis://", self._closed)
        self.configured = url is not None
        self._of: dict[int, Account] = {}
        self.get = self._of.get
        """The account of an organization by its id, None where this worker has not served it."""
        self._alive = asyncio.Event()
        self.lives = workers
        self.openings = 0
        self._tasks: set[asyncio.Task[None]] = set()

    def all(self) -> Iterator[Account]:
        """Every account of this worker."""
        return iter(self._of.values())

    async def of(self, org_id: int) -> Account:
        """The account with its rules. Raises: NotReady: they have never been read, and the database is away."""
        account = self._of.get(org_id)
        if account is None:
            if len(self._of) >= ACCOUNTS_MAX:
                for org in [org for org, kept in self._of.items() if not kept.holds and not kept.queues]:
                    del self._of[org]
            account = self._of[org_id] = Account(org_id, self._life)
        if account.stale or account.rules is None:
            await self._read_once(account)
        return account

    def changed(self, org_id: int | None) -> None:
        """The rules of an organization, or of any, may have changed."""
        for account in self._of.values() if org_id is None else filter(None, [self._of.get(org_id)]):
            account.stale, account.failed_s = True, 0.0
            account.changes += 1

    async def _read_once(self, account: Account) -> None:
        """Until the rules are those that were announced last. Raises: NotReady."""
        known = account.rules is not None
        if known and account.reading is None and time.monotonic() - account.failed_s < READ_S:
            return  # the database is away: the rules are used as they were
        try:
            async with asyncio.timeout(READ_S if known else OPEN_S_MAX):
                while account.stale or account.rules is None:
                    await asyncio.shield(self._once(account, "reading", self._read, account))
        except _AWAY as error:
            if account.rules is None:
                raise NotReady("the database that knows the budgets and limits cannot be reached", retry_after_s=1) from error

    async def _read(self, account: Account) -> None:
        changes = account.changes
        try:
            async with self._connect() as conn:
                account.rules = Rules(await spend_rules.of_organization(conn, account.org_id))
        except BaseException:
            account.failed_s = time.monotonic()
            raise
        account.stale = account.changes != changes  # until then nobody goes by the rules of before

    async def open(self, account: Account) -> None:
        """Wait until the account is open, opening it if nobody else does. Raises: LimitsUnavailable, RedisAway."""
        try:
            async with asyncio.timeout(OPEN_S_MAX):
                await asyncio.shield(self._once(account, "opening", self._open, account))
        except TimeoutError as error:
            raise LimitsUnavailable("what has been spent is being summed up") from error
        except _AWAY as error:
            raise LimitsUnavailable("the database cannot be reached, and what has been spent must be summed up") from error

    async def _open(self, account: Account) -> None:
        org_id, line = account.org_id, self.line
        while True:
            generation, opened = await line.ask("look", org_id, self._life)
            if not generation or (account.doubtful and (opened or generation == account.told)):
                generation, opened = await line.ask("begin", org_id, generation), 0
            if account.generation != generation and opened:
                account.generation = account.joined = generation  # opened while this worker had nothing to tell
                account.rules_told = account.rules
            if account.generation != generation:
                await asyncio.shield(self._once(account, "joining", self._join, account, generation))
            if opened:
                return
            await asyncio.sleep(LOOK_S)

    async def _join(self, account: Account, generation: int) -> None:
        """Steps 2 to 4. Raises: RedisAway, the database's."""
        if account.generation != generation:
            await self._read(account)
            await self._tell_holds(account, generation)
        await self._recorded()
        rules = account.rules_told
        assert rules is not None
        while True:
            answer = await self.line.ask(
                "joined", account.org_id, generation, self._life, account.number, rules.budgets_digest, int(account.was_away)
            )
            account.joined = generation
            account.was_away &= answer[0] == _NO_MORE
            if answer[0] == _ALL_JOINED:
                await self._sum_up(account, generation, rules, answer[1:])
            if answer[0]:
                return
            await asyncio.sleep(AGAIN_S)

    async def _tell_holds(self, account: Account, generation: int) -> None:
        """From one instant on, before anything is awaited, rows have another number and settlements go to the new generation."""
        assert account.rules is not None
        if not self.line.up:
            raise RedisAway
        account.generation = account.told = generation
        account.rules_told = account.rules
        account.doubtful = False
        account.renumber()
        amounts: dict[str, int] = {}
        for hold in account.holds:
            if hold.renewed is not None:
                hold.renewed()
            hold.match, hold.generation = account.rules.match(hold.caller, hold.model_id, hold.started_at), generation
            for window in hold.match.windows:
                amounts[window.field] = amounts.get(window.field, 0) + hold.cost_picousd
        flat = [value for limit_and_count in account.running().items() for value in limit_and_count]
        account.shares.keep({window.field for window in account.rules.windows_at(_lately())})
        told = (_flat(amounts), flat, account.teller, _flat(account.shares.heard))
        await self.line.ask("join", account.org_id, generation, *told)

    async def _sum_up(self, account: Account, generation: int, rules: Rules, known: Sequence[Any]) -> None:
        """Of the budgets that every router has held since it joined; one that is newer is for the next generation.

        Args: known: as Redis answers to the one that sums up.
        """
        numbers, told, heard = known
        windows = rules.windows_at(_lately())
        spent: Sequence[int] = ()
        of_the_dead: Mapping[tuple[int, int], int] = {}
        if windows:
            dead = {number for number, *_ in told}
            ranges = [(window.rule.id, window.starts_at, window.ends_at) for window in windows]
            async with self._connect() as conn:
                spent = await spend_rules.spent(conn, ranges, [*numbers, *dead])
                of_the_dead = await spend_rules.spent_of(conn, ranges, dead) if dead else {}
        sums = _summed([window.field for window in windows], spent, of_the_dead, told, heard)
        self.openings += await self.line.ask("open", account.org_id, generation, *map(_flat, sums))

    async def bury(self, lives: Collection[int], orgs: Collection[int]) -> None:
        """Routers that died have their rows, of these organizations, in the database now: they are summed up anew."""
        for life in lives if self.configured else ():
            while True:
                try:
                    await self.line.ask("bury", life, list(orgs))
                    break
                except RedisAway:
                    await asyncio.sleep(BEAT_S)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Connected and beating; a clean end leaves nothing behind."""
        if not self.configured:
            yield
            return
        async with self.line.running():
            beating = asyncio.create_task(self._beat(), name="beat")
            # Others know of this worker before it serves; one that starts without Redis says later what it has served.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(BEGIN_S_MAX):
                    await self._alive.wait()
            try:
                yield
            finally:
                beating.cancel()
                for task in [beating, *self._tasks]:
                    task.cancel()
                await asyncio.gather(beating, *self._tasks, return_exceptions=True)
                await self.leave()

    async def leave(self) -> None:
        """Say farewell; what this worker has not done to its end, others begin anew."""
        with contextlib.suppress(RedisAway):
            for account in self._of.values():
                if account.holds or account.generation != account.joined:
                    await self.line.ask("begin", account.org_id, account.generation)
            await self.line.ask("leave", self._life, int(await self._all_is_recorded()), int(HELD_S_MAX * 1000))

    async def _all_is_recorded(self) -> bool:
        """Whether the database has every row; otherwise they stay in the journal until a worker takes it over."""
        try:
            async with asyncio.timeout(LOOK_S):
                await self._recorded()
        except TimeoutError:
            return False
        return True

    async def _beat(self) -> None:
        while True:
            await self.line.connected.wait()
            try:
                times_ms = int(LIFE_S * 1000), int(HELD_S_MAX * 1000)
                lived, lives, opening = await self.line.ask("beat", self._life, *times_ms, self.line.run_id)
            except RedisAway:
                continue
            self.lives = lives if lived else max(lives, self.lives)  # after a flush others have not come back yet
            if not lived:  # accounts may have been opened without this worker, which has served meanwhile
                self.doubt(self._of.values())
                for account in self._of.values():
                    account.was_away = True
            self._alive.set()
            for org_id, generation in zip(opening[::2], opening[1::2], strict=True):
                self._take_part(int(org_id), int(generation))
            for account in self._of.values():
                if account.doubtful:
                    self._once(account, "opening", self._open, account)
            self._renew_one()
            await asyncio.sleep(BEAT_S)

    def _renew_one(self) -> None:
        """Of the accounts that are old: with each beat one, so that most are open at any time."""
        before_us, tried_s = (time.time() - RENEWED_S) * 1e6, time.monotonic() - READ_S
        for account in self._of.values():
            if 0 < account.generation < before_us and account.failed_s < tried_s:
                self._once(account, "renewing", self._renew, account)
                return

    async def _renew(self, account: Account) -> None:
        """Where the database is there: without it nobody could sum up, and the old account serves."""
        generation = account.generation
        await self._read(account)
        if account.generation == generation:
            self.doubt([account])

    def _take_part(self, org_id: int, generation: int) -> None:
        """This worker's part in an opening that another has begun, or that nobody has finished."""
        account = self._of.get(org_id)
        if account is None:
            account = self._of[org_id] = Account(org_id, self._life)
        if account.joining is not None or (account.doubtful and account.told == generation):
            return
        self._once(account, "joining", self._join, account, generation)

    def _closed(self) -> None:
        """What was asked last may be lost: of those who asked lately, and of whoever holds something."""
        recent_s, at = time.monotonic() - LIFE_S, now()
        for account in self._of.values():
            if account.rules is not None:
                account.shares.lost(at, account.rules.names)
        self.doubt([account for account in self._of.values() if account.holds or account.touched_s > recent_s])

    def doubt(self, accounts: Collection[Account]) -> None:
        """Redis may not have been told of something: they are opened anew."""
        for account in accounts:
            if account.generation or account.holds or not (account.rules is None or account.rules.is_empty):
                account.generation, account.doubtful = 0, True

    def _once(self, account: Account, name: str, work: Work, *values: Any) -> asyncio.Task[None]:
        """The task of this name of an account: the one under way, or a new one.

        Never one that has ended: who awaits that again and again, until things are as they should be, keeps everybody waiting.
        """
        task: asyncio.Task[None] | None = getattr(account, name)
        if task is None or task.done():
            task = asyncio.create_task(work(*values), name=name)
            setattr(account, name, task)
            self._tasks.add(task)
            task.add_done_callback(lambda done: self._ended(account, name, done))
        return task

    def _ended(self, account: Account, name: str, task: asyncio.Task[None]) -> None:
        """What failed is tried again by whoever needs it next, or with the next beat."""
        if getattr(account, name) is task:
            setattr(account, name, None)
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None and not isinstance(error, (RedisAway, NoCalendar, *_AWAY)):
            _LOG.error("task %s failed", task.get_name(), exc_info=error)


def _lately() -> list[datetime]:
    """Windows at these instants may have requests under way."""
    at = now()
    return [at, at - LATE]


def _summed(
    fields: Sequence[str],
    spent: Sequence[int],
    of_the_dead: Mapping[tuple[int, int], int],
    told: Sequence[Any],
    heard: Sequence[Any],
) -> tuple[dict[str, int], dict[str, int], dict[str, int]]:
    """What is settled in each window, what the dead hold, and what of the settled nobody can explain.

    Args: spent: by rows but for those of routers that are dead and had told of theirs.  of_the_dead: {(which window, number):
    by theirs}.  told: {number, window, settled, held} of them.  heard: {window, amount} before Redis lost what it knew.
    """
    said = {(number, field): (_picousd(*amounts[:2]), _picousd(*amounts[2:])) for number, field, *amounts in told}
    before = {field: _picousd(*amount) for field, *amount in heard}
    settled, held, unknown = {}, {}, {}
    for at, field in enumerate(fields):
        # Of what a dead router told none, some or all is in rows by now, and they may have more.
        all_ = [
            (*said.get((number, field), (0, 0)), of_the_dead.get((at, number), 0)) for number in {number for number, *_ in told}
        ]
        summed = spent[at] + sum(max(said_, rows) for said_, _, rows in all_)
        # What it held it may have answered without telling, and the rows of that may be there.
        held[field] = sum(max(said_ + holds - max(said_, rows), 0) for said_, holds, rows in all_)
        # What Redis lost is in no amount that was told; so what was told since then comes on top of what was heard before.
        settled[field] = max(summed, before.get(field, 0) + sum(said_ for said_, _, _ in all_))
        if settled[field] > summed:
            unknown[field] = settled[field] - summed
    return settled, held, unknown


def _picousd(usd: int, picousd: int) -> int:
    return usd * PICOUSD_PER_USD + picousd


def _flat(amounts: dict[str, int]) -> list[str | int]:
    """As accounts.lua reads amounts: window, dollars, pico-dollars, and so on."""
    return [value for field, picousd in amounts.items() for value in (field, *divmod(picousd, PICOUSD_PER_USD))]
