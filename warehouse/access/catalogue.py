"""Models, engines and the price book as the router reads them: whole, at start and after every change."""

from dataclasses import dataclass
from datetime import datetime

from psycopg import AsyncConnection
from psycopg.rows import class_row

from warehouse.access.queries import load_queries

QUERIES = load_queries(__file__)


@dataclass(frozen=True, slots=True)
class Model:
    """A model that is served; limits in tokens."""

    id: int
    name: str
    context_tokens_max: int
    output_tokens_max: int
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Engine:
    """A running server of one model. `base_url` is scheme, host and port."""

    id: int
    name: str
    kind: str
    base_url: str
    model: str


@dataclass(frozen=True, slots=True)
class Price:
    """One version of the price book: pico-dollars per token from one instant until another (None: until changed)."""

    id: int
    model_id: int
    org_id: int | None
    input_picousd: int
    cached_input_picousd: int
    output_picousd: int
    effective_from: datetime
    effective_until: datetime | None

    def in_force(self, at: datetime) -> bool:
        """Whether this version prices a request that started at this instant."""
        return self.effective_from <= at and (self.effective_until is None or at < self.effective_until)

    def cost_picousd(self, input_tokens: int, cached_input_tokens: int, output_tokens: int) -> int:
        """Exact cost in pico-dollars. Cached tokens are part of the input tokens, as vLLM counts them."""
        return (
            (input_tokens - cached_input_tokens) * self.input_picousd
            + cached_input_tokens * self.cached_input_picousd
            + output_tokens * self.output_picousd
        )


async def list_models(conn: AsyncConnection) -> list[Model]:
    """Every model that is not retired, by name."""
    async with conn.cursor(row_factory=class_row(Model)) as cur:
        return await (await cur.execute(QUERIES["list_models"])).fetchall()


async def list_engines(conn: AsyncConnection) -> list[Engine]:
    """Every enabled engine of a model that is not retired, by name."""
    async with conn.cursor(row_factory=class_row(Engine)) as cur:
        return await (await cur.execute(QUERIES["list_engines"])).fetchall()


async def list_prices(conn: AsyncConnection) -> list[Price]:
    """Price versions that are, will be, or were within a day in force; the list price of a model before its overrides."""
    async with conn.cursor(row_factory=class_row(Price)) as cur:
        return await (await cur.execute(QUERIES["list_prices"])).fetchall()
