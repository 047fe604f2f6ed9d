"""The engines of the catalogue as this worker sees them: connections, who is healthy since when, and how loaded."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from weakref import WeakSet

from router.inference.affinity import seed_of
from router.inference.breaker import WINDOW_S, Breaker
from router.inference.canary import Trial
from router.inference.upstream import SWEEP_S, EnginePool, EngineUnreachable, Timeouts
from warehouse.access.catalogue import Engine
from warehouse.base.clock import now
from warehouse.base.errors import InferhouseError
from warehouse.identity.sealed import CannotOpen, Sealer

_LOG = logging.getLogger(__name__)
FAILURES_BEFORE_DOWN = 2  # one lost probe is no verdict; a refused connection is
OK = 200
BUSY_S = 0.5  # an engine that is busy and does not say for how long; it doubles as long as it says nothing else
BUSY_DOUBLED_S_MAX = 4.0  # so an engine that is free again is found within this time
BUSY_S_MAX = 30.0  # however long it says: it is asked again then
SILENT_S = WINDOW_S / 2  # an engine that says nothing to anybody for so long, and loses a client over it, has failed it
HOSTED = "openai"
HEALTH, MODELS = b"/health", b"/v1/models"
NO_LIST = frozenset({403, 404, 405, 429})
PROBES = {HOSTED: MODELS, "sglang": MODELS}
"""What is asked of kinds that have no `/health`, or, as SGLang, one that generates a token and waits for a busy GPU."""
HOSTED_RETRY_S = 5.0  # after a probe of one that failed
HOSTED_PROBE_S = 60.0  # what its calls say in between is the breaker's to see
PROBE_TIMEOUTS = Timeouts(connect_s=1, first_token_s=2, between_tokens_s=1, total_s=3)


@dataclass(slots=True, eq=False)
class EngineState:
    """One engine: its connections, what the last probes said, and what it is working on for this worker."""

    engine: Engine
    pool: EnginePool
    healthy: bool = False
    since: datetime | None = None
    failures: int = 0
    id: int = field(init=False)
    seed: int = field(init=False)
    weight: int = field(init=False)
    bound: int = field(init=False)
    """Requests at once."""
    canary_percent: int | None = field(init=False)
    headers: bytes = field(init=False, default=b"", repr=False)
    """Lines that each request to this engine has beside its own, as they go over the wire."""
    tokens: int = 0
    requests: int = 0
    busy_until_s: float = 0.0
    pause_s: float = 0.0
    """The last pause of an engine that was busy and did not say for how long; 0 since it has answered."""
    breaker: Breaker = field(default_factory=Breaker)
    trial: Trial | None = None
    """Kept where its model has a canary."""
    probe_at_s: float = 0.0
    probed: bool = False
    """A probe is under way."""

    def follow(self, engine: Engine, sealer: Sealer | None, *, connections_max: int) -> None:
        """The engine is as the catalogue has it now; what `init=False` leaves out is known from then on."""
        if engine.version != self.engine.version:
            self.trial = None
        self.engine, self.id, self.seed = engine, engine.id, seed_of(engine.name)
        self.weight, self.canary_percent = engine.weight, engine.canary_percent
        self.bound = min(engine.requests_at_once or connections_max, connections_max)
        self.headers = b""
        if engine.sealed_key is not None:
            self._open(engine.sealed_key, sealer)

    def _open(self, sealed: bytes, sealer: Sealer | None) -> None:
        """The provider's key as a header. One that cannot be opened takes the engine out, and the log says why."""
        why = "ROUTER_SEALING_KEY is not set"
        if sealer is not None:
            try:
                self.headers = b"authorization: Bearer %b\r\n" % sealer.open(sealed, self.engine.name).encode()
            except CannotOpen as error:
                why = str(error)
            else:
                return
        self.weight = 0
        _LOG.error("the key of an engine cannot be opened", extra={"engine": self.engine.name, "why": why})

    def able(self, now_s: float) -> bool:
        """Whether it may be asked."""
        return (
            self.healthy
            and self.requests < self.bound
            and self.weight > 0
            and self.busy_until_s <= now_s
            and (not self.breaker.is_open or self.breaker.able(now_s))
        )

    def places(self, now_s: float) -> int:
        """How many more requests may begin: where its breaker is open, the one that is the try."""
        if not self.able(now_s):
            return 0
        return 1 if self.breaker.is_open else self.bound - self.requests

    def leave_alone(self, now_s: float, said_s: float | None) -> None:
        """It is busy. Args: said_s: for how long, as it says itself; less than half a second says nothing of use.

        It would get all traffic: nobody has less under way than an engine that refuses at once.
        """
        if said_s is None or said_s < BUSY_S:
            if now_s >= self.busy_until_s:  # many that were asked at once and are told the same have heard it once
                self.pause_s = min(self.pause_s * 2, BUSY_DOUBLED_S_MAX) or BUSY_S
            said_s = self.pause_s or BUSY_S
        self.busy_until_s = max(self.busy_until_s, now_s + min(said_s, BUSY_S_MAX))

    def worth_asking(self, until_s: float) -> bool:
        """Whether it may be able until then, whatever its breaker says."""
        return self.healthy and self.weight > 0 and self.busy_until_s <= until_s and self.canary_percent != 0

    def only_full(self, now_s: float, until_s: float) -> bool:
        """Whether it could be asked, were it not at its bound or busy, and may be until then: worth waiting for."""
        if not self.worth_asking(until_s) or (self.breaker.is_open and not self.breaker.able(now_s)):
            return False
        return self.requests >= self.bound or self.busy_until_s > now_s

    def is_silent(self, now_s: float) -> bool:
        """Whether nobody has had an answer, or a piece of one, in the last SILENT_S at least. What probes say is no answer."""
        return now_s - self.pool.heard_s >= SILENT_S and self.breaker.has_heard_nothing(now_s)

    def answered(self) -> None:
        """A probe was answered with 200."""
        self.failures = 0
        self._turn(healthy=True)

    def failed(self, *, refused: bool = False, why: str = "") -> None:
        """A probe, or the connection of a request (`refused`), failed: whether it is well again is looked at soon."""
        self.failures += 1
        self.probe_at_s = 0.0
        if refused or self.failures >= FAILURES_BEFORE_DOWN:
            self._turn(healthy=False, why=why)

    def _turn(self, *, healthy: bool, why: str = "") -> None:
        if self.healthy == healthy and self.since is not None:
            return
        if not healthy:  # a certificate that does not hold looks from everywhere else like an engine that is gone
            _LOG.warning("an engine is not asked any more", extra={"engine": self.engine.name, "why": why})
        elif self.since is not None:
            _LOG.info("an engine is asked again", extra={"engine": self.engine.name})
        self.healthy, self.since = healthy, now()


