"""Whatever the owner of the database does to the audit log with SQL, the check of its chain finds it."""

import asyncio
import random
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg import AsyncConnection
from psycopg.sql import SQL, Identifier
from psycopg.types.json import Jsonb

from tests.integration.warehouse.conftest import Control
from warehouse.access import audit_log
from warehouse.access.audit_log import Actor, Change
from warehouse.identity.audit import ChainCheck, Finding, audit_key, head_mac

KEY = audit_key(b"a pepper of the tests")
ENTRIES = 30
LONG = 5000
TAMPERINGS = 200
KINDS = (
    "project.created", "project.updated", "api_key.created", "price.created",
)  # fmt: skip
VALUES: list[dict[str, Any] | None] = [
    None, {}, {"name": "Ünïcode ☃"}, {"n": 1.0, "m": 1e-07, "big": 12345678901234567890, "zero": -0.0, "e": 1e22},
    {"deep": {"list": [1, None, {"a": [True, False]}]}},
]  # fmt: skip


async def _write(url: str, control: Control, count: int) -> None:
    chance = random.Random(count)
    addresses = [None, "127.0.0.1", "2001:db8::1:0:0:2", "::ffff:10.1.2.3", "fe80::1%eth0", "a socket"]
    async with await AsyncConnection.connect(url) as conn:
        for number in range(count):
            actor = Actor("user", "user_000000000001", "a@demo.example", chance.choice(addresses), uuid4())
            org = chance.choice([control.first, control.second, None])
            change = Change(
                chance.choice(KINDS), f"proj_{number:012d}", org.org_id if org else None, org.project_id if org else None,
                chance.choice(VALUES), chance.choice(VALUES),
            )  # fmt: skip
            await audit_log.append(conn, actor, change, KEY)


async def _findings(conn: AsyncConnection, *seen: tuple[int, bytes]) -> list[Finding]:
    check = ChainCheck(KEY, seen=seen)
    found = [finding async for rows in audit_log.read_chain(conn) for finding in check.read(rows)]
    return found + list(check.end(await audit_log.lock_head(conn)))


def _check(url: str, *seen: tuple[int, bytes]) -> list[Finding]:
    async def run() -> list[Finding]:
        async with await AsyncConnection.connect(url) as conn:
            return await _findings(conn, *seen)

    return asyncio.run(run())


@pytest.fixture
def log(database_url: str, control: Control) -> str:
    """The owner's connection string to a database with a log of ENTRIES entries."""
    asyncio.run(_write(database_url, control, ENTRIES))
    return database_url


def test_a_log_as_it_was_written_has_no_findings(database_url: str, control: Control) -> None:
    assert _check(database_url) == []
    asyncio.run(_write(database_url, control, LONG))
    assert _check(database_url) == []


ALTERED = {
    "public_id": "'audit_000000000000'", "org_id": "case when org_id is null then {org} end", "effective_at": None,
    "event_type": "event_type || '_x'", "actor_type": "'system'", "actor_id": "actor_id || 'x'",
    "actor_email": "case when random() < 0.5 then upper(actor_email) end", "request_id": "gen_random_uuid()",
    "ip": "case when ip is null then '10.0.0.1' else set_masklen(ip, 24) end", "target_id": "'proj_other'",
    "project_id": "case when project_id is null then {project} end",
    "before": None, "after": None,
    "previous_mac": "decode(md5(random()::text) || md5(random()::text), 'hex')",
    "mac": "set_byte(mac, 31, 255 - get_byte(mac, 31))",
}  # fmt: skip
INSTANTS = (
    "effective_at + interval '1 microsecond'", "effective_at - interval '1 microsecond'", "'infinity'", "'-infinity'",
    "effective_at - interval '4000 years'",
)  # fmt: skip
JSON = (
    "case when {c} is null then 'null'::jsonb end", "coalesce({c}, '{{}}') || '{{\"x\": 1}}'", "'[]'::jsonb",
    "'{{\"n\": 1.00, \"m\": 0.0000001, \"big\": 12345678901234567890, \"zero\": 0, \"e\": 1}}'",
    "jsonb_build_array({c})", "to_jsonb('x'::text)",
)  # fmt: skip


def _alter(chance: random.Random, control: Control) -> str:
    column = chance.choice(list(ALTERED))
    if column in {"before", "after"}:
        value = chance.choice(JSON).format(c=column)
    else:
        value = chance.choice(INSTANTS) if column == "effective_at" else str(ALTERED[column])
    value = (
        value.format(org=control.first.org_id, project=control.first.project_id)
        if "{" in value and column.endswith("_id")
        else value
    )
    return f"update control.audit_log set {column} = {value} where sequence = {chance.randint(1, ENTRIES)}"


