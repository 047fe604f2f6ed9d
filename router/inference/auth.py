"""Header to caller: one keyed hash a request, the database only for a key that was not seen lately."""

import asyncio
import logging
import secrets
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from psycopg import Error, OperationalError
from psycopg_pool import PoolTimeout

from warehouse.access.api_keys import ApiKey
from warehouse.base.errors import AuthenticationFailed, InferhouseError, NotAllowed, NotReady
from warehouse.identity.keys import ApiKeySecret
from warehouse.identity.networks import Network, client_address, parse_networks, within

_LOG = logging.getLogger(__name__)
LOOKUPS_AT_ONCE_MAX = 2  # queries for unknown keys; while they run, the next keys gather and share the next one
LOOKUP_KEYS_MAX = 500  # in one query
UNKNOWN_ENTRIES_MAX = 10_000
UNKNOWN_S = 2.0  # a key that did not exist is asked for again after this long
WAITING_MAX = 10_000  # keys that wait for a query; above it requests of further ones get 503
LOOKUP_S_MAX = 3.0  # a request waits no longer for the database; a key that was read before is then used as it was
AWAY_S = 1.0  # after a look-up that failed, keys read before are used as they are for this long; then it is tried again
SCOPE = "inference"

_WRONG = "wrong API key: no key in force has this value"
_MISSING = "no API key: send it as `Authorization: Bearer sk-ih-…`"
_ELSEWHERE = "this key does not work from your network; whoever manages it can say from where it does, and change that"
Scope = Mapping[str, Any]
"""ASGI's, of a connection."""


class NetworkNotAllowed(NotAllowed):
    """The key is right, and the request comes from a network that it does not work from. Nothing was charged."""

    code = "network_not_allowed"


@dataclass(frozen=True, slots=True)
class Caller:
    """Who sends a request: an inference key in force."""

    api_key_id: int
    org_id: int
    project_id: int
    user_id: int | None
    service_account_id: int | None
    models: frozenset[str] | None
    answers_kept_s: int
    choices_max: int | None = None
    output_tokens_max: int | None = None
    queue_weight: int = 1

    @property
    def is_capped(self) -> bool:
        """Whether its requests may not ask for as much as they like."""
        return self.choices_max is not None or self.output_tokens_max is not None


@dataclass(slots=True, eq=False)
class _Entry:
    """A key as requests need it: everything that can be decided beforehand is."""

    key: ApiKey
    caller: Caller | None
    networks: tuple[tuple[Network, ...], ...] | None
    """Lists that the client's address must be in, each of them; None for a key that works from everywhere."""
    expires_at_s: float | None
    previous_until_s: float
    loaded_at_s: float
    fresh_until_s: float


class _Lookup:
    """One query under way for some keys."""

    def __init__(self, futures: dict[str, asyncio.Future[_Entry | None]]) -> None:
        self.futures = futures
        self.disturbed = False
        """What it finds may have changed since it began: it is no answer to later requests."""


