"""Tokens of invites: `inv-ih-<secret>`. Only a keyed hash is stored; the token is shown once.

The prefix lets secret scanners find a leaked one: `inv-ih-[0-9A-Za-z]{40}`.
"""

import hashlib
import hmac
import re
import secrets
import string
from dataclasses import dataclass, field

_ALPHABET = string.digits + string.ascii_letters
_SECRET_CHARACTERS = 40  # 238 bits
_SHAPE = re.compile(rf"inv-ih-([0-9A-Za-z]{{{_SECRET_CHARACTERS}}})")


@dataclass(frozen=True, slots=True)
class InviteToken:
    """A token as the invited person has it. It does not appear in `repr`."""

    secret: str = field(repr=False)

    @classmethod
    def generate(cls) -> "InviteToken":
        """A new random token."""
        return cls("".join(secrets.choice(_ALPHABET) for _ in range(_SECRET_CHARACTERS)))

    @classmethod
    def parse(cls, text: str) -> "InviteToken | None":
        """The token of a text, or None for a text of another shape (it costs no look-up then)."""
        match = _SHAPE.fullmatch(text)
        return cls(match[1]) if match else None

    def reveal(self) -> str:
        """The whole token, for the one time that it is shown."""
        return f"inv-ih-{self.secret}"

    def hash(self, pepper: bytes) -> bytes:
        """(32,) bytes: HMAC-SHA256 of the secret under the pepper, for invites only."""
        return hmac.digest(pepper, b"invite\0" + self.secret.encode(), hashlib.sha256)
