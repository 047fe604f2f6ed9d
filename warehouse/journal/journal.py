"""The journal of one worker: append before acting, fsync in groups, trim what the database has.

A record is handed to the kernel before `open` or `close` returns, so it survives `kill -9` of the process. `durable()`
waits for the disk as well: at once when nobody else is waiting, otherwise together with everybody who came meanwhile.
"""

import asyncio
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from warehouse.base.errors import InferhouseError
from warehouse.journal.frames import Kind, encode


class JournalFull(InferhouseError):
    """The journal has reached its stated size: the database has been away for long. Nothing was promised."""

    status, code = 503, "usage_journal_full"


class JournalFailed(InferhouseError):
    """The journal's disk refused a write or an fsync. Nothing was promised."""

    status, code = 503, "usage_journal_failed"


@dataclass(slots=True, eq=False)
class Segment:
    """One file, and how many of its records the database does not have yet."""

    path: Path
    fd: int
    bytes: int = 0
    outstanding: int = 0


@dataclass(slots=True, eq=False)
class Ticket:
    """One open record, until the database has its row."""

    key: bytes
    opened_in: Segment
    closed_in: Segment | None = None


class Journal:
    """Appends to files of `directory`, which this process owns. Not thread-safe: it belongs to one event loop."""

    def __init__(self, directory: Path, *, bytes_max: int, segment_bytes: int = 4 * 1024 * 1024) -> None:
        """Args: bytes_max: size of all files at which `open` refuses.  segment_bytes: size at which a new file is begun."""
        self._directory, self._bytes_max, self._segment_bytes = directory, bytes_max, segment_bytes
        self.bytes = 0
        self._segments: list[Segment] = []
        self._number = max((int(path.stem) for path in directory.glob("*.journal")), default=0)
        self._segment = self._begin_segment()
        self._unsynced: set[Segment] = set()
        self._sync_pool = ThreadPoolExecutor(1, thread_name_prefix="journal-fsync")
        self._syncing: set[Segment] = set()
        self._sync_running = False
        self._next_sync: asyncio.Future[None] | None = None

    def open(self, key: bytes, payload: bytes) -> Ticket:
        """Record that work for this key begins. Raises: JournalFull, JournalFailed."""
        if self.bytes >= self._bytes_max:
            raise JournalFull(f"the usage journal is at its limit of {self._bytes_max} bytes; the database must come back first")
        return Ticket(key, self._append(encode(Kind.OPEN, key, payload)))

    def close(self, ticket: Ticket, payload: bytes) -> None:
        """Record how it ended. Raises: JournalFailed. Goes above `bytes_max` where it must: what began is recorded."""
        ticket.closed_in = self._append(encode(Kind.CLOSE, ticket.key, payload))

    async def durable(self) -> None:
        """Return when everything appended so far is on the disk. Raises: JournalFailed."""
        if self._next_sync is None:
            self._next_sync = asyncio.get_running_loop().create_future()
        waiting = self._next_sync
        if not self._sync_running:
            self._start_sync()
        # Several callers share the future: one that is cancelled must not take it from the others.
        await asyncio.shield(waiting)

    def committed(self, tickets: Iterable[Ticket]) -> None:
        """The database has the rows of these closed tickets: files of which nothing is outstanding are removed."""
        for ticket in tickets:
            ticket.opened_in.outstanding -= 1
            if ticket.closed_in is not None:
                ticket.closed_in.outstanding -= 1
        self._trim()

    def shut(self) -> None:
        """Close the files; those with nothing outstanding are removed."""
        self._sync_pool.shutdown()
        for segment in list(self._segments):
            if segment.outstanding:
                os.fdatasync(segment.fd)
                os.close(segment.fd)
            else:
                self._remove(segment)

    def _append(self, frame: bytes) -> Segment:
        segment = self._segment
        if segment.bytes >= self._segment_bytes:
            segment = self._segment = self._begin_segment()
        try:
            written = os.write(segment.fd, frame)
        except OSError as error:
            raise JournalFailed(f"the usage journal cannot be written: {error.strerror}") from error
        if written < len(frame):
            os.ftruncate(segment.fd, segment.bytes)
            raise JournalFailed("the usage journal cannot be written: the disk is full")
        segment.bytes += written
        segment.outstanding += 1
        self.bytes += written
        self._unsynced.add(segment)
        return segment

    def _begin_segment(self) -> Segment:
        self._number += 1
        path = self._directory / f"{self._number:012d}.journal"
        segment = Segment(path, os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600))
        self._segments.append(segment)
        return segment

    def _trim(self) -> None:
        for segment in [s for s in self._segments if s.bytes and not s.outstanding and s not in self._syncing]:
            if segment is self._segment:
                os.ftruncate(segment.fd, 0)
                self.bytes -= segment.bytes
                segment.bytes = 0
            else:
                self._remove(segment)

    def _remove(self, segment: Segment) -> None:
        self._unsynced.discard(segment)
        os.close(segment.fd)
        segment.path.unlink(missing_ok=True)
        self._segments.remove(segment)
        self.bytes -= segment.bytes

    def _start_sync(self) -> None:
        waiting, self._next_sync = self._next_sync, None
        self._syncing, self._unsynced = self._unsynced, set()
        self._sync_running = True
        fds = [segment.fd for segment in self._syncing]
        done = asyncio.get_running_loop().run_in_executor(self._sync_pool, _sync, fds)
        done.add_done_callback(lambda future: self._finish_sync(future, waiting))

    def _finish_sync(self, done: asyncio.Future[None], waiting: asyncio.Future[None] | None) -> None:
        error = done.exception()
        if error is not None:
            self._unsynced |= self._syncing
        self._syncing, self._sync_running = set(), False
        self._trim()
        if waiting is not None and not waiting.done():
            if error is None:
                waiting.set_result(None)
            else:
                waiting.set_exception(JournalFailed(f"the usage journal cannot be synced: {error}"))
        if self._next_sync is not None:
            self._start_sync()


def _sync(fds: list[int]) -> None:
    for fd in fds:
        os.fdatasync(fd)
