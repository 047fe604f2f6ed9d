"""Price versions: what is added closes the version before, what is taken away opens it again; the past stays."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import class_row, scalar_row
from psycopg.types.json import Jsonb

from warehouse.access.queries import load_queries

QUERIES = load_queries(__file__)


@dataclass(frozen=True, slots=True)
class PriceVersion:
    """Pico-dollars per token and request from one instant until another (None: until changed), where its conditions hold.

    Without organization a list price. `reasoning_picousd` None: as any other output token.
    """

    id: int
    model: str
    organization: str | None
    input_picousd: int
    cached_input_picousd: int
    output_picousd: int
    reasoning_picousd: int | None
    request_picousd: int
    priority: int
    endpoint: str | None
    input_tokens_from: int
    input_tokens_until: int | None
    tags: dict[str, str]
    effective_from: datetime
    effective_until: datetime | None
    reason: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Place:
    """Where a version stands in the book: whose it is and its conditions. In one place versions follow each other."""

    model_id: int
    org_id: int | None = None
    priority: int = 0
    endpoint: str | None = None
    input_tokens_from: int = 0
    input_tokens_until: int | None = None
    tags: dict[str, str] = field(default_factory=dict)

    @property
    def values(self) -> dict[str, Any]:
        """As the queries take it."""
        return {name: getattr(self, name) for name in self.__slots__} | {"tags": Jsonb(self.tags)}


@dataclass(frozen=True, slots=True)
class Repriced:
    """Charged rows that a version would have priced: how many, what they cost and what they would have cost."""

    usage_rows: int
    cost_picousd: int
    cost_picousd_then: int


async def page(conn: AsyncConnection, **window: Any) -> list[PriceVersion]:
    """Versions, the newest made first. Window: after (id or None), rows_max, model, organization, list_only, at."""
    async with conn.cursor(row_factory=class_row(PriceVersion)) as cur:
        return await (await cur.execute(QUERIES["page"], window)).fetchall()


async def find(conn: AsyncConnection, price_id: int) -> PriceVersion | None:
    """The version with this id."""
    async with conn.cursor(row_factory=class_row(PriceVersion)) as cur:
        return await (await cur.execute(QUERIES["find"], {"id": price_id})).fetchone()


async def conditional(conn: AsyncConnection, org_id: int, models: list[str]) -> list[PriceVersion]:
    """Versions with conditions that are in force for an organization, by model in the order of choice."""
    async with conn.cursor(row_factory=class_row(PriceVersion)) as cur:
        return await (await cur.execute(QUERIES["conditional"], {"org_id": org_id, "models": models})).fetchall()


async def now(conn: AsyncConnection) -> datetime:
    """The database's clock, by which what is past is told from what is to come. To be read after the model is locked."""
    instant: datetime = await _scalar(conn, "now")
    return instant


async def in_force(conn: AsyncConnection, place: Place, instant: datetime) -> PriceVersion | None:
    """The version of this place at an instant."""
    return await _version(conn, await _scalar(conn, "in_force", **place.values, instant=instant))


async def next_start(conn: AsyncConnection, place: Place, instant: datetime) -> datetime | None:
    """When the first version of this place behind an instant starts."""
    start: datetime | None = await _scalar(conn, "next_start", **place.values, instant=instant)
    return start


async def rival(conn: AsyncConnection, place: Place, start: datetime, end: datetime | None) -> PriceVersion | None:
    """A version of another place between which and this one the priority does not decide."""
    values = place.values | {"effective_from": start, "effective_until": end}
    return await _version(conn, await _scalar(conn, "rival", **values))


async def base(conn: AsyncConnection, place: Place, instant: datetime) -> PriceVersion | None:
    """The version that prices at an instant what one of this place would."""
    return await _version(conn, await _scalar(conn, "base", **place.values, instant=instant))


async def cut(conn: AsyncConnection, price_id: int, instant: datetime) -> None:
    """End a version that is in force before that, or from then on."""
    await conn.execute(QUERIES["cut"], {"id": price_id, "instant": instant})


async def add(conn: AsyncConnection, place: Place, **version: Any) -> PriceVersion:
    """A version: each price in pico-dollars, effective_from, effective_until, reason."""
    added = await _version(conn, await _scalar(conn, "add", **place.values, **version))
    assert added is not None
    return added


async def remove(conn: AsyncConnection, price_id: int) -> None:
    """Take a version away."""
    await conn.execute(QUERIES["remove"], {"id": price_id})


async def reopen(conn: AsyncConnection, place: Place, instant: datetime, until: datetime | None) -> None:
    """Let the version of this place that ends at an instant go on until another."""
    await conn.execute(QUERIES["reopen"], place.values | {"instant": instant, "until": until})


async def usage(conn: AsyncConnection, place: Place, since: datetime, **picousd: int | None) -> Repriced:
    """What the charged rows since an instant that a version would have priced cost, and what they would have cost."""
    found = await (await conn.execute(QUERIES["usage"], place.values | picousd | {"since": since})).fetchone()
    assert found is not None
    return Repriced(*map(int, found))


async def limit_time(conn: AsyncConnection, seconds: float) -> None:
    """The most that each further statement of this transaction may take."""
    await conn.execute(QUERIES["limit_time"], {"milliseconds": f"{seconds * 1000:.0f}"})


async def _version(conn: AsyncConnection, price_id: int | None) -> PriceVersion | None:
    return None if price_id is None else await find(conn, price_id)


async def _scalar(conn: AsyncConnection, query: str, **values: Any) -> Any:
    async with conn.cursor(row_factory=scalar_row) as cur:
        return await (await cur.execute(QUERIES[query], values)).fetchone()
