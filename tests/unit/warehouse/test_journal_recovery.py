"""What a worker that died had promised is found, each record as what it was."""

import errno
import logging
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from warehouse.journal import recover
from warehouse.journal.frames import END, KEY_BYTES, Kind, encode

KEYS = [bytes([number]) * KEY_BYTES for number in range(4)]


def _write(folder: Path, number: int, *frames: bytes) -> Path:
    path = folder / f"{number:012d}.journal"
    path.write_bytes(b"".join(frames))
    return path


def test_an_open_record_without_a_close_is_lost(tmp_path: Path) -> None:
    _write(tmp_path, 1, encode(Kind.OPEN, KEYS[0], b"opened"))
    assert recover(tmp_path).lost == [b"opened"]
    assert recover(tmp_path).closed == []


def test_a_close_wins_over_its_open_in_another_file(tmp_path: Path) -> None:
    _write(tmp_path, 1, encode(Kind.OPEN, KEYS[0], b"opened"), encode(Kind.OPEN, KEYS[1], b"lost"))
    _write(tmp_path, 2, encode(Kind.CLOSE, KEYS[0], b"closed"))
    found = recover(tmp_path)
    assert (found.closed, found.lost) == ([b"closed"], [b"lost"])


def test_a_close_whose_open_was_trimmed_is_a_row(tmp_path: Path) -> None:
    _write(tmp_path, 2, encode(Kind.CLOSE, KEYS[0], b"closed"))
    assert recover(tmp_path).closed == [b"closed"]


def test_attempts_of_one_request_are_apart(tmp_path: Path) -> None:
    first, second = bytes(16) + b"\x01\x00", bytes(16) + b"\x02\x00"
    _write(tmp_path, 1, encode(Kind.OPEN, first, b"1"), encode(Kind.OPEN, second, b"2"), encode(Kind.CLOSE, first, b"1 done"))
    found = recover(tmp_path)
    assert (found.closed, found.lost) == ([b"1 done"], [b"2"])


@given(events=st.lists(st.tuples(st.integers(0, 3), st.sampled_from(Kind), st.integers(0, 2)), max_size=12))
def test_any_order_over_any_files_gives_each_key_once(
    tmp_path_factory: pytest.TempPathFactory, events: list[tuple[int, Kind, int]]
) -> None:
    folder = tmp_path_factory.mktemp("journal")
    for number in range(3):
        _write(folder, number, *(encode(kind, KEYS[key], b"%d" % key) for key, kind, file in events if file == number))
    found = recover(folder)
    closed = {key for key, kind, _ in events if kind is Kind.CLOSE}
    opened = {key for key, kind, _ in events if kind is Kind.OPEN}
    assert sorted(found.closed) == sorted(b"%d" % key for key in closed)
    assert sorted(found.lost) == sorted(b"%d" % key for key in opened - closed)


def test_a_torn_file_is_read_to_the_tear_and_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    _write(tmp_path, 1, encode(Kind.CLOSE, KEYS[0], b"whole"), encode(Kind.CLOSE, KEYS[1], b"torn")[:-1])
    _write(tmp_path, 2, encode(Kind.CLOSE, KEYS[2], b"of the next file"))
    with caplog.at_level(logging.WARNING):
        assert recover(tmp_path).closed == [b"whole", b"of the next file"]
    assert "damaged" in caplog.text


def test_a_file_that_the_disk_cannot_read_is_told_and_keeps_no_other_from_being_read(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "000000000001.journal").symlink_to("/proc/self/mem")  # whose first page is an error of input and output
    _write(tmp_path, 2, encode(Kind.CLOSE, KEYS[2], b"of the next file"))
    found = recover(tmp_path)
    assert (found.closed, [path.stem for path in found.damaged]) == ([b"of the next file"], ["000000000001"])
    assert "damaged" in caplog.text


def test_a_file_that_may_be_read_later_is_not_given_up(tmp_path: Path) -> None:
    (tmp_path / "000000000001.journal").mkdir()
    with pytest.raises(IsADirectoryError):
        recover(tmp_path)


def test_a_file_that_is_longer_than_its_records_is_whole(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    _write(tmp_path, 1, encode(Kind.OPEN, KEYS[0], b"opened"), END, encode(Kind.OPEN, KEYS[1], b"of another time"))
    with caplog.at_level(logging.WARNING):
        assert recover(tmp_path).lost == [b"opened"]
    assert not caplog.records


def test_reading_changes_nothing_and_discarding_removes_what_was_read(tmp_path: Path) -> None:
    path = _write(tmp_path, 1, encode(Kind.OPEN, KEYS[0], b"opened"))
    before = path.read_bytes()
    found = recover(tmp_path)
    assert path.read_bytes() == before
    later = _write(tmp_path, 2, encode(Kind.OPEN, KEYS[1], b"written after the reading"))
    found.discard()
    assert not path.exists()
    assert later.exists()
    found.discard()  # again, as after a crash between commit and discard


def test_other_files_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "lock").touch()
    (tmp_path / "0190-1.refused").write_bytes(b"{}")
    assert recover(tmp_path).files == []


def test_a_damaged_file_is_kept_under_a_name_that_is_not_read_again(tmp_path: Path) -> None:
    whole = _write(tmp_path, 1, encode(Kind.CLOSE, KEYS[0], b"whole"))
    damaged = _write(tmp_path, 2, encode(Kind.CLOSE, KEYS[1], b"flipped")[:-1] + b"x", encode(Kind.CLOSE, KEYS[2], b"behind it"))
    content = damaged.read_bytes()
    found = recover(tmp_path)
    for _ in range(2):  # again, as after a crash between commit and discard
        found.discard()
        assert not whole.exists()
        (kept,) = tmp_path.iterdir()
        assert (kept.suffix, kept.read_bytes()) == (".damaged", content)
    assert recover(tmp_path).files == []


def test_a_disk_that_may_answer_later_is_asked_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only what it says of data that it has lost ends the reading: the file would be given up with the rows in it."""
    _write(tmp_path, 1, encode(Kind.CLOSE, KEYS[0], b"whole"))

    class Busy:
        def __enter__(self) -> "Busy":
            return self

        def __exit__(self, *_: object) -> None:
            pass

        def read(self, _: int) -> bytes:
            raise OSError(errno.ENOMEM, "no memory")

    monkeypatch.setattr(Path, "open", lambda *_, **__: Busy())
    with pytest.raises(OSError, match="no memory"):
        recover(tmp_path)
