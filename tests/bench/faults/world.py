"""Two routers between two engines, a database and Redis, each line and process of which can be made to fail."""

import resource
import secrets
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import redis
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from deploy.local.postgres import OWNER, create_database, create_owner
from engines.catalog import load
from tests.bench.faults.engine import Engine
from tests.factories import midday_zone
from tests.processes import ServerProcess, router, running, simulated_engine
from tests.proxy import TcpProxy
from tests.services import free_port
from warehouse.base.ids import public_id
from warehouse.identity.keys import ApiKeySecret
from warehouse.migrations.runner import migrate
from warehouse.role_passwords import set_role_passwords
from warehouse.seed import Seed, SeedDemo, SeedEngine, SeedModel, SeedPrice, put_catalogue, put_demo

PEPPER = "a pepper of the faults"
ROUTER = "inferhouse_router"
ENGINES = ROUTERS = 2
CALL_S_MAX = 8.0
BUDGET_S_MAX = 4.0  # a second in line for a budget, three for an account to be opened
# Short, so that a stalled engine is given up within a seed, and every way out of a call is taken.
SETTINGS = {
    "ROUTER_SERVES": "inference",
    "ROUTER_CONNECT_S_MAX": "0.5",
    "ROUTER_FIRST_TOKEN_S_MAX": "1.5",
    "ROUTER_BETWEEN_TOKENS_S_MAX": "0.8",
    "ROUTER_TOTAL_S_MAX": str(CALL_S_MAX),
    "ROUTER_QUEUE_S_MAX": "1",
    "ROUTER_BUDGET_WAIT_S_MAX": "1",
    "ROUTER_FLUSH_INTERVAL_S": "0.05",
    "ROUTER_HEALTH_INTERVAL_S": "0.2",
    "ROUTER_KEEPALIVE_S": "0.3",
    "ROUTER_KEY_PEPPER": PEPPER,
}
SMALL_FILES_KB = 64  # room for a lock and a name, and for no file of the journal


@dataclass(frozen=True, slots=True)
class World:
    """What a seed breaks, loads and looks at."""

    db: psycopg.Connection
    routers: list[ServerProcess]
    engines: list[Engine]
    database_line: TcpProxy
    redis_line: TcpProxy
    redis_url: str
    api_key: str

    def flush_redis(self) -> None:
        """It forgets everything, as after a restart without a file."""
        with redis.Redis.from_url(self.redis_url) as client:
            client.flushall()

    def restart_on_full_disk(self, number: int) -> None:
        """`kill -9`, and a start without room for the journal.

        A limit of the process on the size of its files, because a file system of its own needs root; to the journal it is the
        same: no room for the next file.
        """
        router = self.routers[number]
        router.kill()
        whole, ready = router.argv, router.ready_path
        router.argv = ["bash", "-c", f'ulimit -S -f {SMALL_FILES_KB}; exec "$@"', "router", *whole]
        router.ready_path = "/health/live"  # it is not ready, and says why
        try:
            router.start()
        finally:
            router.argv, router.ready_path = whole, ready

    def make_room(self, number: int) -> None:
        """The disk of that router is as it was."""
        process = self.routers[number].process
        assert process is not None
        unlimited = resource.RLIM_INFINITY
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (unlimited, unlimited))


@contextmanager
def world(db: psycopg.Connection, router_dsn: str, redis_url: str, folder: Path) -> Iterator[World]:
    """Everything up, on a migrated database that nobody has seeded yet."""
    with ExitStack() as stack:
        flags = ["--tokens-per-second", "150", "--ttft-ms", "20", "--ttft-jitter", "0.5"]
        processes = [
            stack.enter_context(running(simulated_engine(free_port(), folder / f"engine-{number}.log", *flags)))
            for number in range(ENGINES)
        ]
        engines = [Engine(process, _line(stack, process.url)) for process in processes]
        direct = conninfo_to_dict(router_dsn)
        database_line = _line(stack, f"tcp://{direct['host']}:{direct['port']}")
        redis_line = _line(stack, redis_url)
        demo = seeded(db, [f"http://127.0.0.1:{engine.line.port}" for engine in engines])
        parts = urlsplit(redis_url)
        env = SETTINGS | {
            "ROUTER_DATABASE_URL": make_conninfo(**direct | {"port": str(database_line.port)}),
            "ROUTER_REDIS_URL": redis_url.replace(f":{parts.port}", f":{redis_line.port}"),
        }
        routers = [
            stack.enter_context(
                running(
                    router(
                        free_port(),
                        folder / f"router-{number}.log",
                        env | {"ROUTER_JOURNAL_DIR": str(folder / f"journal-{number}")},
                    )
                )
            )
            for number in range(ROUTERS)
        ]
        yield World(db, routers, engines, database_line, redis_line, redis_url, demo.api_key)


def database(server_dsn: str, name: str) -> tuple[str, str]:
    """A migrated database on a server that has none of ours yet: (the owner's connection, the router's)."""
    owner_password, password = secrets.token_hex(8), secrets.token_hex(8)
    with psycopg.connect(server_dsn, autocommit=True) as admin:
        create_owner(admin, owner_password)
        create_database(admin, name)
    owner = make_conninfo(server_dsn, dbname=name, user=OWNER, password=owner_password)
    migrate(owner)
    set_role_passwords(owner, {ROUTER: password})
    return owner, make_conninfo(server_dsn, dbname=name, user=ROUTER, password=password)


def _line(stack: ExitStack, url: str) -> TcpProxy:
    parts = urlsplit(url)
    assert parts.hostname is not None
    assert parts.port is not None
    line = TcpProxy(parts.hostname, parts.port)
    stack.callback(line.close)
    return line


def seeded(db: psycopg.Connection, urls: list[str]) -> SeedDemo:
    models = [
        SeedModel(
            model.name,
            model.context_tokens_max,
            model.output_tokens_max,
            SeedPrice(model.list_price.input_picousd, model.list_price.cached_input_picousd, model.list_price.output_picousd),
        )
        for model in load().models.values()
    ]
    demo = SeedDemo(
        organization=public_id("org"), project=public_id("proj"), user=public_id("user"),
        name="Faults", time_zone=midday_zone(), email="admin@faults.example", password=secrets.token_hex(8),
        api_key=ApiKeySecret.generate().reveal(), admin_key=ApiKeySecret.generate().reveal(),
        sql_login=f"inferhouse_sql_{secrets.token_hex(4)}", sql_password=secrets.token_hex(8),
    )  # fmt: skip
    engines = [SeedEngine(f"engine-{number}", "simulated", url, "simulated") for number, url in enumerate(urls)]
    put_catalogue(db, Seed(models, engines))
    put_demo(db, demo, PEPPER.encode())
    db.commit()
    return demo
