"""Portal sessions: a signed statement of who signed in and until when. Nothing secret is inside."""

import base64
import binascii
import hashlib
import hmac
import json
import time
from dataclasses import dataclass

SECRET_BYTES_MIN = 16


@dataclass(frozen=True, slots=True)
class Session:
    """Who signed in, and the Unix second at which the session ends."""

    user_id: int
    expires_at_s: int


def sign(session: Session, secret: bytes) -> str:
    """The token `payload.signature`, base64url, HMAC-SHA256."""
    payload = _encode(json.dumps([session.user_id, session.expires_at_s]).encode())
    return f"{payload}.{_encode(hmac.digest(secret, payload.encode(), hashlib.sha256))}"


def verify(token: str, secret: bytes) -> Session | None:
    """The session of a token, or None where the signature is wrong, the shape is another, or the session has ended."""
    payload, _, signature = token.partition(".")
    expected = _encode(hmac.digest(secret, payload.encode(), hashlib.sha256))
    if not hmac.compare_digest(expected.encode(), signature.encode()):
        return None
    try:
        user_id, expires_at_s = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    except (ValueError, binascii.Error):
        return None
    session = Session(user_id=int(user_id), expires_at_s=int(expires_at_s))
    return session if session.expires_at_s > time.time() else None


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
