"""Identifiers: UUIDv7 for requests, prefixed random names for everything that a person sees."""

import os
import secrets
import time
from uuid import UUID

_ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"  # Crockford's: no letter that is read as another
PUBLIC_ID_CHARACTERS = 20  # 100 bits


def uuid7() -> UUID:
    """A time-ordered random UUID. Source: RFC 9562, section 5.7 (48 bits of milliseconds, 74 random bits)."""
    milliseconds = time.time_ns() // 1_000_000
    random = int.from_bytes(os.urandom(10), "big")
    value = (milliseconds & (2**48 - 1)) << 80 | 0x7 << 76 | (random >> 68 & 0xFFF) << 64 | 0b10 << 62 | random & (2**62 - 1)
    return UUID(int=value)


def public_id(prefix: str) -> str:
    """A new identifier such as `org_0f3k…`: 100 random bits behind the noun's prefix."""
    return f"{prefix}_{''.join(secrets.choice(_ALPHABET) for _ in range(PUBLIC_ID_CHARACTERS))}"
