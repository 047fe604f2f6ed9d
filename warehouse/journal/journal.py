"""The journal of one worker: append before acting, fsync in groups, trim what the database has.

A record is written into mapped pages of a file, which are the kernel's: it survives `kill -9` of the process without a system
call for it. `durable()` waits for the disk as well: at once when nobody was waiting, otherwise together with everybody who
comes meanwhile. Every file is allocated whole when it is begun, and an open record takes the room of its close record with
it: a disk that fills up refuses new work, never the end of what had begun.
"""

import asyncio
import contextlib
import errno
import logging
import mmap
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from queue import SimpleQueue

import msgspec

from warehouse.base.errors import InferhouseError
from warehouse.journal.frames import END, Kind, encode

_LOG = logging.getLogger(__name__)

END_BYTES = len(END)
CLOSE_SLACK_BYTES = 256  # by which a close record may be longer than its open record: counts, times, an error code
QUICK_S = 0.003  # the event loop itself waits for a disk that takes no longer than this
SLOW_FOR = 20  # times as long as it took when it took longer, a thread waits for it: the loop stands still a 20th of its time
UNEVEN_S = 0.001  # a disk that once takes longer than this
WARY_S = 2.0  # is waited for by the thread for so long where few wait: who comes meanwhile is not held up
CROWD = 4  # callers who wait: then others are let come before the sync, which costs as much processor as a request
SPARES = 2  # files that are kept to be written again: a sync of new room costs half as much processor again (decision 0069)
TURNS_MAX = 8  # of the event loop, for which they are
GATHER_S = 0.0002  # the thread's pause before the next sync, for each caller that came during the last
GATHER_S_MAX = 0.002


_FREE_SOME = "free some of the disk that ROUTER_JOURNAL_DIR is on"
_WRITABLE = "ROUTER_JOURNAL_DIR must be there, and the router's user must be able to write to it"
_FILES = "raise the bound on open files (ulimit -n)"
_MENDED_BY: Mapping[int | None, str] = {
    errno.EROFS: _WRITABLE, errno.EACCES: _WRITABLE, errno.EPERM: _WRITABLE, errno.ENOENT: _WRITABLE,
    errno.EMFILE: _FILES, errno.ENFILE: _FILES,
}  # fmt: skip


class JournalFull(InferhouseError):
    """The journal has reached its stated size: the database has been away for long. Nothing was promised."""

    status, code = 503, "usage_journal_full"


class JournalFailed(InferhouseError):
    """The journal's disk refused room or an fsync. Nothing was promised."""

    status, code = 503, "usage_journal_failed"


Then = Callable[[JournalFailed | None], None]
"""What is done when records are on the disk, or the disk has refused them."""


@dataclass(slots=True, eq=False)
class Segment:
    """One file: where the next record goes, the room promised to close records, and the attempts that the database lacks."""

    path: Path
    fd: int
    pages: mmap.mmap
    end: int = 0
    promised: int = 0
    outstanding: int = 0
    written: int = 0
    synced: int = 0
    """Of the records `written`, those that are on the disk; only who syncs changes it."""


class Ticket(msgspec.Struct, eq=False):
    """One open record, until the database has its row; its close record goes into the same file."""

    key: bytes
    segment: Segment
    promised: int
    size: int
    """Of its records so far, in bytes."""


