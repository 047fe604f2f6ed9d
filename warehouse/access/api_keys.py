"""API keys: as the router reads them, and as their owners see them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from psycopg import AsyncConnection
from psycopg.rows import class_row, dict_row

from warehouse.access.queries import load_queries

QUERIES = load_queries(__file__)
CHANGED = ("name", "scopes", "models", "cidrs", "choices_max", "output_tokens_max", "expires_at")
"""What of a key can be changed."""
Kind = Literal["inference", "admin", "platform"]


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key in force: neither revoked nor expired, and everybody and everything that it is of is active."""

    id: int
    public_id: str
    secret_hash: bytes = field(repr=False)
    previous_secret_hash: bytes | None = field(repr=False)
    previous_secret_until: datetime | None
    kind: Kind
    org_id: int | None
    project_id: int | None
    user_id: int | None
    service_account_id: int | None
    owner_role: str | None
    """What its user is in the organization; None for keys of nobody, and for platform admins from outside."""
    scopes: list[str]
    expires_at: datetime | None
    cidrs: list[str] | None
    organization_cidrs: list[str] | None
    answers_kept_s: int
    """For which its organization keeps the answers of requests with an Idempotency-Key."""
    queue_weight: int
    """Of its organization, among those that wait for engines that are full."""
    models: list[str] | None
    """What key and organization both allow; None means every model."""
    choices_max: int | None
    output_tokens_max: int | None
    """The largest `n` and the most output tokens per choice that a request may ask for; None is no cap."""


@dataclass(frozen=True, slots=True)
class KeyRow:
    """A key as its owners see it. Its secret is nowhere."""

    id: int
    public_id: str
    kind: Kind
    name: str
    scopes: list[str]
    models: list[str] | None
    cidrs: list[str] | None
    choices_max: int | None
    output_tokens_max: int | None
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    rotated_at: datetime | None
    previous_secret_until: datetime | None
    last_used_at: datetime | None
    created_by: str | None
    version: int
    user_id: int | None
    user_public_id: str | None
    user_name: str | None
    user_email: str | None
    user_created_at: datetime | None
    user_role: str | None
    service_account_public_id: str | None
    service_account_name: str | None
    service_account_role: str | None
    service_account_created_at: datetime | None
    project: str | None
    status: str
    """`active`, or why the router refuses it."""


@dataclass(frozen=True, slots=True)
class Home:
    """Where a key belongs: a project (inference), an organization (admin) or the platform."""

    kind: Kind
    org_id: int | None = None
    project_id: int | None = None

    @property
    def values(self) -> dict[str, object]:
        """For a query."""
        return {"kind": self.kind, "org_id": self.org_id, "project_id": self.project_id}


@dataclass(frozen=True, slots=True)
class NewKey:
    """What a key is made of, beside its secret."""

    name: str
    scopes: list[str]
    user_id: int | None = None
    service_account_id: int | None = None
    models: list[str] | None = None
    cidrs: list[str] | None = None
    choices_max: int | None = None
    output_tokens_max: int | None = None
    expires_at: datetime | None = None
    created_by: str | None = None


@dataclass(frozen=True, slots=True)
class Caps:
    """What an organization's policy lets its members' keys be; None is no cap."""

    key_days_max: int | None = None
    keys_per_member_max: int | None = None
    key_models: list[str] | None = None
    key_cidrs: list[str] | None = None


async def find_by_public_ids(conn: AsyncConnection, public_ids: Sequence[str]) -> dict[str, ApiKey]:
    """{public id: key} of those that are in force, whatever their organization: the router does not know it yet."""
    async with conn.cursor(row_factory=class_row(ApiKey)) as cur:
        await cur.execute(QUERIES["find_by_public_ids"], {"public_ids": list(public_ids)})
        return {key.public_id: key for key in await cur.fetchall()}


async def note_uses(conn: AsyncConnection, uses: Mapping[int, datetime]) -> None:
    """{key id: when it was last used}; what is known to be later stays. Keys that somebody is changing are left out."""
    await conn.execute(QUERIES["note_uses"], {"ids": list(uses), "instants": list(uses.values())})


async def add(conn: AsyncConnection, home: Home, public_id: str, secret_hash: bytes, key: NewKey) -> KeyRow:
    """A new key."""
    values = {name: getattr(key, name) for name in NewKey.__slots__}
    cur = await conn.execute(QUERIES["add"], home.values | values | {"public_id": public_id, "secret_hash": secret_hash})
    row = await cur.fetchone()
    assert row is not None
    return (await _rows(conn, home, [row[0]]))[0]


