"""A server with the settings of `make up`, databases with histories of some size, and dbt as the sensor runs it."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from deploy.local.postgres import OWNER, create_database, create_owner
from orchestration.history import writing
from orchestration.history.plan import HOURS_A_DAY, Piece, Plan, Unit
from orchestration.history.world import World, build
from tests.conftest import SERVICE_ROLES
from tests.services import ROOT, running_services
from warehouse.migrations.runner import migrate
from warehouse.role_passwords import set_role_passwords

PASSWORD = "bench"
ROWS_A_DAY = 137_000  # 50 M rows are a year: histories differ in how long they are, not in how busy
ORGANIZATIONS = 50
NEW_ROWS, LATE_OF_THEM, LATE_DAYS = 10_000, 500, 7
# In the middle of a month, so that the month that the newest rows are of has some days already.
END = date(2026, 6, 16)
TABLES = "config.materialized:incremental"


@dataclass
class Warehouse:
    """One database with a history."""

    superuser_url: str
    owner_url: str
    transform_url: str
    plan: Plan
    world: World
    target: Path
    batches: int = field(default=0)

    def settle(self) -> None:
        """Vacuumed and written out, as a history is that has grown over months; so much at once leaves it to autovacuum."""
        with psycopg.connect(self.superuser_url, autocommit=True) as conn:
            conn.execute("vacuum (analyze)")
            conn.execute("checkpoint")

    def add_rows(self) -> None:
        """10,000 rows as they come: of the two hours after the history, and a twentieth up to a week late."""
        end_hour = (self.plan.days + self.batches // 12) * HOURS_A_DAY + self.batches % 12 * 2
        recent = Piece((9, self.batches, 0), np.array([end_hour, end_hour + 1]), np.array([(NEW_ROWS - LATE_OF_THEM) // 2] * 2))
        hours = np.arange(max(self.plan.days - LATE_DAYS, 0) * HOURS_A_DAY, self.plan.days * HOURS_A_DAY)
        counts = np.diff(np.linspace(0, LATE_OF_THEM, len(hours) + 1).astype(np.int64))
        late = Piece((9, self.batches, 1), hours[counts > 0], counts[counts > 0])
        self.batches += 1
        with psycopg.connect(self.owner_url, autocommit=True) as conn:
            conn.execute(writing.QUERIES["create_sent_again"])
            writing.write_unit(conn, self.world, Unit(range(0), (recent, late)))

    def dbt(self, *arguments: str) -> tuple[float, dict[str, float]]:
        """`dbt run …`: seconds in all, and of each model."""
        parts = conninfo_to_dict(self.transform_url)
        env = {
            "DBT_HOST": str(parts["host"]), "DBT_PORT": str(parts["port"]), "DBT_USER": str(parts["user"]),
            "DBT_PASSWORD": PASSWORD, "DBT_DATABASE": str(parts["dbname"]), "DBT_EXCLUDE_RESOURCE_TYPES": "unit_test",
            "PATH": os.environ["PATH"], "LANG": "C.UTF-8", "HOME": str(self.target),
        }  # fmt: skip
        places = ["--project-dir", ROOT / "dbt", "--profiles-dir", ROOT / "dbt", "--target-path", self.target]
        command = [Path(sys.executable).with_name("dbt"), "run", *arguments, *places, "--log-path", self.target]
        began = time.monotonic()
        done = subprocess.run([str(part) for part in command], env=env, capture_output=True, text=True, check=False)
        seconds = time.monotonic() - began
        if done.returncode:
            raise RuntimeError(done.stdout[-4000:] + done.stderr[-2000:])
        results = json.loads((self.target / "run_results.json").read_text())["results"]
        return seconds, {each["unique_id"].rpartition(".")[2]: each["execution_time"] for each in results}


def plan_of(rows: int) -> Plan:
    """A history of so many rows that ends at END."""
    days = -(-rows // ROWS_A_DAY)
    return Plan(rows, ORGANIZATIONS, 1, END - timedelta(days=days), days, late_basis_points=500, twice_basis_points=100)


@contextmanager
def server() -> Iterator[str]:
    """Connection string of the superuser of a server that syncs, as an installation's does."""
    with running_services({}) as services, psycopg.connect(services.server_dsn, autocommit=True) as admin:
        create_owner(admin, PASSWORD)
        yield services.server_dsn


@contextmanager
def warehouse(superuser: str, plan: Plan) -> Iterator[Warehouse]:
    """A migrated database without rows; dropped afterwards."""
    name = f"bench_{plan.rows}"
    with psycopg.connect(superuser, autocommit=True) as admin, TemporaryDirectory() as target:
        create_database(admin, name)
        owner = make_conninfo(superuser, dbname=name, user=OWNER, password=PASSWORD)
        migrate(owner)
        set_role_passwords(owner, dict.fromkeys(SERVICE_ROLES, PASSWORD))
        transform = make_conninfo(superuser, dbname=name, user="inferhouse_transform", password=PASSWORD)
        try:
            yield Warehouse(make_conninfo(superuser, dbname=name), owner, transform, plan, build(plan), Path(target))
        finally:
            admin.execute(f'drop database "{name}" with (force)'.encode())
            admin.execute("checkpoint")
