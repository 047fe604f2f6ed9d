"""`python -m tests.bench.keys`: what knowing a key costs, with 100,000 keys.

Cold: one key that no cache has, the query alone and through the ring. Many: 10,000 keys at once after everything was forgotten.
Warm: a key that the ring has, as every request of the hot path asks it. Bars: cold under 2 ms at the median; warm is to stay.
"""

import asyncio
import itertools
import secrets
import statistics
import sys
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg.conninfo import make_conninfo
from psycopg_pool import AsyncConnectionPool

from deploy.local.postgres import OWNER, create_database, create_owner
from router.inference.auth import KeyRing
from tests.conftest import SERVICE_ROLES
from tests.services import running_services
from warehouse.access import api_keys
from warehouse.access.api_keys import ApiKey
from warehouse.identity.keys import ApiKeySecret
from warehouse.migrations.runner import migrate
from warehouse.role_passwords import set_role_passwords

KEYS, OWN, TRIES, MANY = 100_000, 12_000, 1_000, 10_000
COLD_MS_MAX = 2.0
PEPPER = b"a pepper of the bench"
HERE: dict[str, Any] = {"client": ("192.0.2.7", 4711), "headers": [(b"authorization", b"-")] * 8}
FILL = b"""
insert into control.organizations (public_id, name)
select 'org_' || lpad(i::text, 12, '0'), 'O' from generate_series(1, 1000) as i;
insert into control.projects (public_id, org_id, name)
select 'proj_' || lpad(id::text, 12, '0'), id, 'P' from control.organizations;
insert into control.users (public_id, email, name)
select 'user_' || lpad(i::text, 12, '0'), 'u' || i || '@bench.example', 'U' from generate_series(1, 10000) as i;
insert into control.org_members (org_id, user_id, role) select 1 + id % 1000, id, 'member' from control.users;
insert into control.api_keys (public_id, secret_hash, kind, name, org_id, project_id, user_id)
select lpad(i::text, 16, '0'), decode(md5(i::text) || md5(i::text), 'hex'), 'inference', 'K', 1 + i % 1000, 1 + i % 1000,
    case when i % 10000 = 0 then null else i % 10000 end
from generate_series(1, 88000) as i;
"""


@contextmanager
def loaded() -> Iterator[tuple[str, list[ApiKeySecret]]]:
    """(connection string of the router's role, keys) of a database with KEYS keys."""
    with running_services() as services, psycopg.connect(services.server_dsn, autocommit=True) as admin:
        passwords = {role: secrets.token_hex(8) for role in (OWNER, *SERVICE_ROLES)}
        create_owner(admin, passwords[OWNER])
        create_database(admin, "bench")
        owner = make_conninfo(services.server_dsn, dbname="bench", user=OWNER, password=passwords[OWNER])
        migrate(owner)
        set_role_passwords(owner, {role: passwords[role] for role in SERVICE_ROLES})
        keys = [ApiKeySecret.generate() for _ in range(OWN)]
        with psycopg.connect(owner) as conn:
            conn.execute(FILL)
            conn.cursor().executemany(
                "insert into control.api_keys (public_id, secret_hash, kind, name, org_id, project_id, user_id)"
                " values (%s, %s, 'inference', 'K', %s, %s, %s)",
                [
                    (key.public_id, key.hash(PEPPER), 1 + user_id % 1000, 1 + user_id % 1000, user_id)
                    for key, user_id in zip(keys, itertools.cycle(range(1, 9999)), strict=False)
                ],
            )
        with psycopg.connect(owner, autocommit=True) as conn:
            conn.execute("analyze control.api_keys, control.org_members, control.users, control.projects, control.organizations")
        router = make_conninfo(owner, user="inferhouse_router", password=passwords["inferhouse_router"])
        yield router, keys


async def _each_ms(work: Callable[[ApiKeySecret], Coroutine[Any, Any, object]], keys: Sequence[ApiKeySecret]) -> str:
    took_ms = []
    for key in keys:
        started_s = time.perf_counter()
        await work(key)
        took_ms.append((time.perf_counter() - started_s) * 1000)
    p99 = statistics.quantiles(took_ms, n=100)[98]
    return f"median {statistics.median(took_ms):.3f} ms, p99 {p99:.3f} ms"


async def measure(router: str, keys: Sequence[ApiKeySecret]) -> float:
    """Print the figures. Returns: the median of a cold look-up through the ring, in milliseconds."""
    async with AsyncConnectionPool(router, min_size=2, max_size=4, open=False) as pool:

        async def find(public_ids: Sequence[str]) -> Mapping[str, ApiKey]:
            async with pool.connection() as conn:
                await conn.set_autocommit(True)
                return await api_keys.find_by_public_ids(conn, public_ids)

        ring = KeyRing(find, pepper=PEPPER, entries_max=50_000, fresh_s=600, stale_s_max=600)

        async def ask(key: ApiKeySecret) -> object:
            return await ring.caller(f"Bearer {key.reveal()}".encode(), HERE)

        await ask(keys[-1])
        print("cold, the query:        ", await _each_ms(lambda key: find([key.public_id]), keys[:TRIES]))
        cold = await _each_ms(ask, keys[:TRIES])
        print("cold, through the ring: ", cold)
        started_s = time.perf_counter()
        await asyncio.gather(*(ask(key) for key in keys[:MANY]))
        ring.forget()
        forgotten_s = time.perf_counter()
        await asyncio.gather(*(ask(key) for key in keys[:MANY]))
        print(f"{MANY} at once:           first {forgotten_s - started_s:.2f} s, all forgotten", end=" ")
        print(f"{time.perf_counter() - forgotten_s:.2f} s")
        started_s = time.perf_counter()
        ring.forget_of("org_id", 7)
        print(f"forget an organization:  {(time.perf_counter() - started_s) * 1000:.2f} ms with {MANY} keys held")
        header = f"Bearer {keys[-1].reveal()}".encode()
        await ring.caller(header, HERE)
        best_us = []
        for _ in range(20):
            started_s = time.perf_counter()
            for _ in range(5_000):
                await ring.caller(header, HERE)
            best_us.append((time.perf_counter() - started_s) / 5_000 * 1e6)
        print(f"warm:                    {min(best_us):.2f} µs")
        return float(cold.split()[1])


def main() -> int:
    """1 where a cold key takes too long."""
    with loaded() as (router, keys):
        return int(asyncio.run(measure(router, keys)) > COLD_MS_MAX)


if __name__ == "__main__":
    sys.exit(main())
