"""When deliveries are tried: every few seconds. And when old events are forgotten: with the daily upkeep."""

import dagster as dg

from orchestration.defs.outbox.deliverer import Outlet, deliver_due
from orchestration.resources import Warehouse
from warehouse.access import budget_alerts, outbox

TICK_S = 2  # the daemon looks every 5 s; with 5 here each second look came a moment too early, and ticks 10 s apart
BUDGETS_S = 15
KEPT_DAYS = 90
FORGOTTEN_AT_ONCE_MAX = 100_000


def delivery_sensors(outlet: Outlet | None) -> list[dg.SensorDefinition]:
    """One for first tries and one for the others, so that a receiver that hangs for days delays no news."""
    return [_sensor("deliver_outbox", outlet, retries=False), _sensor("deliver_outbox_again", outlet, retries=True)]


def _sensor(name: str, outlet: Outlet | None, *, retries: bool) -> dg.SensorDefinition:
    """A sensor that asks for no run: it delivers itself, because a run takes longer to start than an alert may take."""

    @dg.sensor(
        name=name,
        minimum_interval_seconds=TICK_S,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description=f"Sends events to webhooks and by mail: {'further tries, for a day' if retries else 'the first try'}.",
    )
    def sensor(warehouse: Warehouse) -> dg.SkipReason:
        if outlet is None:
            return dg.SkipReason("ORCHESTRATION_WEBHOOK_KEY is not set: nothing is delivered")
        done = deliver_due(warehouse.connect, outlet, retries=retries)
        said = ", ".join(f"{count} {status}" for status, count in sorted(done.items()))
        return dg.SkipReason(said or "nothing is due")

    return sensor


@dg.sensor(
    name="watch_budgets",
    minimum_interval_seconds=BUDGETS_S,
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Notes which shares of budgets the spend of their windows has reached; each is told of once a window.",
)
def watch_budgets(warehouse: Warehouse) -> dg.SkipReason:
    """Spend is the sum of raw rows: whatever the router counts, and whenever it does, this is what was charged."""
    with warehouse.connect() as conn:
        noted = budget_alerts.note(conn)
    return dg.SkipReason(f"{noted} new alerts")


@dg.op(description="Removes events, with their deliveries, that are older than 90 days and have nothing waiting.")
def forget_old_events(context: dg.OpExecutionContext, warehouse: Warehouse) -> None:
    """At most FORGOTTEN_AT_ONCE_MAX a day."""
    with warehouse.connect() as conn:
        removed = outbox.forget(conn, days=KEPT_DAYS, rows_max=FORGOTTEN_AT_ONCE_MAX)
    context.log.info("removed %s events", removed)
