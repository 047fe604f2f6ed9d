"""Every worker has a journal folder of its own, and what a dead one left has a new owner."""

import errno
import fcntl
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from warehouse.journal import Journal, check_slots, claim_orphans, claim_slot, recover, slots

WORKER = """
import sys
from pathlib import Path
from warehouse.journal import Journal, claim_slot
slot = claim_slot(Path(sys.argv[1]))
journal = Journal(slot.directory, bytes_max=10**6)
journal.open(bytes(18), b"promised by %d" % slot.number)
print(slot.number, flush=True)
sys.stdin.read()
"""


@contextmanager
def _worker(root: Path) -> Iterator[tuple[int, subprocess.Popen[str]]]:
    """Another process that has claimed a slot, written a record, and waits."""
    process = subprocess.Popen(
        [sys.executable, "-c", WORKER, str(root)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with process:
        assert process.stdout is not None
        yield int(process.stdout.readline()), process
        process.kill()


def test_processes_never_share_a_slot(tmp_path: Path) -> None:
    with _worker(tmp_path) as (first, _), _worker(tmp_path) as (second, _):
        own = claim_slot(tmp_path)
        assert sorted([first, second, own.number]) == [0, 1, 2]
        own.release()


def test_one_process_gets_another_slot_each_time(tmp_path: Path) -> None:
    first, second = claim_slot(tmp_path), claim_slot(tmp_path)
    assert first.directory != second.directory
    first.release()
    third = claim_slot(tmp_path)
    assert third.number == first.number
    second.release()
    third.release()


def test_the_slot_of_a_killed_process_comes_with_its_files(tmp_path: Path) -> None:
    with _worker(tmp_path) as (number, process):
        process.kill()
        assert process.wait() == -signal.SIGKILL
        slot = claim_slot(tmp_path)
    assert slot.number == number
    assert recover(slot.directory).lost == [b"promised by 0"]
    slot.release()


def test_files_of_workers_that_do_not_come_back_are_claimed_once(tmp_path: Path) -> None:
    with _worker(tmp_path), _worker(tmp_path) as (second, process):
        process.kill()
        process.wait()
        orphans = list(claim_orphans(tmp_path))
        assert [slot.number for slot in orphans] == [second]  # the first one lives
        assert list(claim_orphans(tmp_path)) == []
        for slot in orphans:
            slot.release()


def test_what_somebody_else_left_stops_nobody(tmp_path: Path) -> None:
    for name in ("\N{SUPERSCRIPT THREE}", "0"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "copy of 1.journal").touch()
    slot = claim_slot(tmp_path)
    assert list(claim_orphans(tmp_path)) == []
    Journal(slot.directory, bytes_max=100).shut()
    slot.release()


def test_a_file_that_has_gone_meanwhile_is_nobodys(tmp_path: Path) -> None:
    """A worker that lives removes files at any time; here the name is there still and the file is not."""
    (tmp_path / "0").mkdir()
    (tmp_path / "0" / "1.journal").symlink_to(tmp_path / "gone")
    check_slots(tmp_path)


def test_a_folder_without_files_is_no_orphan(tmp_path: Path) -> None:
    slot = claim_slot(tmp_path)
    Journal(slot.directory, bytes_max=100).shut()
    slot.release()
    assert list(claim_orphans(tmp_path)) == []


def test_more_workers_than_slots_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(slots, "SLOTS_MAX", 2)
    held = [claim_slot(tmp_path), claim_slot(tmp_path)]
    with pytest.raises(OSError, match="2 workers"):
        claim_slot(tmp_path)
    for slot in held:
        slot.release()


def _descriptors() -> set[str]:
    return set(os.listdir("/proc/self/fd"))


def test_a_slot_that_somebody_else_holds_costs_no_file_descriptor(tmp_path: Path) -> None:
    """A worker looks for orphans for as long as it lives, and those of its siblings are none."""
    with _worker(tmp_path), _worker(tmp_path):
        before = _descriptors()
        own = claim_slot(tmp_path)
        assert len(_descriptors() - before) == 1
        assert list(claim_orphans(tmp_path)) == []
        own.release()
        assert _descriptors() == before


def test_a_lock_that_cannot_be_asked_for_is_no_lock_of_somebody_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a network file system without locks: no slot is free there, however many are tried."""

    def refuse(_: int, __: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    before = _descriptors()
    with pytest.raises(OSError, match="No locks available"):
        claim_slot(tmp_path)
    assert _descriptors() == before
    assert [path.name for path in tmp_path.iterdir()] == ["0"]


def test_the_lock_is_the_users_alone_and_ends_with_the_process_that_claimed_it(tmp_path: Path) -> None:
    own = claim_slot(tmp_path / "not" / "there yet")
    assert (own.directory / "lock").stat().st_mode & 0o777 == 0o600
    with subprocess.Popen(["sleep", "60"], close_fds=False) as child:  # what a worker starts has no part in it
        own.release()
        again = claim_slot(tmp_path / "not" / "there yet")
        assert again.number == own.number
        again.release()
        child.kill()
