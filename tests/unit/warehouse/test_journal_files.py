"""The files of a journal: each record has room for its end, none is begun twice, and none is left open or behind."""

import errno
import os
import re
from pathlib import Path

import pytest

from warehouse.journal import Journal, JournalFailed, JournalFull, Ticket, recover
from warehouse.journal.frames import END, KEY_BYTES, Kind, encode
from warehouse.journal.journal import CLOSE_SLACK_BYTES, SPARES

MIB = 1024 * 1024
SEGMENT = 1000
EMPTY = len(encode(Kind.OPEN, bytes(KEY_BYTES), b""))


def _key(number: int) -> bytes:
    return number.to_bytes(KEY_BYTES, "big")


def _journal(folder: Path, bytes_max: int = MIB) -> Journal:
    return Journal(folder, bytes_max=bytes_max, segment_bytes=SEGMENT)


def _files(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.journal"))


def _open_and_mapped(folder: Path) -> tuple[int, int]:
    """How many of its files, there or removed, this process holds a descriptor of, and how many are mapped."""
    names = [os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd") if os.path.lexists(f"/proc/self/fd/{fd}")]
    mapped = re.findall(re.escape(str(folder)), Path("/proc/self/maps").read_text())
    return sum(str(folder) in name for name in names), len(mapped)


def _over(journal: Journal, ticket: Ticket) -> None:
    """Its row is in the database."""
    journal.close(ticket, b"done")
    journal.committed([ticket])


def test_a_file_is_used_to_its_end_and_no_further(tmp_path: Path) -> None:
    journal = _journal(tmp_path)
    # Twice the record, for its close as well, with what that may be longer by; the end marker fits exactly, or does not.
    fits = (SEGMENT - CLOSE_SLACK_BYTES - len(END)) // 2 - EMPTY
    assert 2 * (fits + EMPTY) + CLOSE_SLACK_BYTES + len(END) == SEGMENT
    ticket = journal.open(_key(1), b"x" * fits)
    longest = b"y" * (fits + CLOSE_SLACK_BYTES)
    journal.close(ticket, longest)
    assert [path.stat().st_size for path in _files(tmp_path)] == [SEGMENT]
    assert recover(tmp_path).closed == [longest]
    journal.committed([ticket])
    longer = journal.open(_key(2), b"x" * (fits + 1))
    journal.close(longer, longest + b"z")
    assert recover(tmp_path).closed == [longest + b"z"]
    journal.shut()


def test_a_record_that_is_longer_than_a_file_gets_one_of_its_own_though_there_are_others_to_use_anew(tmp_path: Path) -> None:
    journal = _journal(tmp_path)
    for ticket in [journal.open(_key(number), b"x" * 300) for number in range(3)]:
        _over(journal, ticket)
    assert len(_files(tmp_path)) > 1
    long = journal.open(_key(9), b"x" * 2 * SEGMENT)
    journal.close(long, b"y" * 2 * SEGMENT)
    assert recover(tmp_path).closed == [b"y" * 2 * SEGMENT]
    journal.committed([long])
    journal.shut()
    assert _files(tmp_path) == []


def test_room_that_was_promised_is_free_when_the_row_is_in_the_database(tmp_path: Path) -> None:
    journal = _journal(tmp_path)
    staying = journal.open(_key(0), b"stays")
    promised = staying.segment.promised
    for number in range(1, 4):
        ticket = journal.open(_key(number), b"x")
        assert ticket.segment.promised == promised + ticket.promised
        if number % 2:
            journal.close(ticket, b"done")
            assert staying.segment.promised == promised
        journal.committed([ticket])
        assert staying.segment.promised == promised
    journal.shut()


def test_a_life_after_several_files_of_an_earlier_one_begins_behind_them(tmp_path: Path) -> None:
    first = _journal(tmp_path)
    for number in range(4):
        first.open(_key(number), b"x" * 300)
    first.shut()
    before = _files(tmp_path)
    assert len(before) > 2
    second = _journal(tmp_path)
    second.open(_key(9), b"of the second life")
    assert _files(tmp_path)[:-1] == before
    assert len(recover(tmp_path).lost) == 5
    second.shut()


def test_few_files_are_kept_to_be_used_anew(tmp_path: Path) -> None:
    journal = _journal(tmp_path)
    tickets = [journal.open(_key(number), b"x" * 300) for number in range(10)]
    assert len(_files(tmp_path)) == 10
    for ticket in tickets:
        _over(journal, ticket)
    assert len(_files(tmp_path)) == SPARES + 1
    assert journal.file_bytes == 0
    kept = SPARES + 1
    assert _open_and_mapped(tmp_path) == (2 * kept, kept), "what is removed is closed, too; a mapping has its own descriptor"
    journal.shut()
    assert _open_and_mapped(tmp_path) == (0, 0)


def test_what_is_outstanding_at_the_end_is_on_the_disk_and_closed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    journal, synced = _journal(tmp_path), list[str]()
    fdatasync = os.fdatasync

    def noted(fd: int) -> None:
        synced.append(os.readlink(f"/proc/self/fd/{fd}"))
        fdatasync(fd)

    monkeypatch.setattr(os, "fdatasync", noted)
    tickets = [journal.open(_key(number), b"x" * 300) for number in range(3)]
    _over(journal, tickets[0])
    journal.shut()
    assert synced == [str(path) for path in _files(tmp_path)]
    assert len(synced) == 2
    assert _open_and_mapped(tmp_path) == (0, 0)


def test_what_must_be_there_before_any_record_is_put_there_once(tmp_path: Path) -> None:
    told: list[int] = []
    is_full = True

    def first() -> None:
        told.append(len(_files(tmp_path)))
        if is_full:
            raise OSError(errno.ENOSPC, "No space left on device")

    journal = Journal(tmp_path, bytes_max=MIB, segment_bytes=SEGMENT, first=first)
    with pytest.raises(JournalFailed, match="No space left"):
        journal.open(_key(0), b"x")
    assert journal.error is not None
    is_full = False
    for number in range(1, 4):
        journal.open(_key(number), b"x" * 300)
    assert journal.error is None
    assert told == [0, 0]
    journal.shut()


def test_a_journal_is_full_at_its_limit_and_not_before(tmp_path: Path) -> None:
    journal = _journal(tmp_path, bytes_max=2 * (EMPTY + 10))
    tickets = [journal.open(_key(number), b"x" * 10) for number in range(2)]
    with pytest.raises(JournalFull):
        journal.open(_key(2), b"x" * 10)
    journal.committed(tickets)
    journal.open(_key(2), b"x" * 10)
    journal.shut()
