"""Every minute the raw rows of the last five: a key that runs away is noted, and told of once an episode."""

from datetime import UTC, datetime, timedelta

import dagster as dg
import psycopg

from orchestration.resources import Warehouse
from warehouse.access.queries import load_queries

QUERIES = load_queries(__file__)
TICK_S = 60
# An episode has ended when its key was under its threshold for so long.
QUIET = timedelta(minutes=30)
# Of one tick, those that spend most: with their history half a million rows at most.
KEYS_MAX = 200


@dg.sensor(
    name="watch_anomalies",
    minimum_interval_seconds=TICK_S,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Notes keys whose use of the last five minutes is far over their usual one, and tells of each episode once.",
)
def watch_anomalies(warehouse: Warehouse) -> dg.SkipReason:
    """It looks itself and asks for no run: a run takes longer to start than this takes."""
    with warehouse.connect() as conn:
        told = watch(conn, datetime.now(UTC))
    return dg.SkipReason(f"{told} new anomalies")


def watch(conn: psycopg.Connection, now: datetime) -> int:
    """Look at what has happened up to an instant; how many episodes began."""
    # Imported here: every code location loads this module, and would wait for Polars.
    import polars as pl  # noqa: PLC0415

    from orchestration.jobs import anomalies  # noqa: PLC0415

    first = now - anomalies.WINDOW
    limits = {
        "floor_requests": anomalies.FLOOR_REQUESTS, "floor_picousd": anomalies.FLOOR_PICOUSD, "keys_max": KEYS_MAX,
    }  # fmt: skip
    rows = conn.execute(QUERIES["recent"], {"first": first, "before": now, **limits}).fetchall()
    recent = pl.DataFrame(rows, schema=anomalies.RECENT_SCHEMA, orient="row")
    told = 0
    for found in anomalies.runaways(recent, _history(conn, recent, now), now).iter_rows(named=True):
        noted = conn.execute(QUERIES["note"], found | {"window_s": anomalies.WINDOW // timedelta(seconds=1)}).fetchone()
        assert noted is not None
        anomaly_id, is_new = noted
        if is_new:
            conn.execute(QUERIES["announce"], {"anomaly_id": anomaly_id})
            told += 1
    conn.execute(QUERIES["end_quiet"], {"now": now, "quiet_since": now - QUIET})
    return told


def _history(conn: psycopg.Connection, recent: "pl.DataFrame", now: datetime) -> "pl.DataFrame":  # noqa: F821
    """Quarters of hours of the keys in question; none before the marts have been built."""
    import polars as pl  # noqa: PLC0415

    from orchestration.jobs import anomalies  # noqa: PLC0415

    is_there = conn.execute(QUERIES["history_is_there"]).fetchone()
    if recent.is_empty() or is_there != (True,):
        return pl.DataFrame(schema=anomalies.HISTORY_SCHEMA)
    wanted = {
        "org_ids": recent["org_id"].unique().to_list(), "api_key_ids": recent["api_key_id"].to_list(),
        "first": now - anomalies.HISTORY, "before": now - anomalies.WINDOW,
    }  # fmt: skip
    rows = conn.execute(QUERIES["history"], wanted).fetchall()
    return pl.DataFrame(rows, schema=anomalies.HISTORY_SCHEMA, orient="row")
