"""What the requests of one worker share, and the tasks that keep it true."""

import asyncio
import contextlib
import logging
import secrets
import signal
import socket
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, date, datetime

from psycopg import AsyncConnection, Error, OperationalError
from psycopg.conninfo import make_conninfo
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from router.inference import slow_clients
from router.inference.auth import KeyRing
from router.inference.catalogue import Catalogue
from router.inference.engine_set import EngineSet, EngineState
from router.inference.idempotency import Idempotency
from router.inference.keepalive import KeepAlive
from router.inference.reservations.reservations import Reservations
from router.inference.routing import Dispatcher
from router.inference.upstream import Timeouts
from router.inference.usage_sink import UsageSink
from router.settings import RouterSettings
from warehouse.access import api_keys, catalogue, changes, shadow_refusals
from warehouse.access.api_keys import ApiKey
from warehouse.access.lines import NOTICED, trouble
from warehouse.access.usage_rows import UsageEvent
from warehouse.base.clock import now
from warehouse.base.errors import NotReady

_LOG = logging.getLogger(__name__)
DATABASE_WAIT_S = 2.0  # for a connection of the pool; a request never waits longer for the database
CONNECTIONS_MAX = 4  # per worker: the usage rows, and look-ups of unknown keys
BURY_S = 5.0  # between two tries to write that dead workers are dealt with
RECONNECT_S = 1.0
LOOK_S = 0.02
LOOK_S_MAX = 2.0  # for which a worker that starts waits for its first look at catalogue and engines
RECONNECT_S_MAX = 3.0  # the pool doubles its pauses until then; the next request begins anew
# A line that broke without a word is noticed after 3 s: until then no change would arrive, and the catalogue is true within 5 s.
KEEPALIVES = {"keepalives_idle": "1", "keepalives_interval": "1", "keepalives_count": "2", "connect_timeout": "5"}
KEY_TABLES = {
    "api_keys": "public_id",
    "organizations": "org_id",
    "projects": "project_id",
    "users": "user_id",
    "org_members": "user_id",
    "service_accounts": "service_account_id",
}
"""{table: the attribute of a key whose value its announcements end with, as in `projects:12`}."""
USES_INTERVAL_S = 60.0  # between two writes of when keys were used; a shorter one makes more rows to vacuum
CATALOGUE_TABLES = frozenset({"models", "engines", "prices", "model_aliases"})
RULE_TABLES = frozenset({"budgets", "limits", "organizations"})
"""Announced with the organization's id."""


