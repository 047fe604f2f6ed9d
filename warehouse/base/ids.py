"""Identifiers: UUIDv7 for requests, prefixed random names for everything that a person sees."""

import os
import secrets
import time
from uuid import UUID, SafeUUID

import msgspec

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's: no letter that is read as another
PUBLIC_ID_CHARACTERS = 20  # 100 bits


_RANDOM_BYTES = 10  # for one UUID
_TAILS = 400  # made at a time: a system call for random bytes costs as much as all the rest of a UUID

_tails: list[int] = []
os.register_at_fork(after_in_child=_tails.clear)  # parent and child must not hand out the same ones


def _make_tails() -> None:
    """The lower 80 bits of the next UUIDs, version and variant included; each is taken once."""
    data = os.urandom(_RANDOM_BYTES * _TAILS)
    for position in range(0, len(data), _RANDOM_BYTES):
        random = int.from_bytes(data[position : position + _RANDOM_BYTES], "big")
        _tails.append(0x7 << 76 | (random >> 68 & 0xFFF) << 64 | 0b10 << 62 | random & (2**62 - 1))


def uuid7() -> UUID:
    """A time-ordered random UUID. Source: RFC 9562, section 5.7 (48 bits of milliseconds, 74 random bits)."""
    while True:
        try:
            tail = _tails.pop()
            break
        except IndexError:  # in a loop: another thread may take what this one has made
            _make_tails()
    made = _new_uuid(UUID)
    _set_int(made, time.time_ns() // 1_000_000 << 80 | tail)
    _set_is_safe(made, SafeUUID.unknown)
    return made


# What UUID(int=…) does in the end, without the looking through its seven parameters that takes most of its time.
_new_uuid = object.__new__
_set_int, _set_is_safe = UUID.int.__set__, UUID.is_safe.__set__  # type: ignore[attr-defined, misc]  # slots


def text_of(id_: UUID) -> bytes:
    """As `str` writes it, for a third of the time."""
    return _WRITE(id_)[1:-1]


_WRITE = msgspec.json.Encoder().encode


def public_id(prefix: str) -> str:
    """A new identifier such as `org_0f3k…`: 100 random bits behind the noun's prefix."""
    return f"{prefix}_{''.join(secrets.choice(_ALPHABET) for _ in range(PUBLIC_ID_CHARACTERS))}"
