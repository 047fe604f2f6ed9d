"""Attempts to sign in that failed, by who was meant and by where they came from, and for how long no more are taken."""

from datetime import timedelta

from psycopg import AsyncConnection

from warehouse.access.queries import load_queries

QUERIES = load_queries(__file__)


async def count_attempt(conn: AsyncConnection, subject: bytes, *, free: int, window: timedelta, blocked_s_max: int) -> int | None:
    """Count an attempt as failed until `forgive` or `forget` says otherwise.

    Returns:
        None where it may go on, otherwise the seconds for which none is taken (and this one was not counted).
    """
    values = {"subject": subject, "free": free, "window": window, "blocked_s_max": blocked_s_max}
    if await (await conn.execute(QUERIES["count_attempt"], values)).fetchone() is not None:
        return None
    row = await (await conn.execute(QUERIES["blocked_s"], {"subject": subject})).fetchone()
    return max(row[0], 1) if row else 1


async def forgive(conn: AsyncConnection, subject: bytes) -> None:
    """The last attempt was right: of many who share an address, one who signs in does not count against the others."""
    await conn.execute(QUERIES["forgive"], {"subject": subject})


async def forget(conn: AsyncConnection, subject: bytes) -> None:
    """The right password was given: what failed before does not matter any more."""
    await conn.execute(QUERIES["forget"], {"subject": subject})


async def remove_old(conn: AsyncConnection) -> None:
    """Forget attempts of more than a day ago."""
    await conn.execute(QUERIES["remove_old"])
