"""Models, aliases, engines and the price book as the router reads them: whole, at start and after every change."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from psycopg import AsyncConnection
from psycopg.rows import class_row

from warehouse.access.queries import load_queries

QUERIES = load_queries(__file__)


@dataclass(frozen=True, slots=True)
class Model:
    """A model that is served; limits in tokens. The last four bound what a call has beside its bytes; None: the context."""

    id: int
    name: str
    context_tokens_max: int
    output_tokens_max: int
    created_at: datetime
    template_tokens_per_call: int = 256
    template_tokens_per_message: int = 16
    template_tokens_for_tools: int = 512
    media_tokens_max: int | None = None


@dataclass(frozen=True, slots=True)
class Engine:
    """A running server of one model. `base_url` is where its /v1 is, without a slash at the end.

    `weight`: its share of the load, relative to the other engines of the model; 0 takes no new requests.
    `requests_at_once`: for each worker; None: as many as there may be connections.
    `canary_percent`: of its model's requests; None: it is no canary, 0: one that was stopped.
    """

    id: int
    name: str
    kind: str
    base_url: str
    model: str
    weight: int = 100
    requests_at_once: int | None = None
    served_model: str | None = None
    sealed_key: bytes | None = field(default=None, repr=False)
    canary_percent: int | None = None
    version: int = 1


@dataclass(frozen=True, slots=True)
class Alias:
    """A name that stands for models; `org_id` None is for everybody. `stages`: [[{"model": name, "weight": n}, …], …]."""

    org_id: int | None
    name: str
    stages: list[list[dict[str, Any]]]
    version: int


@dataclass(frozen=True, slots=True)
class Price:
    """One version of the price book, from one instant until another (None: until changed): pico-dollars per token and request.

    `reasoning_picousd` None: as any other output token. The last four are its conditions; a version of priority 0 has none.
    """

    id: int
    model_id: int
    org_id: int | None
    input_picousd: int
    cached_input_picousd: int
    output_picousd: int
    effective_from: datetime
    effective_until: datetime | None
    reasoning_picousd: int | None = None
    request_picousd: int = 0
    priority: int = 0
    endpoint: str | None = None
    input_tokens_from: int = 0
    input_tokens_until: int | None = None
    tags: dict[str, str] = field(default_factory=dict)
    any_input: bool = field(init=False)
    """Whether it is for requests with any number of input tokens."""
    input_picousd_max: int = field(init=False)
    """Of an input token, cached or not; the next is of an output token, reasoning or not: made once for all requests."""
    output_picousd_max: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "any_input", not self.input_tokens_from and self.input_tokens_until is None)
        object.__setattr__(self, "input_picousd_max", max(self.input_picousd, self.cached_input_picousd))
        object.__setattr__(self, "output_picousd_max", max(self.output_picousd, self.reasoning_picousd or 0))

    def may_price(self, endpoint: str, tags: Mapping[str, str] | None) -> bool:
        """Whether requests like this one meet its conditions, as far as those can be judged before the tokens are counted."""
        if self.endpoint is not None and self.endpoint != endpoint:
            return False
        return not self.tags or (tags is not None and self.tags.items() <= tags.items())

    def is_for(self, input_tokens: int) -> bool:
        """Whether it is for requests with so many input tokens."""
        return self.input_tokens_from <= input_tokens and (
            self.input_tokens_until is None or input_tokens < self.input_tokens_until
        )

    def cost_picousd(self, input_tokens: int, cached_input_tokens: int, output_tokens: int, reasoning_tokens: int = 0) -> int:
        """Exact cost in pico-dollars of one request.

        Cached tokens are part of the input tokens and reasoning tokens of the output tokens, as vLLM counts them.
        """
        cost = input_tokens * self.input_picousd + output_tokens * self.output_picousd + self.request_picousd
        if cached_input_tokens:
            cost += cached_input_tokens * (self.cached_input_picousd - self.input_picousd)
        if reasoning_tokens and self.reasoning_picousd is not None:
            cost += reasoning_tokens * (self.reasoning_picousd - self.output_picousd)
        return cost


async def list_models(conn: AsyncConnection) -> list[Model]:
    """Every model that is not retired, by name."""
    async with conn.cursor(row_factory=class_row(Model)) as cur:
        return await (await cur.execute(QUERIES["list_models"])).fetchall()


async def list_engines(conn: AsyncConnection) -> list[Engine]:
    """Every enabled engine of a model that is not retired, by name."""
    async with conn.cursor(row_factory=class_row(Engine)) as cur:
        return await (await cur.execute(QUERIES["list_engines"])).fetchall()


async def list_aliases(conn: AsyncConnection) -> list[Alias]:
    """Every alias, of the installation and of organizations."""
    async with conn.cursor(row_factory=class_row(Alias)) as cur:
        return await (await cur.execute(QUERIES["list_aliases"])).fetchall()


async def stop_canary(conn: AsyncConnection, engine_id: int, version: int, why: str) -> bool:
    """A canary gets no more requests, from any router; False where somebody has changed it or stopped it meanwhile."""
    values = {"id": engine_id, "version": version, "why": why}
    return (await conn.execute(QUERIES["stop_canary"], values)).rowcount == 1


async def list_prices(conn: AsyncConnection) -> list[Price]:
    """Price versions that are, will be, or were within a day in force; of each owner the highest priority first."""
    async with conn.cursor(row_factory=class_row(Price)) as cur:
        return await (await cur.execute(QUERIES["list_prices"])).fetchall()