class InferenceState:
    """One worker's keys, catalogue, engines and usage rows."""

    def __init__(self, settings: RouterSettings) -> None:
        self.settings = settings
        self.life = secrets.randbelow(2**31)
        """Names this life of the worker in its rows; two of the same number would have to live at once to be confused."""
        self._dsn = settings.database_url.get_secret_value()
        self._pool = AsyncConnectionPool(
            self._dsn,
            kwargs={**NOTICED},
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
        self._unread = "the database cannot be reached"
        """Why it has not been read."""
        self.engines = EngineSet(
            self.timeouts,
            connections_max=settings.engine_connections_max,
            health_interval_s=settings.health_interval_s,
            sealer=settings.sealer,
        )
        self.dispatcher = Dispatcher(self.engines, queue_max=settings.queue_max, queue_s_max=settings.queue_s_max)
        self.keys = KeyRing(
            self._find_keys,
            pepper=settings.key_pepper.get_secret_value().encode(),
            entries_max=settings.key_cache_entries_max,
            fresh_s=settings.key_cache_s,
            stale_s_max=settings.key_stale_s_max,
            trusted_proxies=settings.proxies,
        )
        self.keepalive = KeepAlive(settings.keepalive_s)
        self.reservations = Reservations(
            settings.redis_url.get_secret_value() if settings.redis_url else None,
            life=self.life,
            connect=self._pool.connection,
            recorded=self._recorded,
            budget_wait_s_max=settings.budget_wait_s_max,
            workers=settings.workers,
        )
        self.idempotency = Idempotency(self._pool.connection, request_s_max=settings.total_s_max)
        self._catalogue_changed = asyncio.Event()
        self._kept: set[asyncio.Task[None]] = set()
        self.sink: UsageSink
        self.requests: Counter[tuple[str, str]] = Counter()
        self.refused: Counter[str] = Counter()
        self.tokens: Counter[str] = Counter()
        self._trials: Counter[tuple[str, int, int, date]] = Counter()
        """What was on trial and is not written yet: one for each rule and day."""

    @property
    def catalogue(self) -> Catalogue:
        """The newest reading. Raises: NotReady: there has been none yet."""
        if self._catalogue is None:
            raise NotReady(f"the catalogue has not been read yet: {self._unread}", retry_after_s=1)
        return self._catalogue

    def keep(self, task: asyncio.Task[None]) -> None:
        """Until it has ended; the event loop by itself may forget it."""
        self._kept.add(task)
        task.add_done_callback(self._kept.discard)

    def count(self, row: UsageEvent) -> None:
        """Add a closed row to the counters that /metrics shows."""
        self.requests[row.endpoint, row.status] += 1
        self.tokens["input"] += row.input_tokens
        self.tokens["output"] += row.output_tokens

    def not_ready(self) -> dict[str, str]:
        """{what: why} that keeps this worker from taking requests; empty when it can."""
        reasons = {}
        if self._catalogue is None:
            reasons["catalogue"] = f"not read yet: {self._unread}"
        if not self.settings.serves_inference:
            return reasons
        if self._catalogue is not None and not any(state.healthy for state in self.engines.states.values()):
            reasons["engines"] = "none answers"
        if self.sink.journal.is_full:
            reasons["journal"] = "full: the database has been away for too long"
        elif self.sink.journal.error:
            reasons["journal"] = self.sink.journal.error
        return reasons

    def degraded(self) -> dict[str, str]:
        """{what: how} is not as it should be, although requests are taken."""
        if not self.settings.serves_inference:
            return {}
        found = {}
        if self.sink.database_error:
            found["database"] = f"usage rows wait in the journal: {self.sink.database_error}"
        if redis := self.reservations.degraded():
            found["redis"] = redis
        return found

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
            life=self.life,
        )
        async with self._pool, self.reservations.running(), self._serving():
            yield

    @contextlib.asynccontextmanager
    async def _serving(self) -> AsyncIterator[None]:
        """Inside the reservations: they end when the last row is written."""
        writer = asyncio.create_task(self.sink.run(), name="usage-sink")
        others = [
            *self._followers(),
            asyncio.create_task(self.engines.run(), name="engines"),
            asyncio.create_task(self.dispatcher.run(self._stop_canary), name="dispatcher"),
            asyncio.create_task(slow_clients.sweep(), name="slow-clients"),
            asyncio.create_task(self.keepalive.run(), name="keep-alive"),
            asyncio.create_task(self.idempotency.run(), name="idempotency-keys"),
            asyncio.create_task(self._bury(), name="dead-workers"),
        ]
        for task in (writer, *others):
            task.add_done_callback(_stop_if_failed)
        try:
            await self._look_around()
            yield
        finally:
            await _cancel(others)
            self.engines.close()
            await self.sink.stop(writer)

    async def _look_around(self) -> None:
        """Know the catalogue and the engines before the first request is taken; without a database it is taken all the same."""
        until_s = asyncio.get_running_loop().time() + LOOK_S_MAX
        while self.not_ready() and asyncio.get_running_loop().time() < until_s:  # noqa: ASYNC110 - several things are waited for
            await asyncio.sleep(LOOK_S)

    async def _recorded(self) -> None:
        await self.sink.recorded()

    async def _bury(self) -> None:
        """What routers that died held is free as soon as what they had answered is in the database."""
        while True:
            await self.sink.replayed.wait()
            lives = self.sink.lives_before
            await self.reservations.accounts.bury(lives, self.sink.orgs_before)
            if self.sink.lives_before is lives:  # else there are more of them meanwhile
                with contextlib.suppress(OSError):  # a full disk, which is no reason to stop
                    self.sink.buried()
            await asyncio.sleep(BURY_S)

    def _followers(self) -> list[asyncio.Task[None]]:
        """What keeps keys and catalogue true."""
        return [
            asyncio.create_task(self._follow_changes(), name="follow-changes"),
            asyncio.create_task(self._keep_catalogue(), name="catalogue"),
            asyncio.create_task(self._note_uses(), name="note-uses"),
        ]

    @contextlib.asynccontextmanager
    async def _following(self) -> AsyncIterator[None]:
        """Keys and catalogue only: the management API knows callers by them. No journal, and no engine is asked."""
        async with self._pool:
            followers = self._followers()
            for task in followers:
                task.add_done_callback(_stop_if_failed)
            try:
                yield
            finally:
                await _cancel(followers)

    async def _find_keys(self, public_ids: Sequence[str]) -> Mapping[str, ApiKey]:
        async with self._pool.connection() as conn:
            await conn.set_autocommit(True)  # one round trip instead of three: a request waits for it
            try:
                await self._announce(conn)
                return await api_keys.find_by_public_ids(conn, public_ids)
            finally:
                if not conn.closed:
                    await conn.set_autocommit(False)

    async def _announce(self, conn: AsyncConnection) -> None:
        """No row without a caller, and no caller before this."""
        if self.settings.serves_inference:
            await self.sink.announce(conn)

    async def _note_uses(self) -> None:
        """Write now and then when keys were used and what was on trial, each in one statement; at the end once more."""
        try:
            while True:
                await asyncio.sleep(USES_INTERVAL_S)
                await self._write_uses()
                await self._write_trials()
        finally:
            await self._write_uses()
            await self._write_trials()

    async def _write_trials(self) -> None:
        today = now().date()
        for rule, requests in self.reservations.take_shadows().items():
            self._trials[*rule, today] += requests
        if not self._trials:
            return
        try:
            async with self._pool.connection() as conn:
                await shadow_refusals.add(conn, self._trials)
        except (OperationalError, PoolTimeout) as error:  # they are written when the database is back
            _LOG.warning("could not write what was on trial", extra={"error": type(error).__name__, "rules": len(self._trials)})
            return
        except Error as error:
            _LOG.error("lost what was on trial", extra={"error": type(error).__name__, "rules": len(self._trials)})
        self._trials.clear()

    async def _write_uses(self) -> None:
        uses = {key_id: datetime.fromtimestamp(used_s, UTC) for key_id, used_s in self.keys.take_uses().items()}
        if not uses:
            return
        try:
            async with self._pool.connection() as conn:
                await api_keys.note_uses(conn, uses)
        except (Error, PoolTimeout) as error:  # the next use of each key tells it again
            _LOG.warning("could not note when keys were used", extra={"error": type(error).__name__})

    async def _follow_changes(self) -> None:
        """Forget keys and read the catalogue as changes are announced; after a lost connection everything is read anew.

        Nothing is waited for between two announcements: a revocation behind one of the catalogue's is as quick as any.
        """
        while True:
            try:
                async with await AsyncConnection.connect(make_conninfo(self._dsn, **KEEPALIVES), autocommit=True) as conn:
                    await changes.listen(conn)
                    self.keys.forget()
                    self.reservations.accounts.changed(None)
                    self._catalogue_changed.set()
                    async for notice in conn.notifies():
                        self._apply_change(notice.payload)
            except (Error, OSError) as error:
                _LOG.warning("cannot follow changes of keys and catalogue", extra={"error": type(error).__name__})
            await asyncio.sleep(RECONNECT_S)

    def _apply_change(self, announced: str) -> None:
        """Args: announced: a table, or `table:value` where a change is about one row's keys."""
        table, _, value = announced.partition(":")
        if table in CATALOGUE_TABLES:
            self._catalogue_changed.set()
        if table in RULE_TABLES:
            self.reservations.accounts.changed(int(value) if value else None)
        if table not in KEY_TABLES:
            return
        if not value:
            self.keys.forget()
        elif table == "api_keys":
            self.keys.forget_key(value)
        else:
            self.keys.forget_of(KEY_TABLES[table], int(value))

    async def _keep_catalogue(self) -> None:
        """Read the catalogue whenever it has changed; while the database is away, try again and again."""
        while True:
            await self._catalogue_changed.wait()
            self._catalogue_changed.clear()
            try:
                async with self._pool.connection() as conn:
                    await self._read_catalogue(conn)
            except (Error, PoolTimeout, OSError) as error:
                self._unread = trouble(error)
                _LOG.warning("cannot read the catalogue", extra={"error": type(error).__name__, "said": str(error)})
                self._catalogue_changed.set()
                await asyncio.sleep(RECONNECT_S)

    async def _read_catalogue(self, conn: AsyncConnection) -> None:
        await self._announce(conn)  # as a rule here, before the first request
        self._catalogue = await Catalogue.load(conn)
        self.engines.replace(engine for engines in self._catalogue.engines.values() for engine in engines)
        self.dispatcher.replace(self._catalogue)

    async def _stop_canary(self, engine: EngineState, why: str) -> None:
        """Write it down for every router; a database that is away changes nothing here, where it has stopped already."""
        try:
            async with self._pool.connection() as conn:
                await catalogue.stop_canary(conn, engine.id, engine.engine.version, why)
        except (Error, PoolTimeout, OSError) as error:
            _LOG.warning("cannot write that a canary was stopped", extra={"error": type(error).__name__})


async def _cancel(tasks: Sequence[asyncio.Task[None]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


def _stop_if_failed(task: asyncio.Task[None]) -> None:
    """Without one of its tasks a worker only looks alive: it says why and stops, and the supervisor starts another."""
    if not task.cancelled() and (error := task.exception()) is not None:
        _LOG.critical("task %s failed", task.get_name(), exc_info=error)
        signal.raise_signal(signal.SIGTERM)
