"""The journal promises what is on the disk, shares an fsync among those who wait, and keeps what the database lacks."""

import asyncio
import errno
import mmap
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import count
from pathlib import Path

import pytest

from warehouse.journal import Journal, JournalFailed, JournalFull, Ticket, recover
from warehouse.journal.frames import KEY_BYTES, decode, frame_bytes
from warehouse.journal.journal import CLOSE_SLACK_BYTES, CROWD, SLOW_FOR, UNEVEN_S, WARY_S

MIB = 1024 * 1024


def _key(number: int) -> bytes:
    return number.to_bytes(KEY_BYTES, "big")


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    made = Journal(tmp_path, bytes_max=MIB, segment_bytes=1000)
    yield made
    made.shut()


def _made(folder: Path, bytes_max: int = MIB) -> Journal:
    return Journal(folder, bytes_max=bytes_max, segment_bytes=64 * 1024)


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.journal"))


def _records(folder: Path) -> int:
    return sum(len(list(decode(path.read_bytes()))) for path in _files(folder))


class Disk:
    """Counts fdatasync, takes its time over each as a disk does, and knows how many records of a file it has."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
        self.syncs = 0
        self.seconds = seconds
        self.by: list[str] = []
        """The threads that waited for it."""
        self.records_safe = 0
        self.error: OSError | None = None
        real = os.fdatasync

        def fdatasync(fd: int) -> None:
            there = len(list(decode(os.pread(fd, MIB, 0))))  # what is written later is not covered by this call
            self.by.append(threading.current_thread().name)
            time.sleep(self.seconds)
            if self.error is not None:
                raise self.error
            real(fd)
            self.syncs += 1
            self.records_safe = max(self.records_safe, there)

        monkeypatch.setattr(os, "fdatasync", fdatasync)


def test_many_who_wait_share_few_syncs_and_none_is_told_too_early(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = Disk(monkeypatch, seconds=0.005)
    journal = Journal(tmp_path, bytes_max=MIB)
    told_too_early, opened = [], count(1)

    async def promise(number: int) -> None:
        await asyncio.sleep(number % 10 / 1000)
        journal.open(_key(number), b"x" * 50)
        records = next(opened)  # of one file, which nothing was removed from
        await journal.durable()
        if disk.records_safe < records:
            told_too_early.append(number)

    async def all_at_once() -> None:
        await asyncio.gather(*(promise(number) for number in range(200)))

    asyncio.run(all_at_once())
    assert told_too_early == []
    assert 1 <= disk.syncs <= 20
    journal.shut()


def test_one_who_waits_alone_is_told_after_one_sync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = Disk(monkeypatch, seconds=0)
    journal = _made(tmp_path)
    journal.open(_key(1), b"x")
    asyncio.run(journal.durable())
    assert disk.syncs == 1
    journal.shut()


def test_one_who_gives_up_waiting_does_not_take_it_from_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Disk(monkeypatch, seconds=0.05)
    journal = _made(tmp_path)
    journal.open(_key(1), b"x")

    async def wait() -> None:
        await journal.durable()  # so slow a disk is waited for by the thread from here on
        journal.open(_key(2), b"y")
        alone, gives_up, stays = (asyncio.ensure_future(journal.durable()) for _ in range(3))
        await asyncio.sleep(0)  # all three wait now
        gives_up.cancel()
        await asyncio.gather(alone, stays)
        assert gives_up.cancelled()

    asyncio.run(wait())
    journal.shut()


def test_a_slow_disk_holds_up_the_event_loop_once_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = Disk(monkeypatch, seconds=0.1)
    journal = _made(tmp_path)

    async def promise(number: int) -> None:
        await asyncio.sleep(number * 0.03)
        journal.open(_key(number), b"x")
        await journal.durable()

    async def run() -> None:
        await promise(0)
        await asyncio.gather(*(promise(number) for number in range(1, 11)))

    asyncio.run(run())
    assert disk.by[0] == "MainThread"
    assert set(disk.by[1:]) == {"journal-fsync"}
    journal.shut()


def test_where_no_thread_can_be_started_the_event_loop_waits_for_a_slow_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As at the limit of processes of a container: else nobody would ever be answered again."""
    disk = Disk(monkeypatch, seconds=0.05)
    journal = _made(tmp_path)

    def start(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    async def run() -> None:
        for number in range(3):
            journal.open(_key(number), b"x")
            await asyncio.wait_for(journal.durable(), 10)
            monkeypatch.setattr(threading.Thread, "start", start)
        monkeypatch.undo()

    asyncio.run(run())
    assert disk.by == ["MainThread"] * 3
    journal.shut()


class SteppedDisk:
    """A disk whose syncs take time on a clock that nothing else moves; the loop calls `meanwhile` during each."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, loop: asyncio.AbstractEventLoop) -> None:
        self.now_s = 1000.0
        self.seconds = 0.0
        self.by: list[str] = []
        self.meanwhile: Callable[[], None] = lambda: None

        def fdatasync(_: int) -> None:
            self.by.append(threading.current_thread().name)
            self.now_s += self.seconds
            if threading.current_thread() is threading.main_thread():
                self.meanwhile()
            else:
                came = threading.Event()
                loop.call_soon_threadsafe(self.meanwhile)
                loop.call_soon_threadsafe(came.set)
                assert came.wait(10)

        monkeypatch.setattr(os, "fdatasync", fdatasync)
        monkeypatch.setattr(time, "monotonic", lambda: self.now_s)  # which the loop's clock is, too


def test_a_disk_that_is_quick_again_is_waited_for_by_the_event_loop_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Even if at each moment somebody waits; the longer the thread does it, the slower the disk was, and for few longer."""

    async def run() -> None:
        disk = SteppedDisk(monkeypatch, asyncio.get_running_loop())
        journal = _made(tmp_path)

        async def arrivals(seconds: float, at_once: int) -> list[str]:
            """The threads that did the syncs, with so many new callers during each, for so long."""
            until_s = disk.now_s + seconds
            pending, done = 0, asyncio.Event()
            disk.by = []

            def arrive() -> None:
                nonlocal pending
                if disk.now_s < until_s:
                    for _ in range(at_once):
                        ticket = journal.open(_key(1), b"x")
                        pending += 1
                        journal.when_durable(partial(leave, ticket))

            def leave(ticket: Ticket, error: JournalFailed | None) -> None:
                nonlocal pending
                assert error is None
                journal.committed([ticket])
                pending -= 1
                if not pending:
                    done.set()

            disk.meanwhile = arrive
            arrive()
            await done.wait()
            return disk.by

        disk.seconds = 0.01
        assert await arrivals(0.005, CROWD) == ["MainThread"]
        disk.seconds = UNEVEN_S * 1.5
        by = await arrivals(0.01 * SLOW_FOR + 0.1, CROWD)
        by_thread = by.index("MainThread")
        assert by_thread * disk.seconds == pytest.approx(0.01 * SLOW_FOR, abs=2 * disk.seconds)
        assert set(by[by_thread:]) == {"MainThread"}
        assert set(await arrivals(WARY_S / 2, 1)) == {"journal-fsync"}
        disk.now_s += WARY_S
        disk.seconds = UNEVEN_S / 2
        assert set(await arrivals(0.1, 1)) == {"MainThread"}
        journal.shut()

    asyncio.run(run())


def test_an_error_of_the_disk_is_told_and_the_same_bytes_are_synced_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = Disk(monkeypatch, seconds=0)
    journal = _made(tmp_path)
    journal.open(_key(1), b"x")
    disk.error = OSError(5, "Input/output error")

    async def fail_then_succeed() -> None:
        with pytest.raises(JournalFailed, match="cannot be synced"):
            await journal.durable()
        disk.error = None
        await journal.durable()

    asyncio.run(fail_then_succeed())
    assert disk.records_safe == 1
    journal.shut()


def test_what_the_disk_has_refused_is_written_again_before_anybody_is_told_that_it_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Linux takes a page for written whether or not the disk took it: only who writes to it again has it written again."""
    dirty: set[int] = set()
    there: set[int] = set()
    errors = [OSError(errno.EIO, "Input/output error")]

    class Pages(mmap.mmap):
        def __setitem__(self, at: int | slice, value: int | bytes) -> None:  # type: ignore[override]
            super().__setitem__(at, value)  # type: ignore[index, assignment]
            dirty.update(range(*at.indices(len(self))) if isinstance(at, slice) else [at])

    def fdatasync(_: int) -> None:
        written = set(dirty)
        dirty.clear()
        if errors:
            raise errors[0]
        there.update(written)

    monkeypatch.setattr(mmap, "mmap", Pages)
    monkeypatch.setattr(os, "fdatasync", fdatasync)
    journal = _made(tmp_path)

    async def run() -> None:
        for number in range(2):
            journal.open(_key(number), b"x")
            with pytest.raises(JournalFailed):
                await journal.durable()
        errors.clear()
        journal.open(_key(3), b"z")
        await journal.durable()

    asyncio.run(run())
    assert set(range(journal.file_bytes)) <= there
    journal.shut()


def test_records_survive_kill_9_without_any_sync(tmp_path: Path) -> None:
    program = f"""
import os, signal
from pathlib import Path
from warehouse.journal import Journal
journal = Journal(Path({str(tmp_path)!r}), bytes_max=10**6)
tickets = [journal.open(number.to_bytes(18, "big"), b"opened") for number in range(100)]
for ticket in tickets[:60]:
    journal.close(ticket, b"closed")
os.kill(os.getpid(), signal.SIGKILL)
"""
    died = subprocess.run([sys.executable, "-c", program], check=False)
    assert died.returncode == -signal.SIGKILL
    found = recover(tmp_path)
    assert (found.closed, found.lost) == ([b"closed"] * 60, [b"opened"] * 40)


def test_a_file_with_a_record_that_the_database_lacks_is_kept(journal: Journal, tmp_path: Path) -> None:
    first = journal.open(_key(1), b"x" * 2000)  # fills the first file
    second = journal.open(_key(2), b"y" * 2000)
    journal.close(second, b"done")
    journal.committed([second])
    assert len(_files(tmp_path)) == 2  # the first with its open record, and the one that is written to
    assert [frame.key for frame in decode(_files(tmp_path)[0].read_bytes())] == [_key(1)]
    journal.close(first, b"done")
    journal.committed([first])
    assert journal.file_bytes == 0
    assert _records(tmp_path) == 0


def test_a_close_goes_where_its_open_record_is(journal: Journal, tmp_path: Path) -> None:
    ticket = journal.open(_key(1), b"x" * 2000)
    other = journal.open(_key(2), b"y" * 2000)
    journal.close(ticket, b"z" * 2000)
    assert [frame.payload[:1] for frame in decode(_files(tmp_path)[0].read_bytes())] == [b"x", b"z"]
    journal.committed([other])
    assert recover(tmp_path).closed == [b"z" * 2000]
    journal.committed([ticket])
    assert journal.file_bytes == 0


def test_a_file_that_is_used_anew_says_nothing_of_what_it_had(tmp_path: Path) -> None:
    journal = _made(tmp_path)
    for number in range(50):
        ticket = journal.open(_key(number), b"x" * 100)
        journal.close(ticket, b"y" * 100)
        journal.committed([ticket])
    journal.open(_key(99), b"the only one")
    found = recover(tmp_path)
    assert (found.closed, found.lost) == ([], [b"the only one"])
    journal.shut()


def test_files_are_written_again_and_say_nothing_of_what_they_had(tmp_path: Path) -> None:
    journal = Journal(tmp_path, bytes_max=MIB, segment_bytes=2000)
    names: set[str] = set()
    waiting: list[Ticket] = []
    for number in range(400):
        ticket = journal.open(_key(number), b"x" * 100)
        journal.close(ticket, b"y" * 100)
        waiting.append(ticket)
        if len(waiting) == 8:  # more than one file holds
            journal.committed(waiting)
            waiting.clear()
            assert _records(tmp_path) == journal.file_bytes == 0
        names |= {path.name for path in _files(tmp_path)}
    assert len(names) <= 4
    journal.open(_key(999), b"the only one")
    found = recover(tmp_path)
    assert (found.closed, found.lost) == ([], [b"the only one"])
    journal.shut()
    assert len(_files(tmp_path)) == 1


def test_the_size_is_that_of_the_records(journal: Journal, tmp_path: Path) -> None:
    tickets: list[Ticket] = []
    for number in range(300):
        tickets.append(journal.open(_key(number), b"x" * (number % 200)))
        if number % 3:
            done = tickets.pop(0)
            journal.close(done, b"done")
            journal.committed([done])
        read = [frame for path in _files(tmp_path) for frame in decode(path.read_bytes())]
        assert journal.file_bytes == sum(map(frame_bytes, read))


def test_what_is_being_synced_is_not_closed_under_the_sync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = Disk(monkeypatch, seconds=0.1)
    journal = Journal(tmp_path, bytes_max=MIB, segment_bytes=100)

    async def commit_during_sync() -> None:
        journal.open(_key(0), b"x" * 200)
        await journal.durable()  # the disk is slow: from now on a thread waits for it
        ticket = journal.open(_key(1), b"x" * 200)
        journal.close(ticket, b"done")
        waiting = asyncio.ensure_future(journal.durable())
        deadline = time.monotonic() + 10
        while len(disk.by) == 1:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.001)
        journal.open(_key(2), b"x" * 200)
        assert len(_files(tmp_path)) == 3, "the file that is being synced is full"
        journal.committed([ticket])
        assert len(_files(tmp_path)) == 2
        assert not waiting.done()
        await waiting
        await journal.durable()

    asyncio.run(commit_during_sync())
    journal.shut()


def test_a_full_journal_refuses_new_work_and_records_what_had_begun(tmp_path: Path) -> None:
    journal = _made(tmp_path, 500)
    tickets = [journal.open(_key(number), b"x" * 40) for number in range(8)]
    assert journal.file_bytes >= 500
    with pytest.raises(JournalFull, match="500 bytes"):
        journal.open(_key(8), b"x" * 40)
    for ticket in tickets:
        journal.close(ticket, b"y" * 40)
    assert len(recover(tmp_path).closed) == len(tickets)
    journal.committed(tickets)
    journal.open(_key(200), b"room again")
    journal.shut()


@contextmanager
def _disk_of(size_bytes: int) -> Iterator[None]:
    """Writes of this process that would make a file larger are cut short there, as by a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk_refuses_new_work_and_takes_the_end_of_what_had_begun(tmp_path: Path) -> None:
    journal = Journal(tmp_path, bytes_max=MIB, segment_bytes=2000)
    tickets = [journal.open(_key(100), b"x" * 40)]
    with _disk_of(1000):
        with pytest.raises(JournalFailed, match="cannot grow"):
            tickets.extend(journal.open(_key(number), b"x" * 40) for number in range(100))
        assert 0 < len(tickets) < 20
        assert len(_files(tmp_path)) == 1, "no half-made file is left"
        for ticket in tickets:
            journal.close(ticket, b"y" * (40 + CLOSE_SLACK_BYTES))
    found = recover(tmp_path)
    assert (len(found.closed), found.lost) == (len(tickets), [])
    journal.open(_key(200), b"room again")
    journal.shut()


def test_a_disk_that_is_full_from_the_start_is_told_with_the_first_record(tmp_path: Path) -> None:
    journal = _made(tmp_path)
    with _disk_of(0), pytest.raises(JournalFailed, match="cannot grow"):
        journal.open(_key(1), b"x")
    ticket = journal.open(_key(1), b"opened")
    journal.close(ticket, b"closed")
    journal.committed([ticket])
    assert journal.file_bytes == 0
    journal.shut()


def test_room_is_looked_for_before_it_is_needed_and_again_while_there_is_none(tmp_path: Path) -> None:
    journal = _made(tmp_path)
    with _disk_of(0):
        journal.make_room()
        assert journal.error is not None
        assert "ROUTER_JOURNAL_DIR" in journal.error
    journal.make_room()
    assert journal.error is None
    assert len(_files(tmp_path)) == 1
    journal.make_room()
    assert len(_files(tmp_path)) == 1
    with _disk_of(0):
        journal.open(_key(1), b"there is a file already")
    journal.shut()


def test_a_disk_with_room_again_is_noticed_without_a_new_record(tmp_path: Path) -> None:
    journal = Journal(tmp_path, bytes_max=MIB, segment_bytes=2000)
    with _disk_of(1000):
        with pytest.raises(JournalFailed, match="cannot grow"):
            [journal.open(_key(number), b"x" * 40) for number in range(100)]
        assert journal.error is not None
    journal.make_room()
    assert journal.error is None
    with _disk_of(0):
        journal.open(_key(200), b"into the new file")
    journal.shut()


def test_a_close_that_is_far_longer_than_its_open_is_refused_and_the_open_record_stays(tmp_path: Path) -> None:
    journal = _made(tmp_path)
    ticket = journal.open(_key(1), b"opened")
    with pytest.raises(JournalFailed, match="has room for"):
        journal.close(ticket, b"x" * (7 + CLOSE_SLACK_BYTES))
    assert recover(tmp_path).lost == [b"opened"]
    journal.committed([ticket])  # its row went to the database from memory
    assert journal.file_bytes == 0
    journal.shut()


@pytest.mark.parametrize("ending", [Journal.shut, lambda _: None])
def test_what_is_outstanding_is_there_after_the_end(tmp_path: Path, ending: Callable[[Journal], None]) -> None:
    journal = _made(tmp_path)
    done = journal.open(_key(1), b"x")
    journal.open(_key(2), b"still open")
    journal.close(done, b"done")
    ending(journal)
    found = recover(tmp_path)
    assert (found.closed, found.lost) == ([b"done"], [b"still open"])


def test_a_clean_end_leaves_no_file(tmp_path: Path) -> None:
    journal = _made(tmp_path)
    ticket = journal.open(_key(1), b"x")
    journal.close(ticket, b"done")
    journal.committed([ticket])
    journal.shut()
    assert _files(tmp_path) == []


def test_a_new_life_never_writes_into_files_of_the_old_one(tmp_path: Path) -> None:
    first = _made(tmp_path)
    first.open(_key(1), b"of the first life")
    first.shut()
    found = recover(tmp_path)
    second = _made(tmp_path)
    second.open(_key(2), b"of the second life")
    found.discard()
    assert recover(tmp_path).lost == [b"of the second life"]
    second.shut()


def test_a_file_that_cannot_be_removed_holds_up_no_other_and_says_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    journal = Journal(tmp_path, bytes_max=MIB, segment_bytes=1000)
    tickets = [journal.open(_key(number), b"x" * 300) for number in range(12)]
    for ticket in tickets:
        journal.close(ticket, b"y")
    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", _read_only)
        journal.committed(tickets)
        assert journal.file_bytes == 0
        journal.shut()
    assert "cannot be removed" in caplog.text
    found = recover(tmp_path)
    assert (found.closed, found.lost, found.damaged) == ([], [], [])
    assert found.files
    found.discard()
    assert not _files(tmp_path)


@pytest.mark.parametrize(
    ("number", "advice"), [(errno.ENOSPC, "free some"), (errno.EROFS, "must be able to write"), (errno.EMFILE, "open files")]
)
def test_what_keeps_the_journal_from_growing_is_told_with_what_mends_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, advice: str
) -> None:
    def refuse(*_: object) -> int:
        raise OSError(number, os.strerror(number))

    journal = _made(tmp_path)
    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(JournalFailed, match=f"cannot grow: {os.strerror(number)}; .*{advice}"):
        journal.open(_key(1), b"x")


def _read_only(path: Path, *, missing_ok: bool = False) -> None:
    raise OSError(errno.EROFS, os.strerror(errno.EROFS), str(path))


def test_what_the_database_has_does_not_fill_the_journal_behind_an_attempt_that_runs_for_long(tmp_path: Path) -> None:
    journal = Journal(tmp_path, bytes_max=2000, segment_bytes=64 * 1024)
    running = journal.open(_key(0), b"a stream of minutes")
    for number in range(1, 100):
        ticket = journal.open(_key(number), b"x" * 100)
        journal.close(ticket, b"y" * 100)
        other = journal.open(_key(1000 + number), b"never closed")
        journal.committed([ticket, other])
    pinned = [journal.open(_key(2000 + number), b"z" * 300) for number in range(4)]
    assert (journal.is_full, journal.lacking_bytes) == (False, 46 + 4 * 327)
    journal.close(running, b"its end")
    journal.committed([running, *pinned])
    assert (journal.file_bytes, journal.lacking_bytes) == (0, 0)
    with pytest.raises(JournalFull):
        [journal.open(_key(number), b"x" * 100) for number in range(100)]
    assert journal.is_full
    journal.shut()
