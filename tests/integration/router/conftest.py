"""A router on a database of its own, in front of a simulated engine."""

import contextlib
import secrets
import time
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import openai
import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import dict_row

from engines.catalog import load
from tests.bench.faults.world import World, world
from tests.factories import Tenant, add_model, add_tenant, midday_zone
from tests.integration.router.evidence import Evidence
from tests.integration.router.reservations_world import Worker, Workers, worker
from tests.processes import ServerProcess, router, running, simulated_engine
from tests.proxy import TcpProxy
from tests.services import free_port
from warehouse.base.ids import public_id
from warehouse.identity.keys import ApiKeySecret
from warehouse.seed import Seed, SeedDemo, SeedEngine, SeedModel, SeedPrice, put_catalogue, put_demo

ROWS_S_MAX = 10
NOTICED_S_MAX = 10
LAST = "test_nothing_of_the_whole_run_tells_a_secret"


@dataclass
class Stack:
    """Everything a test of the router talks to."""

    engine: ServerProcess
    router: ServerProcess
    db: psycopg.Connection
    api_key: str
    admin_key: str
    email: str
    password: str
    pepper: bytes
    journal: Path
    sdk: openai.OpenAI = field(init=False)

    def __post_init__(self) -> None:
        self.sdk = openai.OpenAI(base_url=self.base_url, api_key=self.api_key, max_retries=0)

    @property
    def base_url(self) -> str:
        return self.router.url + "/v1"

    def post(self, body: Any, *, key: str | None = None, headers: dict[str, str] | None = None) -> httpx.Response:
        """A chat completion by plain HTTP: a dictionary is sent as JSON, bytes as they are."""
        content = {"content": body} if isinstance(body, bytes) else {"json": body}
        authorization = {"authorization": f"Bearer {self.api_key if key is None else key}"}
        return httpx.post(f"{self.base_url}/chat/completions", headers=authorization | (headers or {}), timeout=60, **content)

    def rows(self, count: int) -> list[dict[str, Any]]:
        """The raw rows in order, once there are `count` of them; more than that is a failure too."""
        deadline = time.monotonic() + ROWS_S_MAX
        while True:
            with self.db.cursor(row_factory=dict_row) as cur:
                rows = cur.execute("select * from raw.usage_events order by started_at, attempt").fetchall()
            self.db.commit()
            if len(rows) >= count or time.monotonic() > deadline:
                assert len(rows) == count, rows
                return rows
            time.sleep(0.05)

    def row(self) -> dict[str, Any]:
        """The one raw row."""
        return self.rows(1)[0]

    def ledger(self) -> dict[str, Any]:
        """What the engine says that it saw."""
        report: dict[str, Any] = httpx.get(self.engine.url + "/simulated/ledger").json()
        return report


@pytest.fixture(scope="session")
def evidence(tmp_path_factory: pytest.TempPathFactory) -> Evidence:
    """What the run leaves behind; test_secrets_scan.py looks into it at the end."""
    return Evidence(tmp_path_factory.mktemp("evidence"))


