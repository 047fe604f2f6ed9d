"""Our router with everything on: TimescaleDB that syncs, Redis, a key under a budget and a limit, a priced model, the journal."""

import os
import secrets
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
import redis
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from deploy.local.postgres import OWNER, create_database, create_owner
from tests.bench.router.machine import Cores
from tests.bench.router.peers import OURS
from tests.bench.router.targets import Target, headers
from tests.conftest import SERVICE_ROLES
from tests.processes import ServerProcess, running
from tests.services import Services, free_port, running_services
from warehouse.base.ids import public_id
from warehouse.identity.keys import ApiKeySecret
from warehouse.migrations.runner import migrate
from warehouse.role_passwords import set_role_passwords
from warehouse.seed import Seed, SeedDemo, SeedEngine, SeedModel, SeedPrice, put_catalogue, put_demo

PEPPER = "a pepper of the bench"
ROWS_S_MAX = 30
SETTLED_S = 1.0
ENOUGH_PICOUSD = 10**15
"""1,000 USD: a run spends a few hundredths of it, and every hold is made and settled all the same."""
ENOUGH, ENOUGH_AT_ONCE = 10**12, 10**6
"""Requests and tokens a minute, and requests at once, that no run comes near."""
_MODEL = SeedModel("m", 8192, 8192, SeedPrice(100_000, 50_000, 400_000))
# The session's test server does not wait for the disk; the benchmark's does.
_DURABLE = ("fsync", "full_page_writes", "synchronous_commit")


@dataclass(frozen=True, slots=True)
class Rows:
    """What the hypertable has. `priced`: completed, with a cost above nothing."""

    all: int
    completed: int
    priced: int


def unexplained(what: str, answered: int, before: Rows, after: Rows, cut_off_max: int) -> list[str]:
    """Why rows and answers do not agree; nothing where each answer is one priced row.

    A client that stops in the middle (as wrk does) leaves at most `cut_off_max` requests whose answer it did not count.
    """
    rows, completed, priced = (getattr(after, name) - getattr(before, name) for name in Rows.__slots__)
    found = []
    if not answered <= rows <= answered + cut_off_max:
        found.append(f"{what}: {answered:,} answered, {rows:,} rows")
    if not answered <= completed == priced:
        found.append(f"{what}: {answered:,} answered, {completed:,} rows completed, {priced:,} of them priced")
    return found


@dataclass(slots=True)
class Ours:
    """One database for the whole benchmark; the router is started anew for each part."""

    services: Services
    folder: Path
    passwords: dict[str, str]
    key: str
    _starts: int = field(default=0)

    def url(self, role: str) -> str:
        """Connection string of a role."""
        parts = conninfo_to_dict(self.services.server_dsn)
        return f"postgresql://{role}:{self.passwords[role]}@{parts['host']}:{parts['port']}/bench"

    def versions(self) -> str:
        """Of what runs beside the router."""
        with psycopg.connect(self.url(OWNER)) as db:
            found = db.execute(
                "select split_part(current_setting('server_version'), ' ', 1), extversion"
                " from pg_extension where extname = 'timescaledb'"
            ).fetchone()
        assert found is not None
        with redis.Redis.from_url(self.services.redis_url) as client:
            cache = client.info("server")["redis_version"]
        return f"PostgreSQL {found[0]}, TimescaleDB {found[1]}, Redis {cache}"

    def rows(self) -> Rows:
        """Counted now."""
        with psycopg.connect(self.url(OWNER)) as db:
            found = db.execute(
                "select count(*), count(*) filter (where status = 'completed'),"
                " count(*) filter (where status = 'completed' and cost_picousd > 0) from raw.usage_events"
            ).fetchone()
        assert found is not None
        return Rows(*found)

    def settled_rows(self, at_least: int) -> Rows:
        """Counted once there are so many and no more come."""
        deadline, last = time.monotonic() + ROWS_S_MAX, self.rows()
        while time.monotonic() < deadline:
            time.sleep(SETTLED_S)
            fresh = self.rows()
            if fresh == last and fresh.all >= at_least:
                break
            last = fresh
        return last

    @contextmanager
    def router(
        self,
        cores: Cores,
        upstream: int,
        *,
        workers: int = 1,
        program: Sequence[str] = ("router",),
        name: str = OURS,
        journals: Path | None = None,
    ) -> Iterator[Target]:
        """The router in front of an upstream, up on its cores.

        Args: program: the module that runs it, and its words.  name: in the tables.  journals: where its journal is to lie.
        """
        with psycopg.connect(self.url(OWNER)) as db:
            put_catalogue(db, Seed([_MODEL], [SeedEngine("bench", "vllm", f"http://127.0.0.1:{upstream}", "m")]))
        self._starts += 1
        port, log = free_port(), self.folder / f"router-{self._starts}.log"
        env = {
            "ROUTER_PORT": str(port),
            "ROUTER_WORKERS": str(workers),
            "ROUTER_DATABASE_URL": self.url("inferhouse_router"),
            "ROUTER_MANAGEMENT_DATABASE_URL": self.url("inferhouse_management"),
            "ROUTER_REDIS_URL": self.services.redis_url,
            "ROUTER_JOURNAL_DIR": str((journals or self.folder) / f"journal-{self._starts}"),
            "ROUTER_KEY_PEPPER": PEPPER,
            "ROUTER_SESSION_SECRET": secrets.token_hex(16),
        }
        argv = cores.on_router([sys.executable, "-m", *program])
        server = ServerProcess(argv, env, f"http://127.0.0.1:{port}", "/health/ready", log)
        with running(server):
            time.sleep(1)  # every worker has read catalogue and engines
            assert server.process is not None
            yield Target(name, port, server.process.pid, headers(self.key))


