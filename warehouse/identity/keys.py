"""API keys: `sk-ih-<public id>-<secret>`. Only a keyed hash of the secret is stored; the key is shown once.

The public id names the key in logs, pages and queries; the prefix lets secret scanners find a leaked one:
`sk-ih-[0-9A-Za-z]{16}-[0-9A-Za-z]{40}`.
"""

import hashlib
import hmac
import re
import secrets
import string
from dataclasses import dataclass, field

_ALPHABET = string.digits + string.ascii_letters
_PUBLIC_CHARACTERS = 16
_SECRET_CHARACTERS = 40  # 238 bits
_SHAPE = re.compile(rf"sk-ih-([0-9A-Za-z]{{{_PUBLIC_CHARACTERS}}})-([0-9A-Za-z]{{{_SECRET_CHARACTERS}}})")


@dataclass(frozen=True, slots=True)
class ApiKeySecret:
    """A key as its holder has it. Its secret part does not appear in `repr`."""

    public_id: str
    secret: str = field(repr=False)

    @classmethod
    def generate(cls) -> "ApiKeySecret":
        """A new random key."""
        public_id = "".join(secrets.choice(_ALPHABET) for _ in range(_PUBLIC_CHARACTERS))
        return cls(public_id, "".join(secrets.choice(_ALPHABET) for _ in range(_SECRET_CHARACTERS)))

    @classmethod
    def parse(cls, text: str) -> "ApiKeySecret | None":
        """The parts of a key, or None for a text of another shape (it costs no look-up then)."""
        match = _SHAPE.fullmatch(text)
        return cls(match[1], match[2]) if match else None

    def reveal(self) -> str:
        """The whole key, for the one time that it is shown."""
        return f"sk-ih-{self.public_id}-{self.secret}"

    def hash(self, pepper: bytes) -> bytes:
        """(32,) bytes: HMAC-SHA256 of the secret under the pepper. A slow hash guards guessable secrets; these are not."""
        return hmac.digest(pepper, self.secret.encode(), hashlib.sha256)

    def matches(self, secret_hash: bytes, pepper: bytes) -> bool:
        """Whether this is the key that the hash was made of; takes the same time either way."""
        return hmac.compare_digest(self.hash(pepper), secret_hash)
