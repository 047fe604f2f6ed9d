"""Passwords: argon2id with the library's current defaults (RFC 9106's second recommended option)."""

import secrets
from base64 import b64encode

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerifyMismatchError
from argon2.low_level import ARGON2_VERSION

PASSWORD_CHARACTERS_MIN = 12  # NIST SP 800-63B asks for length, and for no rules about characters
PASSWORD_CHARACTERS_MAX = 1024
_HASHER = PasswordHasher()


def _nobody() -> str:
    """A hash that was not computed, which takes a tenth of a second and 64 MiB, and that therefore no password has."""
    salt, digest = (
        b64encode(secrets.token_bytes(length)).rstrip(b"=").decode() for length in (_HASHER.salt_len, _HASHER.hash_len)
    )
    costs = f"m={_HASHER.memory_cost},t={_HASHER.time_cost},p={_HASHER.parallelism}"
    return f"$argon2id$v={ARGON2_VERSION}${costs}${salt}${digest}"


# Verified against when the user is unknown, so that an attacker cannot tell by the time it takes.
_NOBODY = _nobody()


def hash_password(password: str) -> str:
    """The argon2id hash that is stored."""
    return _HASHER.hash(password)


def verify_password(password_hash: str | None, password: str) -> bool:
    """Whether the password is the one of this hash; None (unknown user, or one without password) takes as long and is False."""
    try:
        _HASHER.verify(password_hash or _NOBODY, password)
    except (VerifyMismatchError, InvalidHashError):
        return False
    return password_hash is not None
