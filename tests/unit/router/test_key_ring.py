"""The keys of one worker: many look-ups are few queries, a change forgets what it is about, an outage stops nobody known."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from psycopg import OperationalError

from router.inference import auth
from router.inference.auth import LOOKUP_KEYS_MAX, LOOKUPS_AT_ONCE_MAX, KeyRing, NetworkNotAllowed
from warehouse.access.api_keys import ApiKey
from warehouse.base.errors import AuthenticationFailed, NotAllowed, NotReady
from warehouse.identity.keys import ApiKeySecret
from warehouse.identity.networks import parse_networks

PEPPER = b"a pepper of the tests"
HERE: dict[str, Any] = {"client": ("198.51.100.7", 4711), "headers": []}


def _key(secret: ApiKeySecret, number: int, **fields: Any) -> ApiKey:
    values: dict[str, Any] = {
        "id": number, "public_id": secret.public_id, "secret_hash": secret.hash(PEPPER), "previous_secret_hash": None,
        "previous_secret_until": None, "kind": "inference", "org_id": number % 100, "project_id": number, "user_id": number,
        "service_account_id": None, "owner_role": "member", "scopes": ["inference"], "expires_at": None, "cidrs": None,
        "organization_cidrs": None, "models": None, "choices_max": None, "output_tokens_max": None, "answers_kept_s": 0,
        "queue_weight": 1,
    }  # fmt: skip
    return ApiKey(**values | fields)


class Database:
    """Keys in memory, and what was asked of them."""

    def __init__(self) -> None:
        self.keys: dict[str, ApiKey] = {}
        self.queries: list[Sequence[str]] = []
        self.at_once = self.at_once_max = 0
        self.away = False
        self.meanwhile: Callable[[], None] = lambda: None

    def add(self, number: int = 1, **fields: Any) -> ApiKeySecret:
        secret = ApiKeySecret.generate()
        self.keys[secret.public_id] = _key(secret, number, **fields)
        return secret

    async def find(self, public_ids: Sequence[str]) -> Mapping[str, ApiKey]:
        self.queries.append(public_ids)
        self.at_once += 1
        self.at_once_max = max(self.at_once, self.at_once_max)
        found = {name: self.keys[name] for name in public_ids if name in self.keys}
        await asyncio.sleep(0.001)
        self.at_once -= 1
        self.meanwhile()
        if self.away:
            raise OperationalError("away")
        return found


@pytest.fixture
def database() -> Database:
    return Database()


@pytest.fixture
def ring(database: Database) -> KeyRing:
    proxies = parse_networks(["127.0.0.0/8"])
    return KeyRing(
        database.find, pepper=PEPPER, entries_max=20_000, fresh_s=60, stale_s_max=600, trusted_proxies=proxies
    )  # fmt: skip


def _header(secret: ApiKeySecret) -> bytes:
    return f"Bearer {secret.reveal()}".encode()


def _ask(ring: KeyRing, secret: ApiKeySecret, scope: dict[str, Any] | None = None) -> Awaitable[Any]:
    return ring.caller(_header(secret), HERE if scope is None else scope)


async def _refused(error: type[Exception], awaitable: Awaitable[Any]) -> str:
    with pytest.raises(error) as caught:
        await awaitable
    return str(caught.value)


def test_a_change_of_everything_with_ten_thousand_keys_is_a_few_queries(
    ring: KeyRing, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(auth, "LOOKUP_S_MAX", 60.0)  # it is about how many queries, on however busy a machine
    secrets = [database.add(number) for number in range(10_000)]

    async def check() -> None:
        for _ in range(2):
            await asyncio.gather(*(_ask(ring, secret) for secret in secrets for _ in range(2)))
            assert database.at_once_max <= LOOKUPS_AT_ONCE_MAX
            assert len(database.queries) <= len(secrets) / LOOKUP_KEYS_MAX + LOOKUPS_AT_ONCE_MAX + 1
            database.queries.clear()
            ring.forget()

    asyncio.run(check())


def test_a_change_forgets_the_keys_that_it_is_about_and_no_others(ring: KeyRing, database: Database) -> None:
    secrets = [database.add(number) for number in range(300)]

    async def check() -> None:
        async def read_again() -> int:
            database.queries.clear()
            await asyncio.gather(*(_ask(ring, secret) for secret in secrets))
            return sum(map(len, database.queries))

        assert await read_again() == 300
        for forget, count in (
            (lambda: ring.forget_of("org_id", 7), 3),
            (lambda: ring.forget_of("project_id", 7), 1),
            (lambda: ring.forget_of("user_id", 7), 1),
            (lambda: ring.forget_of("service_account_id", 7), 0),
            (lambda: ring.forget_key(secrets[0].public_id), 1),
            (lambda: None, 0),
            (ring.forget, 300),
        ):
            forget()
            assert await read_again() == count

    asyncio.run(check())


def test_a_key_that_is_revoked_while_it_is_read_is_not_remembered(ring: KeyRing, database: Database) -> None:
    secret = database.add()

    def revoke() -> None:
        database.keys.clear()
        ring.forget_key(secret.public_id)
        database.meanwhile = lambda: None

    async def check() -> None:
        database.meanwhile = revoke
        await _ask(ring, secret)  # it asked before the revocation
        await _refused(AuthenticationFailed, _ask(ring, secret))

    asyncio.run(check())


def test_an_unknown_key_is_asked_for_once_and_found_when_it_is_made(ring: KeyRing, database: Database) -> None:
    secret = database.add()
    row = database.keys.pop(secret.public_id)

    async def check() -> None:
        for _ in range(3):
            await _refused(AuthenticationFailed, _ask(ring, secret))
        assert len(database.queries) == 1
        database.keys[secret.public_id] = row
        ring.forget_key(secret.public_id)
        await _ask(ring, secret)

    asyncio.run(check())


def test_while_the_database_is_away_known_keys_work_and_revoked_ones_do_not(ring: KeyRing, database: Database) -> None:
    known, revoked, unknown = database.add(1), database.add(2), database.add(3)

    async def check() -> None:
        await _ask(ring, known)
        await _ask(ring, revoked)
        database.queries.clear()
        database.away = True
        ring.forget()
        ring.forget_key(revoked.public_id)
        for _ in range(5):
            await _ask(ring, known)
        assert len(database.queries) == 1, "for a second nobody waits for it again"
        await _refused(NotReady, _ask(ring, revoked))
        await _refused(NotReady, _ask(ring, unknown))

    asyncio.run(check())


def test_a_fault_of_a_query_reaches_every_request_that_waits(ring: KeyRing, database: Database) -> None:
    secret = database.add()

    def fault() -> None:
        raise ZeroDivisionError

    async def check() -> None:
        database.meanwhile = fault
        answers = await asyncio.gather(*(_ask(ring, secret) for _ in range(3)), return_exceptions=True)
        assert [type(answer) for answer in answers] == [ZeroDivisionError] * 3
        database.meanwhile = lambda: None
        await _ask(ring, secret)

    asyncio.run(check())


def test_secrets_after_a_rotation(ring: KeyRing, database: Database) -> None:
    now = datetime.now(UTC)
    for until, works in ((now + timedelta(minutes=1), True), (now, False), (None, False)):
        old = database.add()
        new = replace(ApiKeySecret.generate(), public_id=old.public_id)
        row = database.keys[old.public_id]
        database.keys[old.public_id] = replace(
            row, secret_hash=new.hash(PEPPER), previous_secret_hash=row.secret_hash, previous_secret_until=until
        )

        async def check(old: ApiKeySecret = old, new: ApiKeySecret = new, works: bool = works) -> None:
            await _ask(ring, new)
            if works:
                await _ask(ring, old)
            else:
                await _refused(AuthenticationFailed, _ask(ring, old))
            await _refused(AuthenticationFailed, _ask(ring, replace(ApiKeySecret.generate(), public_id=old.public_id)))

        asyncio.run(check())


def test_what_a_key_may_not_do_is_said(ring: KeyRing, database: Database) -> None:
    async def check() -> None:
        reader = database.add(scopes=["usage.read"])
        assert "the scope 'inference'" in await _refused(NotAllowed, _ask(ring, reader))
        admin = database.add(kind="admin", project_id=None, scopes=["admin"], organization_cidrs=["192.0.2.0/24"])
        assert "use a key of a project" in await _refused(NotAllowed, _ask(ring, admin))
        assert (await ring.key(_header(admin), HERE)).kind == "admin", "the policy for members' keys is not for admin keys"
        bound = database.add(cidrs=["192.0.2.0/24"], organization_cidrs=["192.0.2.128/25"])
        for there, works in (("192.0.2.7", False), ("192.0.2.200", True), ("::ffff:192.0.2.200", True), (None, False)):
            scope = {"client": (there, 1) if there else None, "headers": [(b"x-forwarded-for", b"192.0.2.200")]}
            if works:
                await _ask(ring, bound, scope)
            else:
                assert "192.0.2" not in await _refused(NetworkNotAllowed, _ask(ring, bound, scope))
        behind = {"client": ("127.0.0.1", 1), "headers": [(b"x-forwarded-for", b"192.0.2.200")]}
        await _ask(ring, bound, behind)

    asyncio.run(check())


def test_uses_are_told_once(ring: KeyRing, database: Database) -> None:
    secret, refused = database.add(5), database.add(6, cidrs=["192.0.2.0/24"])

    async def check() -> None:
        await _ask(ring, secret)
        await _refused(NetworkNotAllowed, _ask(ring, refused))
        assert list(ring.take_uses()) == [5]
        assert ring.take_uses() == {}

    asyncio.run(check())


def test_the_least_recently_used_keys_go_first(database: Database) -> None:
    ring = KeyRing(database.find, pepper=PEPPER, entries_max=3, fresh_s=60, stale_s_max=600)
    first, *others = [database.add(number) for number in range(5)]

    async def check() -> None:
        for secret in others:
            await _ask(ring, first)
            await _ask(ring, secret)
        database.queries.clear()
        await _ask(ring, first)
        ring.forget_of("org_id", 1)
        await _ask(ring, others[-1])
        assert database.queries == []
        await _ask(ring, others[0])
        assert database.queries == [[others[0].public_id]]

    asyncio.run(check())
