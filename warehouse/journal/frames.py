"""The form of a journal file: frames of length, checksum, kind, key and payload, one after another, then eight zero bytes.

Frame: u32 length of what follows the checksum, u32 CRC-32 of it, u8 kind, 18 bytes key, payload; little-endian.
The key is (request id, attempt): it joins an open record to its close record.
"""

import struct
import zlib
from collections.abc import Iterator
from enum import IntEnum
from typing import NamedTuple

KEY_BYTES = 18  # 16 of the request id, 2 of the attempt
FRAME_BYTES_MAX = 64 * 1024  # far above any row; a longer length is damage
_HEAD = struct.Struct("<II")
END = bytes(_HEAD.size)  # after the last frame: files are longer than what is in them, and are used anew


class Kind(IntEnum):
    """What a frame says about its key."""

    OPEN = 1
    CLOSE = 2


class Frame(NamedTuple):
    """One record, as read back."""

    kind: Kind
    key: bytes
    payload: bytes


_NUMBERS = frozenset(Kind)
_KINDS = tuple(bytes([kind]) for kind in range(len(Kind) + 1))


def encode(kind: Kind, key: bytes, payload: bytes) -> bytes:
    """The bytes of one frame."""
    body = _KINDS[kind] + key + payload
    return _HEAD.pack(len(body), zlib.crc32(body)) + body


def decode(data: bytes) -> Iterator[Frame]:
    """The whole frames of a file, up to END, the end of the file or the first damage (a write that was cut short).

    Compare what stands behind the sum of frame lengths with END to see whether it was cut.
    """
    position = 0
    while position + _HEAD.size <= len(data):
        length, checksum = _HEAD.unpack_from(data, position)
        body = data[position + _HEAD.size : position + _HEAD.size + length]
        if not KEY_BYTES < length <= FRAME_BYTES_MAX or len(body) < length or zlib.crc32(body) != checksum:
            return
        if body[0] not in _NUMBERS:
            return
        yield Frame(Kind(body[0]), body[1 : 1 + KEY_BYTES], body[1 + KEY_BYTES :])
        position += _HEAD.size + length


def frame_bytes(frame: Frame) -> int:
    """Length of the frame in the file, in bytes."""
    return _HEAD.size + 1 + KEY_BYTES + len(frame.payload)