class EngineSet:
    """Engines by id. `replace` follows the catalogue; what is unchanged keeps its connections and its health."""

    def __init__(
        self, timeouts: Timeouts, *, connections_max: int, health_interval_s: float, sealer: Sealer | None = None
    ) -> None:
        self._timeouts, self._connections_max, self._sealer = timeouts, connections_max, sealer
        self._health_interval_s = health_interval_s
        self.states: dict[int, EngineState] = {}
        self._look_now = asyncio.Event()
        self._pools: WeakSet[EnginePool] = WeakSet()
        """Also of engines that are gone or have moved, as long as somebody has one of their connections, or may ask for one."""

    def replace(self, engines: Iterable[Engine]) -> None:
        """The engines are these now. Calls under way to one that is gone run to their end."""
        before, self.states = self.states, {}
        for engine in engines:
            state = before.get(engine.id)
            if state is None or state.engine.base_url != engine.base_url:
                state = self._begin(engine, state)
            if state is None:
                continue
            state.follow(engine, self._sealer, connections_max=self._connections_max)
            self.states[engine.id] = state

    def _begin(self, engine: Engine, before: EngineState | None) -> EngineState | None:
        """The state of an engine that is new, or has moved: it is looked at now, and until then taken for as well as it was.

        None: its address is none, which the log says.
        """
        try:
            pool = EnginePool(engine.base_url, connections_max=self._connections_max, timeouts=self._timeouts)
        except ValueError as error:
            _LOG.error("the address of an engine cannot be read", extra={"engine": engine.name, "why": str(error)})
            return None
        self._pools.add(pool)
        self._look_now.set()
        state = EngineState(engine, pool)
        if before is not None:
            state.healthy, state.since = before.healthy, before.since
        return state

    async def run(self) -> None:
        """Probe every engine, which costs it no GPU time, and end what takes too long.

        Each for itself: one that does not answer keeps nobody waiting for what another one says.
        """
        async with asyncio.TaskGroup() as group:
            group.create_task(self._sweep())
            while True:
                self._look_now.clear()
                for state in [state for state in self.states.values() if not state.probed]:
                    state.probed = True
                    group.create_task(self._probe(state))
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._health_interval_s):
                        await self._look_now.wait()

    def close(self) -> None:
        """Abort every connection."""
        for pool in list(self._pools):
            pool.close()

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(SWEEP_S)
            now_s = asyncio.get_running_loop().time()
            for pool in list(self._pools):
                pool.sweep(now_s)

    async def _probe(self, state: EngineState) -> None:
        try:
            await self._look_at(state)
        finally:
            state.probed = False

    async def _look_at(self, state: EngineState) -> None:
        """One probe. Of a hosted provider only now and then: a provider counts requests."""
        hosted = state.engine.kind == HOSTED
        if hosted and time.monotonic() < state.probe_at_s:
            return
        try:
            why = await self._asked(state, PROBES.get(state.engine.kind, HEALTH))
        except EngineUnreachable as error:
            why = str(error)
            state.failed(refused=True, why=why)
        else:
            state.failed(why=why) if why else state.answered()
        if hosted:
            state.probe_at_s = time.monotonic() + (HOSTED_RETRY_S if why else HOSTED_PROBE_S)

    async def _asked(self, state: EngineState, path: bytes) -> str:
        """Nothing where the engine answers with 200, or a hosted provider with what is no fault of it; else what is wrong.

        Raises: EngineUnreachable.
        A provider may be well and have no list of models, have none for this key, or count this request as one too many.
        """
        connection = await state.pool.acquire(connect_s=PROBE_TIMEOUTS.connect_s)
        try:
            about = state.pool.prefix, path, state.pool.authority, state.headers
            request = b"GET %b%b HTTP/1.1\r\nhost: %b\r\n%b\r\n" % about
            connection.send(request, PROBE_TIMEOUTS)
            head = await connection.answer_head()
            while await connection.read(PROBE_TIMEOUTS.between_tokens_s):
                pass
        except InferhouseError as error:
            return str(error)
        finally:
            connection.close()
        is_well = head.status == OK or (state.engine.kind == HOSTED and head.status in NO_LIST)
        return "" if is_well else f"{path.decode()} was answered with status {head.status}"
