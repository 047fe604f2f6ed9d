"""Sign-ins under way at an identity provider: what must be known when the browser comes back, once."""

from dataclasses import dataclass, field
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import class_row

from warehouse.access.queries import load_queries

QUERIES = load_queries(__file__)


@dataclass(frozen=True, slots=True)
class OidcLogin:
    """What was sent to the provider with the browser."""

    nonce: str = field(repr=False)
    code_verifier: str = field(repr=False)
    redirect_uri: str


async def add(conn: AsyncConnection, **values: Any) -> None:
    """A new one. Values: state_hash, nonce, code_verifier, redirect_uri, expires_at."""
    await conn.execute(QUERIES["remove_ended"])
    await conn.execute(QUERIES["add"], values)


async def take(conn: AsyncConnection, state_hash: bytes) -> OidcLogin | None:
    """The one with this state, which is then gone; None where it is unknown, ended or was taken."""
    async with conn.cursor(row_factory=class_row(OidcLogin)) as cur:
        return await (await cur.execute(QUERIES["take"], {"state_hash": state_hash})).fetchone()
