"""Header to caller: one keyed hash a request, the database only for a key that was not seen lately."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from psycopg import OperationalError
from psycopg_pool import PoolTimeout

from warehouse.access.api_keys import ApiKey
from warehouse.base.errors import AuthenticationFailed, NotAllowed, NotReady
from warehouse.identity.keys import ApiKeySecret

LOOKUPS_AT_ONCE_MAX = 8  # unknown keys queue behind these instead of taking every connection of the pool
UNKNOWN_ENTRIES_MAX = 10_000
UNKNOWN_S = 2.0  # a key that did not exist is asked for again after this long

_WRONG = "wrong API key: no key in force has this value"
_MISSING = "no API key: send it as `Authorization: Bearer sk-ih-…`"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sends a request: an inference key in force."""

    api_key_id: int
    org_id: int
    project_id: int
    user_id: int | None
    service_account_id: int | None
    models: frozenset[str] | None

    def may_use(self, model: str) -> bool:
        """Whether the key's list of models has this one; a key without a list may use all."""
        return self.models is None or model in self.models


@dataclass(slots=True)
class _Entry:
    key: ApiKey
    caller: Caller | None
    loaded_at_s: float
    expires_at_s: float | None = field(default=None)


class KeyRing:
    """The keys seen lately, least recently used first out; emptied when a change of keys is announced."""

    def __init__(
        self,
        find: Callable[[str], Awaitable[ApiKey | None]],
        *,
        pepper: bytes,
        entries_max: int,
        fresh_s: float,
        stale_s_max: float,
    ) -> None:
        self._find, self._pepper = find, pepper
        self._entries_max, self._fresh_s, self._stale_s_max = entries_max, fresh_s, stale_s_max
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._unknown: OrderedDict[str, float] = OrderedDict()
        self._lookups = asyncio.Semaphore(LOOKUPS_AT_ONCE_MAX)
        self._loading: dict[str, asyncio.Task[_Entry | None]] = {}
        self._generation = 0

    def forget(self) -> None:
        """Keys, organizations or projects have changed: the next request of each key reads it again.

        What is forgotten stays usable as stale while the database is away; a look-up under way is not believed.
        """
        self._generation += 1
        self._unknown.clear()
        for entry in self._entries.values():
            entry.loaded_at_s = min(entry.loaded_at_s, time.monotonic() - self._fresh_s)

    async def caller(self, authorization: bytes | None) -> Caller:
        """The caller of an inference request. Raises: AuthenticationFailed, NotAllowed (a key of another kind), NotReady."""
        entry = await self._entry(authorization)
        if entry.caller is None:
            raise NotAllowed(f"a {entry.key.kind} key cannot call the inference API: use a key of a project")
        return entry.caller

    async def key(self, authorization: bytes | None) -> ApiKey:
        """The key of a management request, of whatever kind. Raises: AuthenticationFailed, NotReady."""
        return (await self._entry(authorization)).key

    async def _entry(self, authorization: bytes | None) -> _Entry:
        if not authorization:
            raise AuthenticationFailed(_MISSING)
        scheme, _, token = authorization.partition(b" ")
        secret = ApiKeySecret.parse(token.strip().decode("latin-1")) if scheme.lower() == b"bearer" else None
        if secret is None:
            raise AuthenticationFailed(_WRONG if token else _MISSING)
        entry = self._entries.get(secret.public_id)
        if entry is None or time.monotonic() - entry.loaded_at_s >= self._fresh_s:
            entry = await self._load(secret.public_id, entry)
        if entry is None or not secret.matches(entry.key.secret_hash, self._pepper):
            raise AuthenticationFailed(_WRONG)
        if entry.expires_at_s is not None and time.time() >= entry.expires_at_s:
            raise AuthenticationFailed(_WRONG)
        self._entries.move_to_end(secret.public_id)
        return entry

    async def _load(self, public_id: str, stale: _Entry | None) -> _Entry | None:
        """Many requests of one key share one look-up."""
        loading = self._loading.get(public_id)
        if loading is None:
            loading = self._loading[public_id] = asyncio.create_task(self._read(public_id, stale))
            loading.add_done_callback(lambda _: self._loading.pop(public_id, None))
        return await asyncio.shield(loading)

    async def _read(self, public_id: str, stale: _Entry | None) -> _Entry | None:
        if self._unknown.get(public_id, 0.0) > time.monotonic():
            return None
        while True:
            generation = self._generation
            try:
                async with self._lookups:
                    key = await self._find(public_id)
            except (OperationalError, PoolTimeout) as error:
                if stale is not None and time.monotonic() - stale.loaded_at_s < self._fresh_s + self._stale_s_max:
                    return stale
                raise NotReady("the database that knows the keys cannot be reached", retry_after_s=1) from error
            if generation == self._generation:
                return self._remember(public_id, key)

    def _remember(self, public_id: str, key: ApiKey | None) -> _Entry | None:
        if key is None:
            self._entries.pop(public_id, None)
            self._unknown[public_id] = time.monotonic() + UNKNOWN_S
            if len(self._unknown) > UNKNOWN_ENTRIES_MAX:
                self._unknown.popitem(last=False)
            return None
        entry = _Entry(key, _caller(key), time.monotonic(), key.expires_at.timestamp() if key.expires_at else None)
        self._entries[public_id] = entry
        if len(self._entries) > self._entries_max:
            self._entries.popitem(last=False)
        return entry


def _caller(key: ApiKey) -> Caller | None:
    if key.kind != "inference" or key.org_id is None or key.project_id is None:
        return None
    return Caller(
        api_key_id=key.id,
        org_id=key.org_id,
        project_id=key.project_id,
        user_id=key.user_id,
        service_account_id=key.service_account_id,
        models=None if key.models is None else frozenset(key.models),
    )