class Journal:
    """Appends to files of `directory`, which this process owns. Not thread-safe: it belongs to one event loop."""

    def __init__(
        self,
        directory: Path,
        *,
        bytes_max: int,
        segment_bytes: int = 4 * 1024 * 1024,
        first: Callable[[], None] | None = None,
    ) -> None:
        """Args:
        bytes_max: size of the records that the database lacks at which `open` refuses.
        segment_bytes: size of a file, allocated at once.
        first: puts on the disk what must be there before any record. OSError from it is a disk without room.
        """
        self._first = first
        self._directory, self._bytes_max, self._segment_bytes = directory, bytes_max, segment_bytes
        self.lacking_bytes = 0
        """Of records that the database does not have."""
        self.error: str | None = None
        """Why there is no room for another file, from the first try that failed to one that does not."""
        self._segments: list[Segment] = []
        names = [path.stem for path in directory.glob("*.journal")]  # a copy that somebody left has another name, and is read too
        self._number = max((int(name) for name in names if name.isascii() and name.isdigit()), default=0)
        self._segment: Segment | None = None
        self._spares: list[Segment] = []
        self._retired: list[Segment] = []
        self._syncer = _Syncer(self._segments)

    @property
    def file_bytes(self) -> int:
        """Of all records: a file in which one attempt is outstanding keeps those that the database has, too."""
        return sum(segment.end for segment in self._segments)

    @property
    def is_full(self) -> bool:
        """Whether `open` refuses."""
        return self.lacking_bytes >= self._bytes_max

    def make_room(self) -> None:
        """Have a file to write to before it is needed, or look whether there is room for one again; `error` tells."""
        with contextlib.suppress(JournalFailed):
            if self._segment is None:
                self._begin_segment(0)
            elif self.error:
                self._spares.append(self._new_segment(0))

    def open(self, key: bytes, payload: bytes) -> Ticket:
        """Record that work for this key begins. Raises: JournalFull, JournalFailed."""
        if self.lacking_bytes >= self._bytes_max:
            raise JournalFull(f"the usage journal is at its limit of {self._bytes_max} bytes; the database must come back first")
        frame = encode(Kind.OPEN, key, payload)
        size = len(frame)
        promised = size + CLOSE_SLACK_BYTES
        segment = self._segment
        needed = size + promised + END_BYTES
        if segment is None or segment.end + segment.promised + needed > len(segment.pages):
            segment = self._begin_segment(needed)
        segment.promised += promised
        segment.outstanding += 1
        self._append(segment, frame, size)
        return Ticket(key, segment, promised, size)

    def close(self, ticket: Ticket, payload: bytes) -> None:
        """Record how it ended. Goes above `bytes_max` where it must: what began is recorded.

        Raises: JournalFailed: the record is longer than its open record by more than CLOSE_SLACK_BYTES.
        """
        frame = encode(Kind.CLOSE, ticket.key, payload)
        size = len(frame)
        if size > ticket.promised:
            raise JournalFailed(f"a usage record of {size} bytes has room for {ticket.promised}")
        ticket.segment.promised -= ticket.promised
        ticket.promised = 0
        ticket.size += size
        self._append(ticket.segment, frame, size)

    async def durable(self) -> None:
        """Return when everything appended so far is on the disk. Raises: JournalFailed."""
        future: asyncio.Future[None] = self._syncer.loop().create_future()
        self._syncer.wait(partial(_resolve, future))
        await future

    def when_durable(self, then: Then) -> None:
        """The same without a task to wake: `then` is called, which must not raise."""
        self._syncer.wait(then)

    def committed(self, tickets: Iterable[Ticket]) -> None:
        """The database has the rows of these tickets: files of which nothing is outstanding are used anew or removed."""
        for ticket in tickets:
            segment = ticket.segment
            segment.promised -= ticket.promised
            segment.outstanding -= 1
            self.lacking_bytes -= ticket.size
            if not segment.outstanding:
                self._trim(segment)

    def shut(self) -> None:
        """Close the files; those with nothing outstanding are removed."""
        self._syncer.stop()
        for segment in list(self._segments):
            if segment.outstanding:
                os.fdatasync(segment.fd)
                _close(segment)
            else:
                self._remove(segment)
        self._close_retired()

    def _append(self, segment: Segment, frame: bytes, size: int) -> None:
        begin = segment.end
        segment.end = end = begin + size
        segment.pages[begin : end + END_BYTES] = frame + END
        segment.written += 1
        self._syncer.written += 1
        self.lacking_bytes += size

    def _begin_segment(self, bytes_min: int) -> Segment:
        full = self._segment
        segment = self._spares.pop() if self._spares and bytes_min <= self._segment_bytes else self._new_segment(bytes_min)
        self._segment = segment
        if full is not None and not full.outstanding:
            self._trim(full)
        return segment

    def _new_segment(self, bytes_min: int) -> Segment:
        self._number += 1
        path = self._directory / f"{self._number:012d}.journal"
        size = max(self._segment_bytes, bytes_min)
        fd = -1
        try:
            if self._first is not None:
                self._first()
                self._first = None
            fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            os.posix_fallocate(fd, 0, size)
            pages = mmap.mmap(fd, size)
        except OSError as error:
            if fd >= 0:
                os.close(fd)
                path.unlink(missing_ok=True)
            self.error = f"cannot grow: {error.strerror}; {_MENDED_BY.get(error.errno, _FREE_SOME)}"
            raise JournalFailed(f"the usage journal {self.error}") from error
        self.error = None
        segment = Segment(path, fd, pages)
        self._segments.append(segment)
        return segment

    def _trim(self, segment: Segment) -> None:
        """Nothing of it is outstanding: begin it anew, keep it for later, or remove it."""
        if segment is not self._segment:
            if len(self._spares) >= SPARES or len(segment.pages) != self._segment_bytes:
                self._remove(segment)
                return
            self._spares.append(segment)
        segment.end = 0
        segment.pages[: len(END)] = END

    def _remove(self, segment: Segment) -> None:
        segment.end, segment.pages[:END_BYTES] = 0, END  # where its name cannot be removed, who reads it finds nothing
        try:
            segment.path.unlink(missing_ok=True)
        except OSError:  # of a folder that is read-only now: the rows are in the database, and others wait for their turn
            _LOG.exception("a journal file cannot be removed", extra={"file": segment.path.name})
        self._segments.remove(segment)  # before `busy` is read: a sync that begins now does not see it any more
        self._retired.append(segment)
        self._close_retired()

    def _close_retired(self) -> None:
        """Close what was removed; not while a sync may still use its descriptor."""
        if not self._syncer.busy:
            while self._retired:
                _close(self._retired.pop())


def _resolve(future: asyncio.Future[None], error: JournalFailed | None) -> None:
    if future.done():  # who waited has given up
        return
    if error is None:
        future.set_result(None)
    else:
        future.set_exception(error)


