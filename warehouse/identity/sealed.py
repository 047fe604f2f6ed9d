"""Secrets that the platform must be able to use, and shows to nobody: encrypted at rest with AES-256-GCM.

The key is derived by HKDF from ROUTER_SEALING_KEY. What is sealed is bound to a name, so that a sealed value that is copied
to another row does not open there. To rotate the key, name the old one in ROUTER_SEALING_KEY_PREVIOUS, send every secret
again (or let a change of its row seal it anew), and take the old one away.
"""

import os
from collections.abc import Sequence

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

KEY_CHARACTERS_MIN = 16
_VERSION, _NONCE_BYTES, _TAG_BYTES, _KEY_BYTES = b"\x01", 12, 16, 32


class CannotOpen(ValueError):
    """What was sealed does not open: another key, another name, or it was altered."""


class Sealer:
    """Seals with the first of its keys, opens with any of them."""

    def __init__(self, secrets: Sequence[str]) -> None:
        self._boxes = [AESGCM(_derived(secret)) for secret in secrets if secret]
        if not self._boxes:
            raise ValueError("no key to seal with")

    def seal(self, secret: str, name: str) -> bytes:
        """The secret as it is stored under a name."""
        nonce = os.urandom(_NONCE_BYTES)
        return _VERSION + nonce + self._boxes[0].encrypt(nonce, secret.encode(), name.encode())

    def open(self, sealed: bytes, name: str) -> str:
        """The secret. Raises: CannotOpen."""
        nonce, rest = sealed[1 : 1 + _NONCE_BYTES], sealed[1 + _NONCE_BYTES :]
        for box in self._boxes if sealed.startswith(_VERSION) and len(rest) >= _TAG_BYTES else ():
            try:
                return box.decrypt(nonce, rest, name.encode()).decode()
            except InvalidTag:
                continue
        raise CannotOpen("it was sealed under another key or for another name, or was altered")


def _derived(secret: str) -> bytes:
    return HKDF(algorithm=SHA256(), length=_KEY_BYTES, salt=None, info=b"inferhouse sealed secrets").derive(secret.encode())
