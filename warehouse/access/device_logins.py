"""Sign-ins of devices without a browser, from the request to the one answer with a session (RFC 8628)."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import class_row

from warehouse.access.queries import load_queries

QUERIES = load_queries(__file__)


@dataclass(frozen=True, slots=True)
class DeviceLogin:
    """One under way, as the device asks for it. `polled_before_at`: when it asked before this time."""

    id: int
    user_id: int | None
    second_factor: bool
    approved_at: datetime | None
    denied_at: datetime | None
    expires_at: datetime
    polled_before_at: datetime | None


@dataclass(frozen=True, slots=True)
class WaitingDevice:
    """One that waits for its user's word: where it asked from."""

    ip: str | None
    user_agent: str | None
    created_at: datetime


async def add(conn: AsyncConnection, **values: Any) -> bool:
    """A new one. Values: device_code_hash, user_code, expires_at, ip, user_agent. False where the user code is taken."""
    await conn.execute(QUERIES["remove_ended"])
    return await (await conn.execute(QUERIES["add"], values)).fetchone() is not None


async def poll(conn: AsyncConnection, device_code_hash: bytes) -> DeviceLogin | None:
    """How far it is; others who ask for it wait until this transaction ends."""
    async with conn.cursor(row_factory=class_row(DeviceLogin)) as cur:
        return await (await cur.execute(QUERIES["poll"], {"device_code_hash": device_code_hash})).fetchone()


async def remove(conn: AsyncConnection, login_id: int) -> None:
    """It has been answered, for the one time that it is."""
    await conn.execute(QUERIES["remove"], {"login_id": login_id})


async def find(conn: AsyncConnection, user_code: str) -> WaitingDevice | None:
    """The device that shows this code, while nothing has been decided."""
    async with conn.cursor(row_factory=class_row(WaitingDevice)) as cur:
        return await (await cur.execute(QUERIES["find"], {"user_code": user_code})).fetchone()


async def approve(conn: AsyncConnection, user_code: str, user_id: int, *, second_factor: bool) -> bool:
    """The device signs in as this user; False where no device waits with this code."""
    values = {"user_code": user_code, "user_id": user_id, "second_factor": second_factor}
    return await (await conn.execute(QUERIES["approve"], values)).fetchone() is not None


async def deny(conn: AsyncConnection, user_code: str) -> bool:
    """The device does not sign in; False where no device waits with this code."""
    return await (await conn.execute(QUERIES["deny"], {"user_code": user_code})).fetchone() is not None
