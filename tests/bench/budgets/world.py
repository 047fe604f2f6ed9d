"""Three router processes on one Redis and one database, in front of one engine: everything as a user has it, nothing fails."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg

from tests.bench.faults.world import PEPPER, seeded
from tests.processes import router, running, simulated_engine
from tests.services import free_port
from warehouse.base.ids import public_id

ROUTERS = 3
ENGINE = ("--tokens-per-second", "2000", "--ttft-ms", "2", "--ttft-jitter", "0.5", "--sequences-max", "1024")
SETTINGS = {"ROUTER_SERVES": "inference", "ROUTER_KEY_PEPPER": PEPPER, "ROUTER_FLUSH_INTERVAL_S": "0.05"}


@dataclass(frozen=True, slots=True)
class World:
    """Whom the clients of a seed ask, and where their rows are."""

    db: psycopg.Connection
    ports: list[int]
    api_key: str

    def spent(self, budget: int) -> int:
        """What the rows of a budget's window sum up to, pico-dollars."""
        row = self.db.execute(
            "select coalesce(sum(e.cost_picousd), 0)::numeric from raw.usage_events as e, control.budgets as b"
            " where b.id = %s and e.org_id = b.org_id and (b.period <> 'lifetime' or e.started_at >= b.created_at)",
            [budget],
        ).fetchone()
        self.db.commit()
        assert row is not None
        return int(row[0])

    def new_budget(self, period: str) -> int:
        """The only one of the organization from now on, of nothing as yet; its id."""
        self.db.execute("update control.budgets set deleted_at = now() where deleted_at is null")
        row = self.db.execute(
            "insert into control.budgets (public_id, org_id, period, limit_picousd, mode)"
            " select %s, id, %s, 0, 'hard' from control.organizations returning id",
            [public_id("budget"), period],
        ).fetchone()
        self.db.commit()
        assert row is not None
        return int(row[0])

    def allow(self, budget: int, limit_picousd: int) -> None:
        """Change its limit."""
        self.db.execute("update control.budgets set limit_picousd = %s where id = %s", [limit_picousd, budget])
        self.db.commit()


@contextmanager
def world(db: psycopg.Connection, router_dsn: str, redis_url: str, folder: Path) -> Iterator[World]:
    """Everything up, on a migrated database that nobody has seeded yet."""
    with ExitStack() as stack:
        engine = stack.enter_context(running(simulated_engine(free_port(), folder / "engine.log", *ENGINE)))
        demo = seeded(db, [engine.url])
        ports = [free_port() for _ in range(ROUTERS)]
        for number, port in enumerate(ports):
            env = SETTINGS | {
                "ROUTER_DATABASE_URL": router_dsn,
                "ROUTER_REDIS_URL": redis_url,
                "ROUTER_JOURNAL_DIR": str(folder / f"journal-{number}"),
            }
            stack.enter_context(running(router(port, folder / f"router-{number}.log", env)))
        yield World(db, ports, demo.api_key)
