"""What the requests of one worker share, and the tasks that keep it true."""

import asyncio
import contextlib
import logging
import signal
import socket
from collections import Counter
from collections.abc import AsyncIterator

from psycopg import AsyncConnection, Error
from psycopg.conninfo import make_conninfo
from psycopg_pool import AsyncConnectionPool

from router.inference.auth import KeyRing
from router.inference.catalogue import Catalogue
from router.inference.engine_set import EngineSet
from router.inference.upstream import Timeouts
from router.inference.usage_sink import UsageSink
from router.settings import RouterSettings
from warehouse.access import api_keys
from warehouse.access.api_keys import ApiKey
from warehouse.access.usage_events import UsageEvent
from warehouse.base.errors import NotReady

_LOG = logging.getLogger(__name__)
DATABASE_WAIT_S = 2.0  # for a connection of the pool; a request never waits longer for the database
CONNECTIONS_MAX = 4  # per worker: the usage rows, and look-ups of unknown keys
RECONNECT_S = 1.0
RECONNECT_S_MAX = 3.0  # the pool doubles its pauses until then; the next request begins anew
# A line that broke without a word is noticed after about 11 s: until then no change of keys would arrive.
KEEPALIVES = {"keepalives_idle": "5", "keepalives_interval": "2", "keepalives_count": "3", "connect_timeout": "5"}
KEY_TABLES = frozenset({"api_keys", "organizations", "projects"})
CATALOGUE_TABLES = frozenset({"models", "engines", "prices"})


class InferenceState:
    """One worker's keys, catalogue, engines and usage rows."""

    def __init__(self, settings: RouterSettings) -> None:
        self.settings = settings
        self._dsn = settings.database_url.get_secret_value()
        self._pool = AsyncConnectionPool(
            self._dsn,
            min_size=1,
            max_size=CONNECTIONS_MAX,
            timeout=DATABASE_WAIT_S,
            reconnect_timeout=RECONNECT_S_MAX,
            open=False,
            name="router",
        )
        self.timeouts = Timeouts(
            settings.connect_s_max, settings.first_token_s_max, settings.between_tokens_s_max, settings.total_s_max
        )
        self._catalogue: Catalogue | None = None
        self.engines = EngineSet(
            self.timeouts,
            connections_max=settings.engine_connections_max,
            health_interval_s=settings.health_interval_s,
        )
        self.keys = KeyRing(
            self._find_key,
            pepper=settings.key_pepper.get_secret_value().encode(),
            entries_max=settings.key_cache_entries_max,
            fresh_s=settings.key_cache_s,
            stale_s_max=settings.key_stale_s_max,
        )
        self.sink: UsageSink
        self.requests: Counter[tuple[str, str]] = Counter()
        self.refused: Counter[str] = Counter()
        self.tokens: Counter[str] = Counter()

    @property
    def catalogue(self) -> Catalogue:
        """The newest reading. Raises: NotReady: there has been none yet."""
        if self._catalogue is None:
            raise NotReady("the catalogue has not been read yet: the database cannot be reached", retry_after_s=1)
        return self._catalogue

    def count(self, row: UsageEvent) -> None:
        """Add a closed row to the counters that /metrics shows."""
        self.requests[row.endpoint, row.status] += 1
        self.tokens["input"] += row.input_tokens
        self.tokens["output"] += row.output_tokens

    def not_ready(self) -> dict[str, str]:
        """{what: why} that keeps this worker from taking requests; empty when it can."""
        reasons = {}
        if self._catalogue is None:
            reasons["catalogue"] = "not read yet: the database cannot be reached"
        if not self.settings.serves_inference:
            return reasons
        if self._catalogue is not None and not any(state.healthy for state in self.engines.states.values()):
            reasons["engines"] = "none answers"
        if self.sink.journal.bytes >= self.settings.journal_bytes_max:
            reasons["journal"] = "full: the database has been away for too long"
        return reasons

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Everything that runs beside the requests, from start to a clean stop."""
        if not self.settings.serves_inference:
            async with self._following():
                yield
            return
        self.sink = UsageSink(
            self.settings.journal_dir,
            self._pool.connection,
            journal_bytes_max=self.settings.journal_bytes_max,
            flush_interval_s=self.settings.flush_interval_s,
            flush_rows_max=self.settings.flush_rows_max,
            worker_name=socket.gethostname(),
        )
        await self._pool.open(wait=False)
        writer = asyncio.create_task(self.sink.run(), name="usage-sink")
        others = [
            asyncio.create_task(self._follow_changes(), name="follow-changes"),
            asyncio.create_task(self.engines.run(), name="engines"),
        ]
        for task in (writer, *others):
            task.add_done_callback(_stop_if_failed)
        try:
            yield
        finally:
            for task in others:
                task.cancel()
            await asyncio.gather(*others, return_exceptions=True)
            self.engines.close()
            await self.sink.stop(writer)
            await self._pool.close()

    @contextlib.asynccontextmanager
    async def _following(self) -> AsyncIterator[None]:
        """Keys and catalogue only: the management API knows callers by them. No journal, and no engine is asked."""
        await self._pool.open(wait=False)
        task = asyncio.create_task(self._follow_changes(), name="follow-changes")
        task.add_done_callback(_stop_if_failed)
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await self._pool.close()

    async def _find_key(self, public_id: str) -> ApiKey | None:
        async with self._pool.connection() as conn:
            return await api_keys.find_by_public_id(conn, public_id)

    async def _follow_changes(self) -> None:
        """Read the catalogue, then again at every announced change; after a lost connection everything is read anew."""
        while True:
            try:
                async with await AsyncConnection.connect(make_conninfo(self._dsn, **KEEPALIVES), autocommit=True) as conn:
                    await conn.execute("listen control_changed")
                    self.keys.forget()
                    await self._read_catalogue(conn)
                    async for notice in conn.notifies():
                        await self._apply_change(notice.payload)
            except (Error, OSError) as error:
                _LOG.warning("cannot follow changes of keys and catalogue", extra={"error": type(error).__name__})
            await asyncio.sleep(RECONNECT_S)

    async def _apply_change(self, table: str) -> None:
        if table in KEY_TABLES:
            self.keys.forget()
        elif table in CATALOGUE_TABLES:
            async with self._pool.connection() as conn:
                await self._read_catalogue(conn)

    async def _read_catalogue(self, conn: AsyncConnection) -> None:
        self._catalogue = await Catalogue.load(conn)
        self.engines.replace(engine for engines in self._catalogue.engines.values() for engine in engines)


def _stop_if_failed(task: asyncio.Task[None]) -> None:
    """Without one of its tasks a worker only looks alive: it says why and stops, and the supervisor starts another."""
    if not task.cancelled() and (error := task.exception()) is not None:
        _LOG.critical("task %s failed", task.get_name(), exc_info=error)
        signal.raise_signal(signal.SIGTERM)