class KeyRing:
    """The keys seen lately, least recently used first out; what an announced change is about is forgotten."""

    def __init__(
        self,
        find: Callable[[Sequence[str]], Awaitable[Mapping[str, ApiKey]]],
        *,
        pepper: bytes,
        entries_max: int,
        fresh_s: float,
        stale_s_max: float,
        trusted_proxies: Sequence[Network] = (),
    ) -> None:
        self._find, self._pepper, self._trusted = find, pepper, trusted_proxies
        self._entries_max, self._fresh_s, self._stale_s_max = entries_max, fresh_s, stale_s_max
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._of: dict[tuple[str, int], set[str]] = {}
        self._unknown: OrderedDict[str, float] = OrderedDict()
        self._waiting: dict[str, asyncio.Future[_Entry | None]] = {}
        self._lookups: dict[asyncio.Task[None], _Lookup] = {}
        self._uses: dict[int, float] = {}
        self._away_until_s = 0.0
        self._verified: dict[bytes, tuple[_Entry, float]] = {}
        """{keyed digest of a header: the key that it was found to name, and until when}; the header itself is not kept."""
        self._digest_key = secrets.token_bytes(32)

    def forget(self) -> None:
        """Everything may have changed: the next request of each key reads it again.

        What is forgotten stays usable as stale while the database is away; a look-up under way is not believed for long.
        """
        self._forget(list(self._entries.values()))

    def forget_key(self, public_id: str) -> None:
        """This key has changed. It is not used again before it was read: it may have been revoked."""
        self._drop(public_id)
        self._unknown.pop(public_id, None)
        for lookup in self._lookups.values():
            lookup.disturbed |= public_id in lookup.futures

    def forget_of(self, attribute: str, value: int) -> None:
        """The keys of an organization, a project, a user or a service account, by the attribute of `ApiKey` that says so."""
        self._forget([self._entries[public_id] for public_id in self._of.get((attribute, value), ())])

    def _forget(self, entries: Sequence[_Entry]) -> None:
        for entry in entries:
            entry.fresh_until_s = 0.0
        self._unknown.clear()
        for lookup in self._lookups.values():
            lookup.disturbed = True

    def take_uses(self) -> dict[int, float]:
        """{key id: Unix second of its last use} since the last time that this was asked."""
        uses, self._uses = self._uses, {}
        return uses

    def known(self, authorization: bytes | None) -> Caller | None:
        """The caller, where nothing has to be waited for and nobody looked at but the key; None: ask `caller`."""
        if authorization is None:
            return None
        entry, until_s = self._verified.get(self._digest(authorization), _NOBODY)
        if entry is None or entry.networks is not None or time.monotonic() >= entry.fresh_until_s:
            return None
        public_id, now_s = entry.key.public_id, time.time()
        if now_s >= until_s or self._entries.get(public_id) is not entry:
            return None
        self._uses[entry.key.id] = now_s
        self._entries.move_to_end(public_id)
        return entry.caller

    def _digest(self, authorization: bytes) -> bytes:
        return blake2b(self._digest_key + authorization, digest_size=16).digest()

    async def caller(self, authorization: bytes | None, scope: Scope) -> Caller:
        """The caller of an inference request.

        Raises: AuthenticationFailed.  NotAllowed: a key of another kind, or without the scope.  NetworkNotAllowed.  NotReady.
        """
        entry = await self._entry(authorization, scope)
        if entry.caller is None:
            raise _no_caller(entry.key)
        return entry.caller

    async def key(self, authorization: bytes | None, scope: Scope) -> ApiKey:
        """The key of a management request, of whatever kind. Raises: AuthenticationFailed, NetworkNotAllowed, NotReady."""
        return (await self._entry(authorization, scope)).key

    async def _entry(self, authorization: bytes | None, scope: Scope) -> _Entry:
        if not authorization:
            raise AuthenticationFailed(_MISSING)
        digest = self._digest(authorization)
        entry, until_s = self._verified.get(digest, _NOBODY)
        public_id = entry.key.public_id if entry is not None else ""
        if entry is None or time.monotonic() >= entry.fresh_until_s or self._entries.get(public_id) is not entry:
            entry, until_s = await self._verify(authorization)
            self._remember_verified(digest, entry, until_s)
            public_id = entry.key.public_id
        now_s = time.time()
        if now_s >= until_s:
            raise AuthenticationFailed(_WRONG)
        if entry.networks is not None:
            self._check_network(entry.networks, scope)
        self._uses[entry.key.id] = now_s
        if public_id in self._entries:  # not so where it was forgotten while it was read
            self._entries.move_to_end(public_id)
        return entry

    async def _verify(self, authorization: bytes) -> tuple[_Entry, float]:
        """The key that a header names, and the Unix second at which it ends. Raises: AuthenticationFailed, NotReady."""
        scheme, _, token = authorization.partition(b" ")
        secret = ApiKeySecret.parse(token.strip().decode("latin-1")) if scheme.lower() == b"bearer" else None
        if secret is None:
            raise AuthenticationFailed(_WRONG if token else _MISSING)
        entry = self._entries.get(secret.public_id)
        if entry is None or time.monotonic() >= entry.fresh_until_s:
            entry = await self._load(secret.public_id, entry)
        until_s = 0.0 if entry is None else self._ends_s(entry, secret)
        if entry is None or time.time() >= until_s:
            raise AuthenticationFailed(_WRONG)
        return entry, until_s

    def _remember_verified(self, digest: bytes, entry: _Entry, until_s: float) -> None:
        if len(self._verified) >= self._entries_max:
            self._verified.clear()
        self._verified[digest] = entry, until_s

    def _ends_s(self, entry: _Entry, secret: ApiKeySecret) -> float:
        """The Unix second at which this secret stops being one of the key's; 0 where it never was."""
        expires_at_s = float("inf") if entry.expires_at_s is None else entry.expires_at_s
        if secret.matches(entry.key.secret_hash, self._pepper):
            return expires_at_s
        previous = entry.key.previous_secret_hash
        if previous is not None and secret.matches(previous, self._pepper):
            return min(entry.previous_until_s, expires_at_s)
        return 0.0

    def _check_network(self, networks: tuple[tuple[Network, ...], ...], scope: Scope) -> None:
        """Raises: NetworkNotAllowed: which networks would do is not said, the key may be in the wrong hands."""
        address = address_of(scope, self._trusted)
        if not all(within(address, allowed) for allowed in networks):
            raise NetworkNotAllowed(_ELSEWHERE)

    async def _load(self, public_id: str, stale: _Entry | None) -> _Entry | None:
        """The key as it is now. Requests of one key share one look-up, look-ups of many keys share one query."""
        now_s = time.monotonic()
        if self._unknown.get(public_id, 0.0) > now_s:
            return None
        usable = stale is not None and now_s - stale.loaded_at_s < self._fresh_s + self._stale_s_max
        if usable and now_s < self._away_until_s:
            return stale
        future = self._waiting.get(public_id) or self._asked(public_id)
        if future is None:
            if len(self._waiting) >= WAITING_MAX:
                raise NotReady("too many keys are being looked up; try again in a moment", retry_after_s=1)
            future = self._waiting[public_id] = asyncio.get_running_loop().create_future()
            future.add_done_callback(_retrieve)
            if len(self._lookups) < LOOKUPS_AT_ONCE_MAX:
                self._start_lookup()
        try:
            return await asyncio.wait_for(asyncio.shield(future), LOOKUP_S_MAX)
        except (NotReady, TimeoutError) as error:
            self._away_until_s = time.monotonic() + AWAY_S
            if usable:
                return stale
            raise NotReady("the database that knows the keys cannot be reached", retry_after_s=1) from error

    def _asked(self, public_id: str) -> asyncio.Future[_Entry | None] | None:
        """The answer of a query under way, where it will be one to a request of now."""
        for lookup in self._lookups.values():
            if not lookup.disturbed and public_id in lookup.futures:
                return lookup.futures[public_id]
        return None

    def _start_lookup(self) -> None:
        public_ids = list(self._waiting)[:LOOKUP_KEYS_MAX]
        lookup = _Lookup({public_id: self._waiting.pop(public_id) for public_id in public_ids})
        task = asyncio.create_task(self._look_up(lookup))
        self._lookups[task] = lookup
        task.add_done_callback(self._end_lookup)

    def _end_lookup(self, task: asyncio.Task[None]) -> None:
        fault = NotReady("this worker is stopping") if task.cancelled() else task.exception()
        for future in self._lookups.pop(task).futures.values():
            if not future.done():
                future.set_exception(fault or KeyError("a look-up without a result"))
        if self._waiting and not task.cancelled():
            self._start_lookup()

    async def _look_up(self, lookup: _Lookup) -> None:
        """Raises: NotReady: the database is away."""
        try:
            found = await self._find(list(lookup.futures))
        except (Error, PoolTimeout) as error:
            # That it is away the pool says; not so a table of another version.
            if not isinstance(error, OperationalError) and time.monotonic() >= self._away_until_s:
                _LOG.warning("cannot read keys", extra={"error": type(error).__name__, "said": str(error)})
            raise NotReady("the database that knows the keys cannot be reached", retry_after_s=1) from error
        for public_id, future in lookup.futures.items():
            key = found.get(public_id)
            entry = self._entry_of(key) if key else None
            if not lookup.disturbed:
                self._remember(public_id, entry)
            if not future.done():
                future.set_result(entry)

    def _entry_of(self, key: ApiKey) -> _Entry:
        now_s = time.monotonic()
        return _Entry(
            key,
            _caller(key),
            _networks(key),
            key.expires_at.timestamp() if key.expires_at else None,
            key.previous_secret_until.timestamp() if key.previous_secret_until else 0.0,
            now_s,
            now_s + self._fresh_s,
        )

    def _remember(self, public_id: str, entry: _Entry | None) -> None:
        self._drop(public_id)
        if entry is None:
            self._unknown[public_id] = time.monotonic() + UNKNOWN_S
            if len(self._unknown) > UNKNOWN_ENTRIES_MAX:
                self._unknown.popitem(last=False)
            return
        self._entries[public_id] = entry
        for owner in _owners(entry.key):
            self._of.setdefault(owner, set()).add(public_id)
        if len(self._entries) > self._entries_max:
            self._drop(next(iter(self._entries)))

    def _drop(self, public_id: str) -> None:
        entry = self._entries.pop(public_id, None)
        for owner in _owners(entry.key) if entry is not None else ():
            self._of[owner].discard(public_id)
            if not self._of[owner]:
                del self._of[owner]


