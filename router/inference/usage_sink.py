"""From the journal to the hypertable: one batch of COPY at a time, trimmed only when committed.

Every attempt is an `Attempt`: opened before the engine is called, closed exactly once, whatever ends it. `close` does not
wait and does not raise on the way to the queue, so a cancelled task cannot stop half-way. A record of the journal is the row as
COPY takes it: an open record is the row that it becomes if nobody closes it.
"""

import asyncio
import contextlib
import logging
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from pathlib import Path
from uuid import UUID

import msgspec
from psycopg import AsyncConnection, Error
from psycopg.errors import CheckViolation, DataError, IntegrityError, NumericValueOutOfRange, ProtocolViolation, QueryCanceled

from warehouse.access import usage_events, usage_rows
from warehouse.access.usage_rows import UsageEvent
from warehouse.base.clock import now
from warehouse.base.files import write_whole
from warehouse.journal import DAMAGED, Journal, Recovered, Slot, Ticket, claim_orphans, claim_slot, recover

_LOG = logging.getLogger(__name__)
HEARTBEAT_S = 5.0  # how often a worker without rows says that it has none
ADOPT_S = 10.0  # between two looks for folders that nobody holds and that have rows
RETRY_S_MAX = 5.0  # between two tries while the database is away
RETRY_S_MIN = 0.5  # the same, whoever waits: one that is read-only, or full, refuses a batch within a millisecond
REPLAY_ROWS = 10_000
TURN_ROWS = 200  # of an earlier life that are looked at in one turn of the event loop, 2 to 3 ms: requests are served meanwhile
LIFE_FILE = "life"
REFUSED = ".refused"
RECORDED_S = 0.005  # between two looks at whether rows are committed
POSITION_ROWS_MAX = 50_000  # behind a batch: their starts are looked through in 5 ms; with more of them the position stays
_BAD_ROW = (CheckViolation, DataError, IntegrityError, NumericValueOutOfRange)
_TOO_LONG = QueryCanceled  # by `statement_timeout`: as many rows again would take as long, each time

Connect = Callable[[], contextlib.AbstractAsyncContextManager[AsyncConnection]]


class Attempt(msgspec.Struct, eq=False):
    """One attempt under way: its row so far, and its place in the journal."""

    event: UsageEvent | None
    """None once it is closed: a long outage keeps millions of rows in memory, each as `row` only."""
    beginning: bytes
    life: int | None
    """`router_life` in its beginning; the account of the organization may have been opened anew since."""
    ticket: Ticket
    row: bytes = b""
    """As it goes to the database; empty while it is open."""


