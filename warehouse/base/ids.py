"""Identifiers: UUIDv7 for requests, prefixed random names for everything that a person sees."""

import os
import secrets
import struct
import time
from uuid import UUID, SafeUUID

import msgspec

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's: no letter that is read as another
PUBLIC_ID_CHARACTERS = 20  # 100 bits


_TAILS = struct.Struct(">512Q")  # made at a time: a system call for random bytes costs as much as all the rest of a UUID
_TAIL_MASK = 2**62 - 1
_tails: list[int] = []
os.register_at_fork(after_in_child=_tails.clear)  # parent and child must not hand out the same ones


def uuid7() -> UUID:
    """A time-ordered random UUID: 48 bits of milliseconds, 12 of their fraction, 62 random ones.

    Source: RFC 9562, section 5.7, and 6.2 for the fraction (method 3).
    """
    while True:
        try:
            tail = _tails.pop()
            break
        except IndexError:  # in a loop: another thread may take what this one has made
            _tails.extend(_TAILS.unpack(os.urandom(_TAILS.size)))
    ms, rest_ns = divmod(time.time_ns(), 1_000_000)
    made = _new_uuid(UUID)
    _set_int(made, (ms << 16 | 0x7000 | rest_ns * 4096 // 1_000_000) << 64 | 0b10 << 62 | tail & _TAIL_MASK)
    _set_is_safe(made, _UNKNOWN)
    return made


# What UUID(int=…) does in the end, without the looking through its seven parameters that takes most of its time.
_new_uuid = object.__new__
_UNKNOWN = SafeUUID.unknown
_set_int, _set_is_safe = UUID.int.__set__, UUID.is_safe.__set__  # type: ignore[attr-defined, misc]  # slots


def text_of(id_: UUID) -> bytes:
    """As `str` writes it, for a third of the time."""
    return _WRITE(id_)[1:-1]


_WRITE = msgspec.json.Encoder().encode


def public_id(prefix: str) -> str:
    """A new identifier such as `org_0f3k…`: 100 random bits behind the noun's prefix."""
    return f"{prefix}_{''.join(secrets.choice(_ALPHABET) for _ in range(PUBLIC_ID_CHARACTERS))}"
