"""When engines are read: every half minute. And when old samples are dropped: with the daily upkeep."""

import dagster as dg

from orchestration.defs.service.sampler import sample_engines
from orchestration.resources import Warehouse
from warehouse.access import engine_samples

SAMPLE_S = 25  # the daemon looks every 5 s, so a reading every 30 s; the marts take 120 s for a gap
KEPT_DAYS = 400


@dg.sensor(
    name="sample_engines",
    minimum_interval_seconds=SAMPLE_S,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Keeps what each engine's /metrics says: tokens, requests, KV cache. Hosted providers have none.",
)
def sample_engines_sensor(warehouse: Warehouse) -> dg.SkipReason:
    """Asks for no run: a run takes longer to start than the whole reading."""
    return dg.SkipReason(str(sample_engines(warehouse.connect)))


@dg.op(description="Drops samples of engines that are older than 400 days.")
def drop_old_samples(context: dg.OpExecutionContext, warehouse: Warehouse) -> None:
    """In whole chunks of a week."""
    with warehouse.connect() as conn:
        dropped = engine_samples.drop_old(conn, kept_days=KEPT_DAYS)
    context.log.info("dropped %s chunks", dropped)