@contextmanager
def prepared(folder: Path) -> Iterator[Ours]:
    """Database and Redis up and filled. They run where this process may run."""
    with running_services() as services, psycopg.connect(services.server_dsn, autocommit=True) as admin:
        for setting in _DURABLE:
            admin.execute(f"alter system set {setting} = 'on'".encode())
        admin.execute("select pg_reload_conf()")
        passwords = {role: secrets.token_hex(8) for role in (OWNER, *SERVICE_ROLES)}
        create_owner(admin, passwords[OWNER])
        create_database(admin, "bench")
        owner = make_conninfo(services.server_dsn, dbname="bench", user=OWNER, password=passwords[OWNER])
        migrate(owner)
        set_role_passwords(owner, {role: passwords[role] for role in SERVICE_ROLES})
        key = ApiKeySecret.generate()
        with psycopg.connect(owner) as db:
            _fill(db, key)
        yield Ours(services, folder, passwords, key.reveal())


def _fill(db: psycopg.Connection, key: ApiKeySecret) -> None:
    """An organization with one key, and budget and limit on the key and on its project."""
    demo = SeedDemo(
        organization=public_id("org"), project=public_id("proj"), user=public_id("user"), name="Bench",
        time_zone="Europe/Berlin", email="bench@bench.example", password=secrets.token_hex(8), api_key=key.reveal(),
        admin_key=ApiKeySecret.generate().reveal(), sql_login=f"inferhouse_sql_{secrets.token_hex(4)}",
        sql_password=secrets.token_hex(8),
    )  # fmt: skip
    put_catalogue(db, Seed([_MODEL], []))
    put_demo(db, demo, PEPPER.encode())
    for scope in ("project_id", "api_key_id"):
        names = {
            "key": key.public_id, "budget": public_id("budget"), "limit": public_id("limit"),
            "picousd": ENOUGH_PICOUSD, "enough": ENOUGH, "at_once": ENOUGH_AT_ONCE,
        }  # fmt: skip
        which = "k.project_id" if scope == "project_id" else "k.id"
        db.execute(
            f"insert into control.budgets (public_id, org_id, {scope}, period, limit_picousd, mode)"
            f" select %(budget)s, k.org_id, {which}, 'month', %(picousd)s, 'hard'"
            " from control.api_keys as k where k.public_id = %(key)s".encode(),
            names,
        )
        db.execute(
            f"insert into control.limits (public_id, org_id, {scope}, requests_per_minute, input_tokens_per_minute,"
            " output_tokens_per_minute, requests_at_once)"
            f" select %(limit)s, k.org_id, {which}, %(enough)s, %(enough)s, %(enough)s, %(at_once)s"
            " from control.api_keys as k where k.public_id = %(key)s".encode(),
            names,
        )


def bound_to(core: int) -> None:
    """This process and all it starts from now on run on one core, unless told otherwise."""
    os.sched_setaffinity(0, {core})