@pytest.fixture(scope="session", autouse=True)
def _note_what_is_said(evidence: Evidence) -> Iterator[None]:
    """Every request of a test, whichever client it has, and every key that a test makes itself."""
    send, send_async, reveal = httpx.Client.send, httpx.AsyncClient.send, ApiKeySecret.reveal

    def noting(self: httpx.Client, *arguments: Any, **named: Any) -> httpx.Response:
        answer = send(self, *arguments, **named)
        evidence.exchange(answer)
        return answer

    async def noting_async(self: httpx.AsyncClient, *arguments: Any, **named: Any) -> httpx.Response:
        answer = await send_async(self, *arguments, **named)
        evidence.exchange(answer)
        return answer

    def noting_key(self: ApiKeySecret) -> str:
        evidence.secret(self.secret)
        return reveal(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(httpx.Client, "send", noting)
        patch.setattr(httpx.AsyncClient, "send", noting_async)
        patch.setattr(ApiKeySecret, "reveal", noting_key)
        yield


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What looks at the whole run comes last."""
    items.sort(key=lambda item: item.name == LAST)


@pytest.fixture
def seeded(db: psycopg.Connection) -> Callable[[str], SeedDemo]:
    """Seeds catalogue and demo organization, with the engine at a URL."""

    def seed(engine_url: str, pepper: bytes = b"a pepper of the tests") -> SeedDemo:
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
            organization=public_id("org"),
            project=public_id("proj"),
            user=public_id("user"),
            name="Demo",
            time_zone="Europe/Berlin",
            email="admin@demo.example",
            password=secrets.token_hex(8),
            api_key=ApiKeySecret.generate().reveal(),
            admin_key=ApiKeySecret.generate().reveal(),
            sql_login=f"inferhouse_sql_{secrets.token_hex(4)}",
            sql_password=secrets.token_hex(8),
        )
        put_catalogue(db, Seed(models, [SeedEngine("engine-simulated", "simulated", engine_url, "simulated")]))
        put_demo(db, demo, pepper)
        db.commit()
        return demo

    return seed


@pytest.fixture
def engine_flags() -> list[str]:
    """Flags of the simulated engine; a test module overrides this."""
    return []


@pytest.fixture
def router_env() -> dict[str, str]:
    """Settings of the router beside the necessary ones; a test module overrides this."""
    return {}


def becomes(true: Callable[[], bool]) -> bool:
    """Whether it is so soon: a change is announced, and every worker has it within a second."""
    deadline = time.monotonic() + NOTICED_S_MAX
    while not (found := true()) and time.monotonic() < deadline:
        time.sleep(0.02)
    return found


@pytest.fixture
def database_line(database_url: str) -> Iterator[TcpProxy]:
    """The router's line to its database."""
    parts = conninfo_to_dict(database_url)
    proxy = TcpProxy(str(parts["host"]), int(str(parts["port"])))
    yield proxy
    proxy.close()


@pytest.fixture
def stack(
    db: psycopg.Connection,
    role_url: Callable[..., str],
    seeded: Callable[[str], SeedDemo],
    database_line: TcpProxy,
    tmp_path: Path,
    engine_flags: list[str],
    router_env: dict[str, str],
    evidence: Evidence,
    database_url: str,
    redis_url: str,
) -> Iterator[Stack]:
    """Router and engine, up."""
    with running(simulated_engine(free_port(), tmp_path / "engine.log", *engine_flags)) as engine:
        demo = seeded(engine.url)
        direct = conninfo_to_dict(role_url("inferhouse_router"))
        env = {
            "ROUTER_DATABASE_URL": make_conninfo(**direct | {"port": str(database_line.port)}),
            "ROUTER_MANAGEMENT_DATABASE_URL": role_url("inferhouse_management"),
            "ROUTER_JOURNAL_DIR": str(tmp_path / "journal"),
            "ROUTER_KEY_PEPPER": "a pepper of the tests",
            "ROUTER_SEALING_KEY": "a sealing key of the tests",
            "ROUTER_SESSION_SECRET": secrets.token_hex(16),
            "ROUTER_REDIS_URL": redis_url,
            "ROUTER_FLUSH_INTERVAL_S": "0.05",
            "ROUTER_HEALTH_INTERVAL_S": "0.2",
            **router_env,
        }
        with running(router(free_port(), tmp_path / "router.log", env)) as served:
            pepper = env["ROUTER_KEY_PEPPER"].encode()
            keys = {"api_key": demo.api_key, "admin_key": demo.admin_key}
            stack = Stack(
                engine, served, db, **keys, email=demo.email, password=demo.password, pepper=pepper,
                journal=tmp_path / "journal",
            )  # fmt: skip
            for secret in (demo.password, demo.sql_password, env["ROUTER_SESSION_SECRET"], env["ROUTER_KEY_PEPPER"]):
                evidence.secret(secret)
            with stack.sdk:
                yield stack
            if served.process is not None:
                with contextlib.suppress(httpx.HTTPError):
                    evidence.add("metrics", httpx.get(f"{served.url}/metrics", timeout=2).content)
    evidence.add("log", served.log.read_bytes())
    evidence.tables(database_url)


HELLO = {"model": "simulated", "messages": [{"role": "user", "content": "Say hello to the house."}], "max_tokens": 24}


@pytest.fixture
def hello() -> dict[str, Any]:
    """A small chat completion."""
    return dict(HELLO)


@pytest.fixture
def model(db: psycopg.Connection) -> tuple[int, int]:
    """A model and its price."""
    made = add_model(db, "model")
    db.commit()
    return made


@pytest.fixture
def tenant(db: psycopg.Connection) -> Tenant:
    """An organization where it is midday."""
    made = add_tenant(db, midday_zone())
    db.commit()
    return made


@pytest.fixture
def redis_line(redis_url: str) -> Iterator[TcpProxy]:
    """The line to Redis, which can be cut."""
    parts = urlsplit(redis_url)
    proxy = TcpProxy(parts.hostname or "", parts.port or 0)
    yield proxy
    proxy.close()


@pytest.fixture
def workers(role_url: Callable[..., str], redis_url: str, tmp_path: Path, model: tuple[int, int]) -> Workers:
    """Workers of one Redis and one database; one that is started later takes the journal of one that has ended."""

    @contextlib.asynccontextmanager
    async def start(
        count: int = 1, *, url: str | None = redis_url, database_url: str | None = None, wait_s: float = 10.0
    ) -> AsyncIterator[list[Worker]]:
        async with contextlib.AsyncExitStack() as stack:
            to = database_url or role_url("inferhouse_router")
            yield [
                await stack.enter_async_context(worker(to, url, tmp_path / "journal", model, wait_s=wait_s)) for _ in range(count)
            ]

    return start


@pytest.fixture
def faulty(db: psycopg.Connection, role_url: Callable[..., str], redis_url: str, tmp_path: Path) -> Iterator[World]:
    """Two routers, two engines, and lines to the database and to Redis that can fail."""
    with world(db, role_url("inferhouse_router"), redis_url, tmp_path) as made:
        yield made
