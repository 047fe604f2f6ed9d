"""A journal file says what was written to it or nothing, whatever was cut off or flipped."""

import struct
import zlib

from hypothesis import given
from hypothesis import strategies as st

from warehouse.journal.frames import FRAME_BYTES_MAX, KEY_BYTES, Frame, Kind, decode, encode, frame_bytes

KEYS = st.binary(min_size=KEY_BYTES, max_size=KEY_BYTES)
FRAMES = st.builds(Frame, st.sampled_from(Kind), KEYS, st.binary(max_size=300))


def _file(frames: list[Frame]) -> bytes:
    return b"".join(encode(*frame) for frame in frames)


@given(frames=st.lists(FRAMES, max_size=20))
def test_what_was_written_is_read(frames: list[Frame]) -> None:
    data = _file(frames)
    assert list(decode(data)) == frames
    assert sum(map(frame_bytes, frames)) == len(data)


def test_a_torn_end_costs_only_the_frame_that_was_torn() -> None:
    frames = [
        Frame(Kind.OPEN, b"k" * KEY_BYTES, b"x" * 40),
        Frame(Kind.CLOSE, b"k" * KEY_BYTES, b""),
        Frame(Kind.OPEN, b"l" * 18, b"y"),
    ]
    data = _file(frames)
    ends = [sum(map(frame_bytes, frames[:count])) for count in range(len(frames) + 1)]
    for length in range(len(data) + 1):
        whole = sum(end <= length for end in ends) - 1
        assert list(decode(data[:length])) == frames[:whole]


@given(frames=st.lists(FRAMES, min_size=1, max_size=5), data=st.data())
def test_a_flipped_bit_never_gives_a_frame_that_was_not_written(frames: list[Frame], data: st.DataObject) -> None:
    written = bytearray(_file(frames))
    bit = data.draw(st.integers(0, len(written) * 8 - 1))
    written[bit // 8] ^= 1 << bit % 8
    read = list(decode(bytes(written)))
    assert read == frames[: len(read)]
    assert len(read) < len(frames)


@given(garbage=st.binary(max_size=2000))
def test_garbage_is_no_frame_and_no_error(garbage: bytes) -> None:
    """A checksum is right by chance once in four thousand million."""
    assert list(decode(garbage)) == []


def test_zeros_that_a_file_system_left_are_no_frames() -> None:
    frame = Frame(Kind.OPEN, bytes(KEY_BYTES), b"payload")
    assert list(decode(encode(*frame) + bytes(4096))) == [frame]


def test_a_length_above_the_bound_is_damage() -> None:
    longest = Frame(Kind.OPEN, bytes(KEY_BYTES), bytes(FRAME_BYTES_MAX - 1 - KEY_BYTES))
    assert list(decode(encode(*longest))) == [longest]
    assert list(decode(encode(longest.kind, longest.key, longest.payload + b"x"))) == []


def test_a_record_of_a_kind_that_a_later_version_has_ends_the_reading() -> None:
    known = Frame(Kind.CLOSE, bytes(KEY_BYTES), b"payload")
    body = bytes([len(Kind) + 1]) + bytes(KEY_BYTES)
    unknown = struct.pack("<II", len(body), zlib.crc32(body)) + body
    assert list(decode(encode(*known) + unknown + encode(*known))) == [known]
