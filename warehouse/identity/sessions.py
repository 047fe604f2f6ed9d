"""Session tokens: a signed statement of which session, which of its tokens, and until when. Nothing secret is inside.

A session has one newest token. Rotation makes the next; whoever then uses one that is two or more behind, or the one before
after a short overlap, has a copy, and the session ends (RFC 9700, section 4.14.2, has the idea for refresh tokens).
"""

import base64
import binascii
import hashlib
import hmac
import json
import time
from dataclasses import dataclass
from datetime import datetime, timedelta

OVERLAP = timedelta(seconds=60)
"""How long the token before the newest still works: for requests that were under way."""


@dataclass(frozen=True, slots=True)
class Session:
    """What a token says: the session's public id, the number of the token in it, and the Unix second at which it ends."""

    public_id: str
    serial: int
    expires_at_s: int


def sign(session: Session, secret: bytes) -> str:
    """The token `payload.signature`, base64url, HMAC-SHA256."""
    payload = _encode(json.dumps([session.public_id, session.serial, session.expires_at_s]).encode())
    return f"{payload}.{_encode(hmac.digest(secret, payload.encode(), hashlib.sha256))}"


def verify(token: str, secret: bytes) -> Session | None:
    """The session of a token, or None where the signature is wrong, the shape is another, or the session has ended."""
    payload, _, signature = token.partition(".")
    expected = _encode(hmac.digest(secret, payload.encode(), hashlib.sha256))
    if not hmac.compare_digest(expected.encode(), signature.encode()):
        return None
    try:
        public_id, serial, expires_at_s = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except (ValueError, binascii.Error):
        return None
    session = Session(str(public_id), int(serial), int(expires_at_s))
    return session if session.expires_at_s > time.time() else None


def is_current(serial: int, newest: int, rotated_at: datetime, now: datetime) -> bool:
    """Whether a token of this number may still be used; False means that somebody has a copy."""
    return serial == newest or (serial == newest - 1 and now < rotated_at + OVERLAP)


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
