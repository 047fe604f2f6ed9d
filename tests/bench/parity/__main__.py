"""`python -m tests.bench.parity --rows 5000000`: a month, priced by dbt and by Polars, equal to the last pico-dollar.

The book has conditions, an override, a price change within the month, tiers and discounts; organizations live in five zones.
Fails where one line differs, or where one row was priced otherwise than the second engine would.
"""

import argparse
import resource
import sys
import time
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from deploy.local.postgres import OWNER, create_database, create_owner
from orchestration.pricing.parity import compare_month
from tests.conftest import SERVICE_ROLES
from tests.dbt_runs import Dbt
from tests.services import running_services
from warehouse.access.queries import parse_queries
from warehouse.migrations.runner import migrate
from warehouse.role_passwords import set_role_passwords

QUERIES = parse_queries(Path(__file__).with_name("rows.sql").read_text())
MARCH = date(2026, 3, 1)
BATCH = 250_000
PASSWORD = "of-the-bench"
MODELS = ("run", "--select", "+int_invoice_lines")


def main() -> int:
    """Fill, build, compare; the exit code."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rows", type=int, default=5_000_000)
    options.add_argument("--organizations", type=int, default=100)
    said = options.parse_args()
    with running_services() as services, TemporaryDirectory() as folder:
        with psycopg.connect(services.server_dsn, autocommit=True) as admin:
            create_owner(admin, PASSWORD)
            create_database(admin, "bench")
        owner = make_conninfo(services.server_dsn, dbname="bench", user=OWNER, password=PASSWORD)
        migrate(owner)
        set_role_passwords(owner, dict.fromkeys(SERVICE_ROLES, PASSWORD))
        with psycopg.connect(owner, autocommit=True) as conn:
            conn.execute(QUERIES["book"], {"organizations": said.organizations})
            conn.execute("analyze")
            began = time.monotonic()
            for first in range(0, said.rows, BATCH):
                conn.execute(QUERIES["rows"], {"first": first, "last": min(first + BATCH, said.rows) - 1})
            conn.execute("analyze raw.usage_events")
        print(f"{said.rows:,} rows made in {time.monotonic() - began:.1f} s", flush=True)
        parts = conninfo_to_dict(owner)
        url = f"postgresql://inferhouse_transform:{PASSWORD}@{parts['host']}:{parts['port']}/bench"
        began = time.monotonic()
        Dbt(url, Path(folder)).run(*MODELS)
        print(f"dbt, from raw rows to lines, its start included: {time.monotonic() - began:.1f} s", flush=True)
        began = time.monotonic()
        with psycopg.connect(url) as conn:
            found = compare_month(conn, MARCH)
        seconds = time.monotonic() - began
    megabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"Polars, reading and choosing a version for each row anew included: {seconds:.1f} s, {megabytes:,.0f} MiB at most")
    print(f"rows read {found.month.rows:,}, priced otherwise {found.month.rows_otherwise}, lines {found.month.lines.height:,}")
    print(
        f"dbt {found.dbt_picousd:,} pico-dollars, Polars {found.polars_picousd:,}, lines that differ {found.differences.height}"
    )
    return 1 if found.differences.height or found.month.rows_otherwise or not found.month.lines.height else 0


if __name__ == "__main__":
    sys.exit(main())