def _close(segment: Segment) -> None:
    segment.pages.close()
    os.close(segment.fd)


class _Syncer:
    """Brings records to the disk for callers who wait for it.

    While the disk is quick, the event loop waits for it itself: what arrives meanwhile is served by the next turn together, and
    that costs less than to wake a thread, and to be woken by it, for every few records. A disk that is slow once is waited for
    by the thread for a while, the longer the slower it was: nothing else may stand still for it. After that the loop waits
    again for a crowd, which is most of what it has to do; where few wait, the thread does for two seconds. While a crowd grows
    it is let grow, for some turns of the loop: under load a sync for every few records would cost as much processor as the
    requests (decision 0068).
    """

    def __init__(self, segments: list[Segment]) -> None:
        self._segments = segments
        self._loop: asyncio.AbstractEventLoop | None = None
        self.written = 0
        self.busy = False
        self._waiting: deque[tuple[int, Then]] = deque()
        self._asked: SimpleQueue[float | None] = SimpleQueue()
        self._under_way = False
        self._thread: threading.Thread | None = None
        self._slow_until_s = self._wary_until_s = 0.0

    def loop(self) -> asyncio.AbstractEventLoop:
        """The one that this belongs to; asyncio asks the kernel for the process's id each time that it is asked."""
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
        return self._loop

    def wait(self, then: Then) -> None:
        """Have `then` called when what is written by now is on the disk."""
        self._waiting.append((self.written, then))
        if not self._under_way:
            self._under_way = True
            self._begin(self.loop(), 0.0)

    def stop(self) -> None:
        """End the thread, after the sync under way."""
        if self._thread is not None:
            self._asked.put(None)
            self._thread.join()
            self._thread = None

    def _begin(self, loop: asyncio.AbstractEventLoop, pause_s: float) -> None:
        if loop.time() < self._slow_until_s:
            self._ask_thread(loop, pause_s)
        else:
            loop.call_soon(self._gather, loop, 0, TURNS_MAX)

    def _gather(self, loop: asyncio.AbstractEventLoop, were: int, turns: int) -> None:
        """Sync, as soon as turns of the loop bring nobody else; few are not kept waiting for others."""
        are = len(self._waiting)
        if are >= CROWD and turns:
            loop.call_soon(self._gather, loop, are, turns - 1 if are != were else 0)  # one more after the first without anybody
        elif are < CROWD and loop.time() < self._wary_until_s:
            self._ask_thread(loop, 0.0)
        else:
            self._sync_here(loop)

    def _sync_here(self, loop: asyncio.AbstractEventLoop) -> None:
        began_s = time.monotonic()  # the loop's own clock is that of the turn's beginning
        written, error = self._sync()
        ended_s = time.monotonic()
        took_s = ended_s - began_s
        if took_s > UNEVEN_S:
            self._wary_until_s = ended_s + WARY_S
        if took_s > QUICK_S:
            self._slow_until_s = ended_s + SLOW_FOR * took_s
        self._tell(loop, written, error)

    def _ask_thread(self, loop: asyncio.AbstractEventLoop, pause_s: float) -> None:
        if self._thread is None:
            thread = threading.Thread(target=self._run, args=[loop], name="journal-fsync", daemon=True)
            try:
                thread.start()
            except RuntimeError:  # this process may have no more of them; nobody else would ask again
                loop.call_soon(self._sync_here, loop)
                return
            self._thread = thread
        self._asked.put(pause_s)

    def _run(self, loop: asyncio.AbstractEventLoop) -> None:
        while (pause_s := self._asked.get()) is not None:
            if pause_s:
                time.sleep(pause_s)
            written, error = self._sync()
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                loop.call_soon_threadsafe(self._tell, loop, written, error)

    def _sync(self) -> tuple[int, OSError | None]:
        """(records that are on the disk now, None), or what the disk said."""
        written = self.written
        self.busy = True
        try:
            for segment in list(self._segments):
                if segment.written > segment.synced:
                    covered = segment.written
                    os.fdatasync(segment.fd)
                    segment.synced = covered
        except OSError as error:
            return written, error
        finally:
            self.busy = False
        return written, None

    def _write_again(self) -> None:
        """Linux takes a page that the disk has refused for written: the next sync would pass it over, and succeed."""
        for segment in self._segments:
            if segment.written > segment.synced:
                whole = slice(segment.end + END_BYTES)
                segment.pages[whole] = segment.pages[whole]

    def _tell(self, loop: asyncio.AbstractEventLoop, written: int, error: OSError | None) -> None:
        waiting = self._waiting
        failure = None
        if error is not None:
            failure = JournalFailed(f"the usage journal cannot be synced: {error.strerror}")
            self._write_again()
        while waiting and waiting[0][0] <= written:
            try:
                waiting.popleft()[1](failure)
            except Exception:  # noqa: BLE001 - one of them must not keep all others waiting for ever
                _LOG.exception("whoever waited for the disk has failed")
        self._under_way = bool(waiting)
        if waiting:  # they came while the thread was waiting for the disk
            self._begin(loop, min(GATHER_S * len(waiting), GATHER_S_MAX))
