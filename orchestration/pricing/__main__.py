"""`python -m orchestration.pricing YYYY-MM`: lines of a month that dbt and the second engine have differently, as CSV.

Exit code 0: they agree to the last pico-dollar; 8: they do not.
"""

import argparse
import sys
from collections.abc import Sequence

import psycopg

from orchestration import programs
from orchestration.pricing.parity import compare_month


def main(argv: Sequence[str]) -> int:
    """Compare; the exit code."""
    options = argparse.ArgumentParser(prog="python -m orchestration.pricing", description=__doc__)
    options.add_argument("month", type=programs.month, metavar="YYYY-MM")
    programs.add_database(options)
    said = options.parse_args(argv)
    with psycopg.connect(programs.database(said)) as conn:
        found = compare_month(conn, said.month)
    print(found.differences.cast({"quantity_dbt": str, "quantity_polars": str, "subtotal_picousd_dbt": str,
                                  "subtotal_picousd_polars": str}).write_csv(), end="")  # fmt: skip
    programs.note(
        f"{found.month.rows:,} rows, {found.month.lines.height:,} lines, {found.differences.height} differ; "
        f"dbt {found.dbt_picousd:,}, polars {found.polars_picousd:,} pico-dollars; {found.month.rows_otherwise:,} rows are "
        f"priced otherwise than the book says, {found.month.rows_unpriced:,} have no price"
    )
    return programs.FOUND if found.differences.height else programs.DONE


if __name__ == "__main__":
    sys.exit(programs.run(main))
