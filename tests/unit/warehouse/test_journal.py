"""The journal promises what is on the disk, shares an fsync among those who wait, and keeps what the database lacks."""

import asyncio
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from warehouse.journal import Journal, JournalFailed, JournalFull, Ticket, recover
from warehouse.journal.frames import KEY_BYTES, decode

MIB = 1024 * 1024


def _key(number: int) -> bytes:
    return number.to_bytes(KEY_BYTES, "big")


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    made = Journal(tmp_path, bytes_max=MIB, segment_bytes=1000)
    yield made
    made.shut()


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.journal"))


def _records(folder: Path) -> int:
    return sum(len(list(decode(path.read_bytes()))) for path in _files(folder))


class Disk:
    """Counts fdatasync, takes its time over each as a disk does, and knows how much of a file it has."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, seconds: float) -> None:
        self.syncs = 0
        self.bytes_safe = 0
        self.error: OSError | None = None
        real, lock = os.fdatasync, threading.Lock()

        def fdatasync(fd: int) -> None:
            size = os.fstat(fd).st_size  # what is written later is not covered by this call
            time.sleep(seconds)
            if self.error is not None:
                raise self.error
            real(fd)
            with lock:
                self.syncs += 1
                self.bytes_safe = max(self.bytes_safe, size)

        monkeypatch.setattr(os, "fdatasync", fdatasync)


def test_many_who_wait_share_few_syncs_and_none_is_told_too_early(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = Disk(monkeypatch, seconds=0.005)
    journal = Journal(tmp_path, bytes_max=MIB)
    told_too_early = []

    async def promise(number: int) -> None:
        await asyncio.sleep(number % 10 / 1000)
        journal.open(_key(number), b"x" * 50)
        end = journal.bytes  # of one file, which nothing was removed from
        await journal.durable()
        if disk.bytes_safe < end:
            told_too_early.append(number)

    async def all_at_once() -> None:
        await asyncio.gather(*(promise(number) for number in range(200)))

    asyncio.run(all_at_once())
    assert told_too_early == []
    assert 1 <= disk.syncs <= 20
    journal.shut()


def test_one_who_waits_alone_is_told_after_one_sync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    disk = Disk(monkeypatch, seconds=0)
    journal = Journal(tmp_path, bytes_max=MIB)
    journal.open(_key(1), b"x")
    asyncio.run(journal.durable())
    assert disk.syncs == 1
    journal.shut()


def test_one_who_gives_up_waiting_does_not_take_it_from_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Disk(monkeypatch, seconds=0.05)
    journal = Journal(tmp_path, bytes_max=MIB)
    journal.open(_key(1), b"x")

    async def wait() -> None:
        alone, gives_up, stays = (asyncio.ensure_future(journal.durable()) for _ in range(3))
        await asyncio.sleep(0.01)  # the first is being served, the others share the next sync
        gives_up.cancel()
        await asyncio.gather(alone, stays)
        assert gives_up.cancelled()

    asyncio.run(wait())
    journal.shut()


def test_an_error_of_the_disk_is_told_and_the_same_bytes_are_synced_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = Disk(monkeypatch, seconds=0)
    journal = Journal(tmp_path, bytes_max=MIB)
    journal.open(_key(1), b"x")
    disk.error = OSError(5, "Input/output error")

    async def fail_then_succeed() -> None:
        with pytest.raises(JournalFailed, match="cannot be synced"):
            await journal.durable()
        disk.error = None
        await journal.durable()

    asyncio.run(fail_then_succeed())
    assert disk.bytes_safe == journal.bytes
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
    assert journal.bytes == 0
    assert _records(tmp_path) == 0


def test_an_open_and_a_close_in_different_files_keep_both(journal: Journal, tmp_path: Path) -> None:
    ticket = journal.open(_key(1), b"x" * 2000)
    other = journal.open(_key(2), b"y" * 2000)
    journal.close(ticket, b"z" * 2000)
    journal.committed([other])
    assert recover(tmp_path).closed == [b"z" * 2000]
    journal.committed([ticket])
    assert journal.bytes == sum(path.stat().st_size for path in _files(tmp_path)) == 0


def test_the_size_is_that_of_the_files(journal: Journal, tmp_path: Path) -> None:
    tickets: list[Ticket] = []
    for number in range(300):
        tickets.append(journal.open(_key(number), b"x" * (number % 200)))
        if number % 3:
            done = tickets.pop(0)
            journal.close(done, b"done")
            journal.committed([done])
        assert journal.bytes == sum(path.stat().st_size for path in _files(tmp_path))


def test_what_is_being_synced_is_not_removed_under_the_sync(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Disk(monkeypatch, seconds=0.05)
    journal = Journal(tmp_path, bytes_max=MIB, segment_bytes=100)

    async def commit_during_sync() -> None:
        ticket = journal.open(_key(1), b"x" * 200)
        journal.close(ticket, b"done")
        waiting = asyncio.ensure_future(journal.durable())
        await asyncio.sleep(0.01)
        journal.committed([ticket])
        assert journal.bytes > 0
        await waiting

    asyncio.run(commit_during_sync())
    assert journal.bytes == 0
    journal.shut()


def test_a_full_journal_refuses_new_work_and_records_what_had_begun(tmp_path: Path) -> None:
    journal = Journal(tmp_path, bytes_max=500)
    tickets = [journal.open(_key(number), b"x" * 40) for number in range(8)]
    assert journal.bytes >= 500
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


@pytest.mark.parametrize("room", [100, 101, 126, 127, 150])
def test_a_full_disk_fails_the_record_and_leaves_nothing_half_written(tmp_path: Path, room: int) -> None:
    journal = Journal(tmp_path, bytes_max=MIB)
    kept = journal.open(_key(1), b"x" * 73)
    assert journal.bytes == 100
    with _disk_of(room), pytest.raises(JournalFailed):
        journal.open(_key(2), b"y" * 50)
    assert journal.bytes == 100
    assert _files(tmp_path)[0].stat().st_size == 100
    journal.close(kept, b"room again")
    found = recover(tmp_path)
    assert (found.closed, found.lost) == ([b"room again"], [])
    journal.shut()


def test_a_close_that_failed_leaves_the_open_record(tmp_path: Path) -> None:
    journal = Journal(tmp_path, bytes_max=MIB)
    ticket = journal.open(_key(1), b"opened")
    with _disk_of(journal.bytes), pytest.raises(JournalFailed):
        journal.close(ticket, b"closed")
    assert recover(tmp_path).lost == [b"opened"]
    journal.committed([ticket])  # its row went to the database from memory
    assert journal.bytes == 0
    journal.shut()


@pytest.mark.parametrize("ending", [Journal.shut, lambda _: None])
def test_what_is_outstanding_is_there_after_the_end(tmp_path: Path, ending: Callable[[Journal], None]) -> None:
    journal = Journal(tmp_path, bytes_max=MIB)
    done = journal.open(_key(1), b"x")
    journal.open(_key(2), b"still open")
    journal.close(done, b"done")
    ending(journal)
    found = recover(tmp_path)
    assert (found.closed, found.lost) == ([b"done"], [b"still open"])


def test_a_clean_end_leaves_no_file(tmp_path: Path) -> None:
    journal = Journal(tmp_path, bytes_max=MIB)
    ticket = journal.open(_key(1), b"x")
    journal.close(ticket, b"done")
    journal.committed([ticket])
    journal.shut()
    assert _files(tmp_path) == []


def test_a_new_life_never_writes_into_files_of_the_old_one(tmp_path: Path) -> None:
    first = Journal(tmp_path, bytes_max=MIB)
    first.open(_key(1), b"of the first life")
    first.shut()
    found = recover(tmp_path)
    second = Journal(tmp_path, bytes_max=MIB)
    second.open(_key(2), b"of the second life")
    found.discard()
    assert recover(tmp_path).lost == [b"of the second life"]
    second.shut()
