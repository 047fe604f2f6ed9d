"""The second factor: codes by time (RFC 6238), and codes on paper for the day on which the phone is lost."""

import base64
import hashlib
import hmac
import secrets
from datetime import datetime

import pyotp
from cryptography.fernet import Fernet, InvalidToken

STEP_S = 30
STEPS_APART_MAX = 1
"""A phone's clock may be this many steps off."""
RECOVERY_CODES = 10
_ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"


class SecondFactor:
    """Codes under the installation's pepper, from which the keys for both kinds are derived."""

    def __init__(self, pepper: bytes) -> None:
        key = hmac.digest(pepper, b"inferhouse second factor", hashlib.sha256)
        self._box = Fernet(base64.urlsafe_b64encode(key))
        self._recovery_key = hmac.digest(pepper, b"inferhouse recovery codes", hashlib.sha256)

    def new_secret(self) -> str:
        """A random secret for an authenticator, base32, 160 bits."""
        return pyotp.random_base32()

    def seal(self, secret: str) -> bytes:
        """The secret as it is stored."""
        return self._box.encrypt(secret.encode())

    def uri(self, secret: str, email: str) -> str:
        """What an authenticator reads from a QR code."""
        return pyotp.TOTP(secret).provisioning_uri(name=email, issuer_name="Inferhouse")

    def step_of(self, sealed: bytes, code: str, now: datetime, step_last: int | None) -> int | None:
        """The time step that a code belongs to; None for a wrong one, or one of a step that was used already.

        Raises: ValueError: the secret was sealed under another pepper.
        """
        try:
            totp = pyotp.TOTP(self._box.decrypt(sealed).decode())
        except InvalidToken as error:
            raise ValueError("the second factor was stored under another ROUTER_KEY_PEPPER") from error
        if not code.isascii():
            return None
        present = int(now.timestamp()) // STEP_S
        for step in range(present - STEPS_APART_MAX, present + STEPS_APART_MAX + 1):
            unused = step_last is None or step > step_last
            if hmac.compare_digest(totp.generate_otp(step).encode(), code.encode()) and unused:
                return step
        return None

    def new_recovery_codes(self) -> list[str]:
        """Ten codes like `k7mw-2xpt-9hqa`, 59 bits each."""
        return ["-".join("".join(secrets.choice(_ALPHABET) for _ in range(4)) for _ in range(3)) for _ in range(RECOVERY_CODES)]

    def recovery_hash(self, code: str) -> bytes:
        """(32,) bytes under which a recovery code is stored, however it is typed."""
        return hmac.digest(self._recovery_key, code.strip().lower().replace("-", "").encode(), hashlib.sha256)
