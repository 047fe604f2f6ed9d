"""dbt's lines of a month beside those of the second pricing engine, as the gate wants them."""

from collections.abc import Mapping
from datetime import date

import psycopg


def differences(conn: psycopg.Connection, month: date) -> Mapping[int, int]:
    """{org_id: lines that only one engine has, or that differ}."""
    # Imported here: every refresh loads the definitions, and would wait for Polars.
    from orchestration.pricing.parity import compare_month  # noqa: PLC0415

    return dict(compare_month(conn, month).differences.group_by("org_id").len().iter_rows())