def _renumber(after: int, by: int) -> str:
    return (
        f"update control.audit_log set sequence = sequence + 100000 where sequence > {after};"
        f"update control.audit_log set sequence = sequence - 100000 + {by} where sequence > 100000"
    )


def _delete(chance: random.Random, control: Control) -> str:
    sequence = chance.choice([1, ENTRIES, chance.randint(2, ENTRIES - 1)])
    closed = chance.random() < 0.5
    return f"delete from control.audit_log where sequence = {sequence}" + (f"; {_renumber(sequence, -1)}" if closed else "")


def _swap(chance: random.Random, control: Control) -> str:
    one, other = chance.sample(range(1, ENTRIES + 1), 2)
    return (
        f"update control.audit_log set sequence = 100000 where sequence = {one};"
        f"update control.audit_log set sequence = {one} where sequence = {other};"
        f"update control.audit_log set sequence = {other} where sequence = 100000"
    )


_COPIED = (
    "org_id, project_id, effective_at, event_type, actor_type, actor_id, actor_email, ip, request_id, target_id, before, after"
)


def _copy(sequence: int, new: str, name: str = "'audit_999999999999'") -> str:
    return (
        f"insert into control.audit_log (sequence, public_id, {_COPIED}, previous_mac, mac)"
        f" select {new}, {name}, {_COPIED}, previous_mac, mac from control.audit_log where sequence = {sequence}"
    )


def _insert(chance: random.Random, control: Control) -> str:
    return _copy(chance.randint(1, ENTRIES), chance.choice([str(ENTRIES + 1), str(ENTRIES + 7)]))


def _first(chance: random.Random, control: Control) -> str:
    free = "alter table control.audit_log drop constraint audit_log_sequence_check"
    return f"{free}; {_copy(1, chance.choice(['0', '-1']))}"


def _duplicate(chance: random.Random, control: Control) -> str:
    sequence = chance.randint(1, ENTRIES)
    return f"{_renumber(sequence, 1)}; {_copy(sequence, str(sequence + 1))}"


def _twice(chance: random.Random, control: Control) -> str:
    sequence = chance.randint(1, ENTRIES)
    free = (
        "alter table control.audit_log drop constraint audit_log_pkey;"
        "alter table control.audit_log drop constraint audit_log_public_id_key"
    )
    return f"{free}; {_copy(sequence, str(sequence), 'public_id')}"


def _head(chance: random.Random, control: Control) -> str:
    change = chance.choice(
        ["sequence = sequence - 1", "sequence = sequence + 1", "sequence = -1", "head_mac = ''", "mac = head_mac",
         "sequence = 0, mac = decode(repeat('00', 32), 'hex'), head_mac = ''"]
    )  # fmt: skip
    return f"update control.audit_head set {change}" if chance.random() < 0.9 else "delete from control.audit_head"


def _cut(chance: random.Random, control: Control) -> str:
    last = chance.randint(0, ENTRIES - 1)
    mac = f"(select mac from control.audit_log where sequence = {last})" if last else "decode(repeat('00', 32), 'hex')"
    kept = chance.choice(["", ", head_mac = ''" if last else ""])
    return (
        f"delete from control.audit_log where sequence > {last};"
        f"update control.audit_head set sequence = {last}, mac = {mac}{kept}"
    )


def _empty(chance: random.Random, control: Control) -> str:
    return chance.choice(["truncate control.audit_log", "delete from control.audit_log"])


Tampering = Callable[[random.Random, Control], str]
TAMPERING: list[Tampering] = [_delete, _swap, _insert, _first, _duplicate, _twice, _head, _cut, _empty]


def _tamperings(control: Control) -> Iterator[str]:
    chance = random.Random(2026)
    for number in range(TAMPERINGS):
        yield (_alter if number % 2 else chance.choice(TAMPERING))(chance, control)


def test_every_one_of_200_tamperings_is_found(log: str, control: Control) -> None:
    async def run() -> tuple[list[str], int]:
        missed, done = [], 0
        async with await AsyncConnection.connect(log) as conn:
            content = "select array_agg(l.*::text order by l.ctid) from control.audit_log l"
            head = "select array_agg(h.*::text) from control.audit_head h"
            before = [await (await conn.execute(query.encode())).fetchone() for query in (content, head)]
            for statement in _tamperings(control):
                async with conn.transaction(force_rollback=True):
                    await conn.execute(statement.encode())
                    after = [await (await conn.execute(query.encode())).fetchone() for query in (content, head)]
                    assert [sorted(a[0] or []) for a in after if a] != [sorted(b[0]) for b in before if b], statement
                    done += 1
                    if not await _findings(conn):
                        missed.append(statement)
        return missed, done

    missed, done = asyncio.run(run())
    assert (missed, done) == ([], TAMPERINGS)