async def page(conn: AsyncConnection, home: Home, **window: Any) -> list[KeyRow]:
    """Keys of one home by age. Window: after, rows_max, include_revoked; of a project also user_id and service_account
    (None for all) and owner (`user`, `service_account` or None)."""
    query = {"inference": "ids_of_project", "admin": "ids_of_organization", "platform": "ids_of_platform"}[home.kind]
    found = await (await conn.execute(QUERIES[query], home.values | window)).fetchall()
    return await _rows(conn, home, [row[0] for row in found])


async def find(conn: AsyncConnection, home: Home, public_id: str, *, lock: bool = False) -> KeyRow | None:
    """One key; None where this home has none of that id. With `lock`, nobody else changes it until this transaction ends."""
    query = QUERIES["lock_id" if lock else "find_id"]
    row = await (await conn.execute(query, home.values | {"public_id": public_id})).fetchone()
    return (await _rows(conn, home, [row[0]]))[0] if row else None


async def _rows(conn: AsyncConnection, home: Home, ids: list[int]) -> list[KeyRow]:
    if not ids:
        return []
    async with conn.cursor(row_factory=class_row(KeyRow)) as cur:
        return await (await cur.execute(QUERIES["rows"], home.values | {"ids": ids})).fetchall()


async def change(conn: AsyncConnection, home: Home, key_id: int, key: NewKey) -> KeyRow:
    """What can be changed of a key becomes as in `key`."""
    values = {name: getattr(key, name) for name in CHANGED}
    return await _changed(conn, home, key_id, "change", values)


async def rotate(conn: AsyncConnection, home: Home, key_id: int, secret_hash: bytes, grace_s: int) -> KeyRow:
    """Another secret from now on; the one before works for `grace_s` seconds more."""
    return await _changed(conn, home, key_id, "rotate", {"secret_hash": secret_hash, "grace_s": grace_s})


async def revoke(conn: AsyncConnection, home: Home, key_id: int) -> KeyRow:
    """The key ends, in every router within a second."""
    return await _changed(conn, home, key_id, "revoke", {})


async def _changed(conn: AsyncConnection, home: Home, key_id: int, query: str, values: Mapping[str, object]) -> KeyRow:
    await conn.execute(QUERIES[query], {"id": key_id, "org_id": home.org_id} | dict(values))
    return (await _rows(conn, home, [key_id]))[0]


async def revoke_of_user(conn: AsyncConnection, org_id: int, user_id: int) -> None:
    """Every key of a user's own in an organization ends."""
    await conn.execute(QUERIES["revoke_of_user"], {"org_id": org_id, "user_id": user_id})


async def revoke_of_user_in_project(conn: AsyncConnection, org_id: int, project_id: int, user_id: int) -> None:
    """Every key of a user's own in a project ends."""
    values = {"org_id": org_id, "project_id": project_id, "user_id": user_id}
    await conn.execute(QUERIES["revoke_of_user_in_project"], values)


async def revoke_of_service_account(conn: AsyncConnection, org_id: int, service_account_id: int) -> None:
    """Every key of a service account ends."""
    await conn.execute(QUERIES["revoke_of_service_account"], {"org_id": org_id, "service_account_id": service_account_id})


async def count_of_member(conn: AsyncConnection, org_id: int, user_id: int) -> int:
    """How many inference keys in force a member has; nobody else makes one for this member until the transaction ends."""
    values = {"org_id": org_id, "user_id": user_id}
    await conn.execute(QUERIES["lock_member"], values)
    row = await (await conn.execute(QUERIES["count_of_member"], values)).fetchone()
    assert row is not None
    return int(row[0])


async def caps(conn: AsyncConnection, org_id: int) -> Caps:
    """The organization's policy for keys."""
    async with conn.cursor(row_factory=class_row(Caps)) as cur:
        row = await (await cur.execute(QUERIES["caps"], {"org_id": org_id})).fetchone()
        assert row is not None
        return row


async def names_in_service(conn: AsyncConnection, org_id: int) -> frozenset[str]:
    """Names that a list of models may have: of the models that are not retired, of everybody's aliases and of its own."""
    return frozenset(row[0] for row in await (await conn.execute(QUERIES["names_in_service"], {"org_id": org_id})).fetchall())


async def find_owner(conn: AsyncConnection, org_id: int, project_id: int, public_id: str) -> Mapping[str, int | None]:
    """Internal ids of a project's service account and of a member with this public id: {service_account_id, user_id}."""
    values = {"org_id": org_id, "project_id": project_id, "public_id": public_id}
    async with conn.cursor(row_factory=dict_row) as cur:
        row = await (await cur.execute(QUERIES["find_owner"], values)).fetchone()
        assert row is not None
        return row
