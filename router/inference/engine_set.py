"""The engines of the catalogue as this worker sees them: connections, and who is healthy since when."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from router.inference.upstream import SWEEP_S, EnginePool, Timeouts, get_bytes
from warehouse.access.catalogue import Engine
from warehouse.base.clock import now
from warehouse.base.errors import InferhouseError

FAILURES_BEFORE_DOWN = 2  # one lost probe is no verdict; a refused connection is
PROBE_TIMEOUTS = Timeouts(connect_s=1, first_token_s=2, between_tokens_s=1, total_s=3)


@dataclass(slots=True, eq=False)
class EngineState:
    """One engine: its connections, and what the last probes said."""

    engine: Engine
    pool: EnginePool
    healthy: bool = False
    since: datetime | None = None
    failures: int = 0

    def answered(self) -> None:
        """A probe was answered with 200."""
        self.failures = 0
        self._turn(healthy=True)

    def failed(self, *, refused: bool = False) -> None:
        """A probe, or the connection of a request (`refused`), failed."""
        self.failures += 1
        if refused or self.failures >= FAILURES_BEFORE_DOWN:
            self._turn(healthy=False)

    def _turn(self, *, healthy: bool) -> None:
        if self.healthy != healthy or self.since is None:
            self.healthy, self.since = healthy, now()


class EngineSet:
    """Engines by id. `replace` follows the catalogue; what is unchanged keeps its connections and its health."""

    def __init__(self, timeouts: Timeouts, *, connections_max: int, health_interval_s: float) -> None:
        self._timeouts, self._connections_max = timeouts, connections_max
        self._health_interval_s = health_interval_s
        self.states: dict[int, EngineState] = {}

    def replace(self, engines: Iterable[Engine]) -> None:
        """The engines are these now. Calls under way to one that is gone run to their end."""
        before, self.states = self.states, {}
        for engine in engines:
            state = before.get(engine.id)
            if state is None or state.engine.base_url != engine.base_url:
                pool = EnginePool(engine.base_url, connections_max=self._connections_max, timeouts=self._timeouts)
                state = EngineState(engine, pool)
            state.engine = engine
            self.states[engine.id] = state

    def healthy(self, engine: Engine) -> bool:
        """Whether the engine answers."""
        state = self.states.get(engine.id)
        return state is not None and state.healthy

    def in_flight(self, engine: Engine) -> int:
        """Requests of this worker that the engine is working on."""
        return self.states[engine.id].pool.in_flight

    async def run(self) -> None:
        """Probe every engine's /health, which costs it no GPU time, and end what takes too long."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._sweep())
            while True:
                states = list(self.states.values())
                await asyncio.gather(*(self._probe(state) for state in states))
                await asyncio.sleep(self._health_interval_s if states else SWEEP_S)

    def close(self) -> None:
        """Abort every connection."""
        for state in self.states.values():
            state.pool.close()

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_S)
            now_s = asyncio.get_running_loop().time()
            for state in list(self.states.values()):
                state.pool.sweep(now_s)

    async def _probe(self, state: EngineState) -> None:
        try:
            connection = await state.pool.acquire(probe=True)
        except InferhouseError:
            state.failed(refused=True)
            return
        try:
            connection.send(get_bytes(state.pool, b"/health"), PROBE_TIMEOUTS)
            head = await connection.answer_head()
            while await connection.read(PROBE_TIMEOUTS.between_tokens_s):
                pass
        except InferhouseError:
            state.failed()
        else:
            state.answered() if head.status == 200 else state.failed()
        finally:
            connection.close()