_NOBODY: tuple[_Entry | None, float] = (None, 0.0)


def _owners(key: ApiKey) -> list[tuple[str, int]]:
    """(attribute, value) of whom and what a key belongs to: a change of one of them may be its end."""
    values = ((name, getattr(key, name)) for name in ("org_id", "project_id", "user_id", "service_account_id"))
    return [(name, value) for name, value in values if value is not None]


def bearer(api_key: bytes | None) -> bytes | None:
    """The header that says the same as `x-api-key`, by which Anthropic's clients send their key."""
    return None if api_key is None else b"Bearer " + api_key


def address_of(scope: Scope, trusted: Sequence[Network]) -> Any:
    """Where a request comes from; X-Forwarded-For is believed of trusted proxies only. None where it cannot be told."""
    client = scope.get("client")
    forwarded = [value.decode("latin-1") for name, value in scope["headers"] if name == b"x-forwarded-for"] if trusted else []
    return client_address(client[0] if client else None, forwarded, trusted)


def _retrieve(future: asyncio.Future[_Entry | None]) -> None:
    """A failure that nobody waits for any more is no fault."""
    if not future.cancelled():
        future.exception()


def _no_caller(key: ApiKey) -> InferhouseError:
    if key.kind != "inference":
        return NotAllowed(f"a key of kind {key.kind!r} cannot call the inference API: use a key of a project")
    return NotAllowed(f"this key lacks the scope {SCOPE!r}, without which it cannot call the inference API")


def _networks(key: ApiKey) -> tuple[tuple[Network, ...], ...] | None:
    """The policy of an organization is for what its members make: it does not lock out the keys that change it."""
    of_organization = key.organization_cidrs if key.kind == "inference" else None
    lists = tuple(parse_networks(cidrs) for cidrs in (key.cidrs, of_organization) if cidrs is not None)
    return lists or None


def _caller(key: ApiKey) -> Caller | None:
    if key.kind != "inference" or key.org_id is None or key.project_id is None or SCOPE not in key.scopes:
        return None
    return Caller(
        api_key_id=key.id,
        org_id=key.org_id,
        project_id=key.project_id,
        user_id=key.user_id,
        service_account_id=key.service_account_id,
        models=None if key.models is None else frozenset(key.models),
        answers_kept_s=key.answers_kept_s,
        choices_max=key.choices_max,
        output_tokens_max=key.output_tokens_max,
        queue_weight=key.queue_weight,
    )