def test_an_old_head_put_back_with_its_end_is_found_by_what_was_seen_before(log: str, db: psycopg.Connection) -> None:
    old = db.execute("select sequence, mac from control.audit_log where sequence = %s", [ENTRIES - 5]).fetchone()
    seen = db.execute("select sequence, mac from control.audit_log where sequence = %s", [ENTRIES]).fetchone()
    assert old is not None
    assert seen is not None
    db.execute("delete from control.audit_log where sequence > %s", [old[0]])
    db.execute("update control.audit_head set sequence = %s, mac = %s, head_mac = %s", [*old, head_mac(old[0], old[1], KEY)])
    db.commit()
    assert _check(log) == [], "the database alone cannot tell"
    found = _check(log, (seen[0], bytes(seen[1])))
    assert [finding.what for finding in found] == [f"the log ends at {old[0]}, an earlier check saw entry {ENTRIES}"]


def test_another_key_fits_no_entry(log: str) -> None:
    async def run() -> int:
        check = ChainCheck(audit_key(b"another pepper"))
        async with await AsyncConnection.connect(log) as conn:
            return len([finding async for rows in audit_log.read_chain(conn) for finding in check.read(rows)])

    assert asyncio.run(run()) == ENTRIES


REFUSED = (
    "update control.audit_log set after = '{}'", "delete from control.audit_log", "truncate control.audit_log",
    "truncate control.audit_head", "delete from control.audit_head", "insert into control.audit_head values (false, 0, '', '')",
    "alter table control.audit_log disable trigger all", "alter table control.audit_log disable row level security",
    "alter table control.audit_log owner to inferhouse_management", "drop table control.audit_log",
    "create trigger t before insert on control.audit_log for each row execute function control.announce_change()",
    "create rule r as on insert to control.audit_log do instead nothing", "create policy p on control.audit_log using (true)",
 "set session_replication_role = replica",
    "set role inferhouse_owner", "alter table control.audit_log drop constraint audit_log_pkey",
    "insert into control.audit_log select * from control.audit_log on conflict (sequence) do update set actor_id = 'x'",
    "merge into control.audit_log l using (select 1) s on true when matched then delete",
    "select * from control.audit_log for update", "copy control.audit_log from program 'true'",
    "create table control.audit_log_2 () inherits (control.audit_log)",
)  # fmt: skip


def test_the_management_role_can_add_to_the_log_and_nothing_else(log: str, role_url: Callable[..., str]) -> None:
    allowed = []
    with psycopg.connect(role_url("inferhouse_management"), autocommit=True) as conn:
        conn.execute("select set_config('inferhouse.platform', 'on', false)")
        assert conn.execute("select count(*) from control.audit_log").fetchone() == (ENTRIES,)
        conn.execute("grant update, delete on control.audit_log to inferhouse_management")  # PostgreSQL warns, and grants nothing
        for statement in REFUSED:
            try:
                conn.execute(statement.encode())
                allowed.append(statement)
            except psycopg.errors.InsufficientPrivilege:
                pass
    assert allowed == []
    assert _check(log) == []


def test_a_value_that_json_keeps_exactly_stays_as_it_was_written(database_url: str, control: Control) -> None:
    async def run() -> list[Finding]:
        async with await AsyncConnection.connect(database_url) as conn:
            for value in (0.1 + 0.2, 5e-324, 1.7976931348623157e308, -0.0, 100.0, 2**80):
                await audit_log.append(
                    conn, Actor("system", "test"), Change("price.created", "x", None, None, None, {"v": value}), KEY
                )
            return await _findings(conn)

    assert asyncio.run(run()) == []


@pytest.mark.parametrize("column", ["before", "after"])
def test_a_digit_too_many_is_found(database_url: str, db: psycopg.Connection, control: Control, column: str) -> None:
    asyncio.run(_write(database_url, control, 1))
    for told in ('{"v": 1.50}', '{"v": 1.5}', "null"):
        statement = SQL("update control.audit_log set {} = %s").format(Identifier(column))
        db.execute(statement, [Jsonb(None) if told == "null" else told])
        db.commit()
        assert [finding.what for finding in _check(database_url)] == ["was altered"]
