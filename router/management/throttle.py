"""Attempts to sign in are bounded: for one address of mail from one network address, for each of them alone.

The pair has few free attempts, so that guessing is slow; an address of mail alone has many, so that a stranger who fails on
purpose does not lock its owner out. After them each failure doubles the pause. Neither address is stored, only a keyed hash.
"""

import hashlib
import hmac
from dataclasses import dataclass
from datetime import timedelta

from fastapi import Request

from router.management.access import address, transaction
from router.management.state import ManagementState
from warehouse.access import login_failures
from warehouse.base.errors import InferhouseError

PAIR_FREE, EMAIL_FREE, ADDRESS_FREE = 5, 50, 50
WINDOW = timedelta(minutes=15)
"""Without a failure for so long, all of them are forgotten."""
BLOCKED_S_MAX = 900


class TooManyAttempts(InferhouseError):
    """Too many wrong passwords or codes. The next attempt after the pause is looked at again."""

    status, code, type = 429, "too_many_attempts", "rate_limit_error"


@dataclass(frozen=True, slots=True)
class Attempt:
    """One that is counted as failed until it has `succeeded`."""

    state: ManagementState
    pair: bytes
    email: bytes
    address: bytes

    async def succeeded(self) -> None:
        """It was right."""
        async with transaction(self.state, None, platform=True) as conn:
            await login_failures.forget(conn, self.pair)
            await login_failures.forgive(conn, self.email)
            await login_failures.forgive(conn, self.address)


async def begin_attempt(state: ManagementState, request: Request, email: str) -> Attempt:
    """Count an attempt before anything is compared. Raises: TooManyAttempts."""
    mail, origin = email.strip().lower(), address(request) or ""
    attempt = Attempt(
        state,
        *(_subject(state, kind, *parts) for kind, parts in (("pair", (mail, origin)), ("email", (mail,)), ("ip", (origin,)))),
    )
    blocked_s = None
    # In this order: whoever is stopped for the pair does not count against the owner of the address of mail.
    async with transaction(state, None, platform=True) as conn:
        await login_failures.remove_old(conn)
        for subject, free in ((attempt.pair, PAIR_FREE), (attempt.email, EMAIL_FREE), (attempt.address, ADDRESS_FREE)):
            blocked_s = blocked_s or await login_failures.count_attempt(
                conn, subject, free=free, window=WINDOW, blocked_s_max=BLOCKED_S_MAX
            )
    if blocked_s is not None:
        raise TooManyAttempts(f"too many failed attempts: try again in {blocked_s} s", retry_after_s=blocked_s)
    return attempt


def _subject(state: ManagementState, kind: str, *parts: str) -> bytes:
    return hmac.digest(state.key_pepper, "\0".join(("sign-in", kind, *parts)).encode(), hashlib.sha256)