class UsageSink:
    """The journal of this worker and the task that empties it into raw.usage_events."""

    def __init__(
        self,
        root: Path,
        connect: Connect,
        *,
        journal_bytes_max: int,
        flush_interval_s: float,
        flush_rows_max: int,
        worker_name: str,
        life: int,
    ) -> None:
        """Args: life: names this worker; who finds its folder after its death can tell whose it was."""
        self._root, self._connect = root, connect
        self._flush_interval_s, self._flush_rows_max = flush_interval_s, flush_rows_max
        self._slot: Slot = claim_slot(root)
        self._recovered: list[tuple[Slot, Recovered]] = [(self._slot, recover(self._slot.directory))]
        self._recovered += [(slot, recover(slot.directory)) for slot in claim_orphans(root)]
        self.lives_before = [before for slot, _ in self._recovered for before in _read_lives(slot)]
        """Workers that died, and whose rows are in the database once `replayed` is set."""
        self.orgs_before: set[int] = set()
        """Whose rows these were, as far as they have been written."""
        self.replayed = asyncio.Event()
        self._life = life
        self._worker_name = worker_name
        self._position_names: dict[Slot, str] = {}
        self._is_announced = False
        self._unemptied: list[Slot] = []
        # On a disk that is full already both fail, and are tried again together: no record without it.
        self.journal = Journal(self._slot.directory, bytes_max=journal_bytes_max, first=self._note_lives)
        self.journal.make_room()
        self._open: dict[Attempt, None] = {}
        self._expected: dict[UUID, datetime] = {}
        """Requests that wait and have no attempt open, with when they began."""
        self._closed: list[Attempt] = []
        self._wake = asyncio.Event()
        self._stopping = False
        self._adopt_at_s = time.monotonic() + ADOPT_S
        self.rows_written = 0
        self.rows_quarantined = sum(_kept_in(slot, REFUSED) for slot, _ in self._recovered)
        """Rows that lie in files of their own, those of earlier lives included: they are in no sum until somebody acts."""
        self.files_damaged = sum(_kept_in(slot, DAMAGED) + len(found.damaged) for slot, found in self._recovered)
        """The same of files that could not be read to their ends: what is behind may be rows that nobody else knows of."""
        self.database_error: str | None = None

    @property
    def rows_waiting(self) -> int:
        """Closed rows that the database does not have yet."""
        return len(self._closed)

    def open(self, event: UsageEvent) -> Attempt:
        """Record that an attempt begins: `event` is its row if this process dies.

        Raises: JournalFull, JournalFailed: then the engine must not be called.
        """
        return self._opened(event, usage_rows.beginning(event), usage_rows.ending(event))

    def begin(self, event: UsageEvent) -> Attempt:
        """The same for a row that is as `usage_rows.new` made it, but for what `usage_rows.beginning` has of it."""
        beginning = usage_rows.beginning(event)
        return self._opened(event, beginning, usage_rows.lost_ending(beginning))

    def _opened(self, event: UsageEvent, beginning: bytes, ending: bytes) -> Attempt:
        key = event.request_id.bytes + event.attempt.to_bytes(2, "little")
        attempt = Attempt(event, beginning, event.router_life, self.journal.open(key, beginning + ending))
        self._open[attempt] = None
        return attempt

    def close(self, attempt: Attempt) -> None:
        """Record how it ended: `attempt.event` is the row. A second call does nothing. Raises: JournalFailed."""
        if attempt.row:
            return
        event = attempt.event
        assert event is not None
        if event.router_life != attempt.life:
            attempt.beginning = usage_rows.beginning(event)
        attempt.row = attempt.beginning + usage_rows.ending(event)
        attempt.event, attempt.beginning = None, b""
        del self._open[attempt]
        self._closed.append(attempt)
        if len(self._closed) >= self._flush_rows_max:
            self._wake.set()
        self.journal.close(attempt.ticket, attempt.row)

    @contextlib.contextmanager
    def expecting(self, request_id: UUID, started_at: datetime) -> Iterator[None]:
        """Meanwhile a request waits, and will have a row: this worker is complete up to its start and no further."""
        self._expected[request_id] = started_at
        try:
            yield
        finally:
            del self._expected[request_id]

    async def announce(self, conn: AsyncConnection) -> None:
        """Before this worker has a row, the database knows that it may have: without a position it would pass for complete."""
        if not self._is_announced:
            complete_to = self._complete_to(0)
            assert complete_to is not None
            await usage_events.announce_position(conn, (self._position_name(self._slot), complete_to))
            self._is_announced = True

    async def run(self) -> None:
        """Write rows until `stop`, whatever the database does."""
        retry_s, heartbeat_at = self._flush_interval_s, 0.0
        while not (self._stopping and not self._closed):
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(retry_s):
                    await self._wake.wait()
            self._wake.clear()
            self.journal.make_room()
            if not self._closed and not self._recovered and time.monotonic() < heartbeat_at:
                continue
            try:
                await self._replay()
                await self._flush()
                await self._adopt()
            except (Error, OSError, TimeoutError) as error:
                if self.database_error is None:
                    _LOG.warning("usage rows wait for the database", extra={"error": type(error).__name__})
                self.database_error = type(error).__name__
                if self._stopping:
                    break
                await asyncio.sleep(RETRY_S_MIN)
                retry_s = min(max(retry_s * 2, RETRY_S_MIN), RETRY_S_MAX)
            else:
                self.database_error = None
                retry_s, heartbeat_at = self._flush_interval_s, time.monotonic() + HEARTBEAT_S

    async def recorded(self) -> None:
        """Wait until every row that is closed by now is in the database, or in its file where the database refuses it."""
        rows = self.rows_written + len(self._closed)
        while self.rows_written < rows:
            self._wake.set()
            await asyncio.sleep(RECORDED_S)

    def buried(self) -> None:
        """What `lives_before` held is free: nobody has to know of them any more. Raises: OSError: then call it again."""
        if self.lives_before:
            before, self.lives_before = self.lives_before, []
            try:
                self._note_lives()
            except OSError:
                self.lives_before = before
                raise

    async def stop(self, task: asyncio.Task[None]) -> None:
        """Write what is left if the database is there; otherwise the journal keeps it for the next start."""
        self._stopping = True
        self._wake.set()
        await task
        if not self._closed and not self._open and not self._recovered:
            with contextlib.suppress(Error, OSError, TimeoutError):
                async with self._connect() as conn:
                    await usage_events.forget_position(conn, self._position_name(self._slot))
            if not self.lives_before:
                with contextlib.suppress(OSError):  # of a folder that is read-only now: then it is buried once more
                    (self._slot.directory / LIFE_FILE).unlink(missing_ok=True)
        self.journal.shut()
        for slot in (self._slot, *self._unemptied):
            slot.release()

    async def _flush(self) -> None:
        """One transaction: at most `flush_rows_max` rows, and how far this worker is complete."""
        while True:
            batch = self._closed[: self._flush_rows_max]
            complete_to = self._complete_to(len(batch))
            position = None if complete_to is None else (self._position_name(self._slot), complete_to)
            try:
                async with self._connect() as conn:
                    await usage_events.add(conn, [attempt.row for attempt in batch], position)
            except (*_BAD_ROW, _TOO_LONG):
                await self._add_sound([attempt.row for attempt in batch], self._slot)
            del self._closed[: len(batch)]
            self.rows_written += len(batch)
            self.journal.committed(attempt.ticket for attempt in batch)
            if len(batch) < self._flush_rows_max:  # what came meanwhile waits for the next time: a COPY costs more than its rows
                return

    async def _add_sound(self, rows: Sequence[bytes], slot: Slot) -> None:
        """Add rows of which the database refuses some: those must not hold up the others. Halves of halves are tried.

        Raises: as `usage_events.replay`, and what it says where one row alone takes too long, too.
        """
        try:
            async with self._connect() as conn, conn.transaction():
                await usage_events.replay(conn, rows)
        except (*_BAD_ROW, _TOO_LONG, ProtocolViolation) as error:
            if isinstance(error, _TOO_LONG) and (self._stopping or len(rows) == 1):
                raise
            # Said of a field with too few bytes, which no row of ours has; and by poolers, of their own line to the database.
            if isinstance(error, ProtocolViolation) and len(rows) == 1 and _is_readable(rows[0]):
                raise
            if len(rows) == 1:
                self._set_aside(rows[0], slot, type(error).__name__)
                return
            middle = len(rows) // 2
            await self._add_sound(rows[:middle], slot)
            await self._add_sound(rows[middle:], slot)

    def _set_aside(self, row: bytes, slot: Slot, why: str) -> None:
        """Keep a row that cannot be added in a file of its own, on the disk before its record is trimmed."""
        if _is_readable(row):
            event = usage_rows.decode(row)
            name, text = f"{event.request_id}-{event.attempt}", msgspec.json.encode(event).decode()
        else:
            name, text = f"unreadable-{zlib.crc32(row):08x}", row.hex()
        path = slot.directory / f"{name}{REFUSED}"
        is_known = path.exists()  # set aside already, by a life that did not come to trim its record
        write_whole(path, text)
        self.rows_quarantined += not is_known
        _LOG.error("the database refuses a usage row", extra={"file": path.name, "why": why})

    async def _replay(self) -> None:
        """Rows of an earlier life of this worker, and of workers that do not come back."""
        while self._recovered:
            slot, found = self._recovered[0]
            rows = [*found.closed, *found.lost]
            for start in range(0, len(rows), REPLAY_ROWS):
                whole = await self._whole_of(rows[start : start + REPLAY_ROWS], slot)
                if whole:
                    await self._add_sound(whole, slot)
            if slot is not self._slot:
                async with self._connect() as conn:
                    await usage_events.forget_position(conn, self._position_name(slot))
            self._recovered.pop(0)  # only now: what the database was away for is done again
            self._discard(slot, found)
            if rows:
                _LOG.info("replayed the journal", extra={"rows": len(rows), "without_end": len(found.lost)})
        self.replayed.set()

    async def _whole_of(self, rows: Sequence[bytes], slot: Slot) -> list[bytes]:
        """Those that are rows; the others are set aside."""
        whole: list[bytes] = []
        for start in range(0, len(rows), TURN_ROWS):
            for row in rows[start : start + TURN_ROWS]:
                if usage_rows.is_whole(row):
                    whole.append(row)
                else:
                    self._set_aside(row, slot, "no row of any version before this one")
            await asyncio.sleep(0)
        self.orgs_before.update(map(usage_rows.org_id, whole))
        return whole

    def _discard(self, slot: Slot, found: Recovered) -> None:
        """Remove what is in the database; where that cannot be, no row waits for it, and nobody reads it in this life."""
        try:
            found.discard()
            if slot is not self._slot:
                (slot.directory / LIFE_FILE).unlink(missing_ok=True)
                slot.release()
        except OSError:
            self._unemptied += [slot] if slot is not self._slot else []
            _LOG.exception("journal files whose rows are in the database cannot be removed", extra={"folder": slot.number})

    async def _adopt(self) -> None:
        """Take over a folder that nobody holds, one at a time: its rows would otherwise wait for the next start.

        Workers leave theirs so when all are replaced while the database is away. It is looked for only now that the database
        is there: what is read takes memory.
        """
        if self._stopping or time.monotonic() < self._adopt_at_s:
            return
        self._adopt_at_s = time.monotonic() + ADOPT_S
        try:
            for slot in claim_orphans(self._root):
                if await self._is_taken_over(slot):
                    return
        except OSError as error:  # a folder of another owner; the rows of this worker are written all the same
            _cannot_be_read(error)

    async def _is_taken_over(self, slot: Slot) -> bool:
        """A folder that cannot be read keeps nobody from the next one."""
        try:
            await self._take_over(slot)
        except (OSError, RuntimeError) as error:  # or this process may have no more threads
            _cannot_be_read(error)
            return False
        return True

    async def _take_over(self, slot: Slot) -> None:
        try:
            found, lives = await asyncio.to_thread(recover, slot.directory), _read_lives(slot)
            before = self.lives_before
            self.lives_before = [*before, *lives]
            try:
                self._note_lives()  # before their own note of it goes
            except OSError:
                self.lives_before = before
                raise
        except BaseException:
            slot.release()
            raise
        self.replayed.clear()
        self.rows_quarantined += _kept_in(slot, REFUSED)
        self.files_damaged += _kept_in(slot, DAMAGED) + len(found.damaged)
        self._recovered.append((slot, found))
        self._adopt_at_s = 0.0  # there may be another one
        self._wake.set()

    def _complete_to(self, batch_rows: int) -> datetime | None:
        """The start of the oldest request that has a row to come, or this instant. None: too many to look through."""
        if len(self._closed) - batch_rows > POSITION_ROWS_MAX:
            return None
        starts = [usage_rows.started_at(attempt.row) for attempt in self._closed[batch_rows:]]
        # Not only the first: an attempt that is made after a wait, or a second one, is of a request that began earlier.
        starts += [attempt.event.started_at for attempt in self._open if attempt.event is not None]
        starts += self._expected.values()
        return min(starts, default=now())

    def _note_lives(self) -> None:
        """Those before this one, too, until they are buried: this one may die before it has done that."""
        write_whole(self._slot.directory / LIFE_FILE, " ".join(map(str, [*self.lives_before, self._life])))

    def _position_name(self, slot: Slot) -> str:
        """The name stays with the folder: under a new host name the position of the old one would never move again.

        Another folder on the same host has another name, and the same folder the same one even after its disk was lost.
        """
        name = self._position_names.get(slot)
        if name is None:
            path = slot.directory / "position"
            name = _name_in(path)
            if name is None:
                name = f"{self._worker_name}/{zlib.crc32(str(self._root.resolve()).encode()):08x}/{slot.number}"
                try:
                    write_whole(path, name)
                except OSError:  # a full disk: rows do not wait for it, and the next batch tries again
                    return name
            self._position_names[slot] = name
        return name


def _cannot_be_read(error: Exception) -> None:
    _LOG.exception("rows of a worker that has ended cannot be read", extra={"error": type(error).__name__})


def _is_readable(row: bytes) -> bool:
    """Whether it has the fields of a row, and in each a value of its kind."""
    if not usage_rows.is_whole(row):
        return False
    try:
        return bool(msgspec.json.encode(usage_rows.decode(row)))
    except (ValueError, OverflowError):
        return False


def _name_in(path: Path) -> str | None:
    """None where there is none yet, or where the disk has lost it: rows do not wait for their worker's name."""
    try:
        name = path.read_text()
    except (OSError, UnicodeDecodeError):
        return None
    return name if name and name.isprintable() else None


def _read_lives(slot: Slot) -> list[int]:
    """Workers that had this folder and did not end well, and whose deaths have not been dealt with."""
    path = slot.directory / LIFE_FILE
    return [int(life) for life in path.read_bytes().split() if life.isdigit()] if path.is_file() else []


def _kept_in(slot: Slot, kind: str) -> int:
    return len(list(slot.directory.glob(f"*{kind}")))
