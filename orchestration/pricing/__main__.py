"""`python -m orchestration.pricing YYYY-MM`: lines of a month that dbt and the second engine have differently, as CSV.

Exit code 0: they agree to the last pico-dollar; 8: they do not.
"""

import argparse
import os
import sys
from datetime import UTC, datetime

import psycopg

from orchestration.pricing.parity import compare_month
from warehouse.settings import WarehouseSettings


def main() -> int:
    """Compare; the exit code."""
    options = argparse.ArgumentParser(prog="python -m orchestration.pricing", description=__doc__)
    options.add_argument("month", metavar="YYYY-MM")
    options.add_argument("--database-url", help="of the database's owner; default: WAREHOUSE_DATABASE_URL")
    said = options.parse_args()
    month = datetime.strptime(said.month, "%Y-%m").replace(tzinfo=UTC).date()
    url = said.database_url or WarehouseSettings.from_env(os.environ).database_url.get_secret_value()
    with psycopg.connect(url) as conn:
        found = compare_month(conn, month)
    print(found.differences.cast({"quantity_dbt": str, "quantity_polars": str, "subtotal_picousd_dbt": str,
                                  "subtotal_picousd_polars": str}).write_csv(), end="")  # fmt: skip
    print(
        f"{found.month.rows:,} rows, {found.month.lines.height:,} lines, {found.differences.height} differ; "
        f"dbt {found.dbt_picousd:,}, polars {found.polars_picousd:,} pico-dollars; {found.month.rows_otherwise:,} rows are "
        f"priced otherwise than the book says, {found.month.rows_unpriced:,} have no price",
        file=sys.stderr,
    )
    return 8 if found.differences.height else 0


if __name__ == "__main__":
    sys.exit(main())
