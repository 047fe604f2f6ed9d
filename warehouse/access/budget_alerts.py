"""Shares of budgets that spend has reached; the outbox tells of each, once a window."""

from psycopg import Connection

from warehouse.access.queries import load_queries

QUERIES = load_queries(__file__)


def note(conn: Connection) -> int:
    """Compare every budget that has alerts with the rows of its window; how many new alerts there are."""
    row = conn.execute(QUERIES["note"]).fetchone()
    assert row is not None
    return int(row[0])
