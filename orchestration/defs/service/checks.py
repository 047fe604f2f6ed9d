"""Rows against engines' counters. What does not agree is told, and stops nothing: it is the month's gate that stops."""

import dagster as dg

from orchestration.defs.service import drift
from orchestration.resources import Warehouse

RECONCILIATION = dg.AssetKey(["marts", "reconciliation_daily"])
ENGINE_HOURLY = dg.AssetKey(["marts", "engine_hourly"])
DAYS = 7  # for which a difference is worth an alert
UNSAMPLED_S = 300.0  # ten readings


def engines_agree_with_rows(operator_organization: str | None) -> dg.AssetChecksDefinition:
    """The check of the reconciliation; it tells the operator's organization where there is one."""

    @dg.asset_check(
        asset=RECONCILIATION,
        name="engines_agree_with_rows",
        description="No engine counted over 0.1 % other tokens than its rows have, but for causes that the rows show.",
    )
    def check(context: dg.AssetCheckExecutionContext, warehouse: Warehouse) -> dg.AssetCheckResult:
        with warehouse.connect() as conn:
            found = drift.drifting(conn, days=DAYS)
            if operator_organization is not None:
                drift.tell(conn, operator_organization, found)
        for each in found:
            context.log.warning("%s", each)
        # A day that goes on may still be explained; one that is over will not be.
        over = any(each.is_settled for each in found)
        return dg.AssetCheckResult(
            passed=not found,
            severity=dg.AssetCheckSeverity.ERROR if over else dg.AssetCheckSeverity.WARN,
            description="; ".join(map(str, found)) or "every engine agrees with its rows",
            metadata={"engines_and_days": len(found)},
        )

    return check


@dg.asset_check(asset=ENGINE_HOURLY, description="Every enabled engine with counters was read in the last five minutes.")
def engines_are_sampled(warehouse: Warehouse) -> dg.AssetCheckResult:
    """Without samples nothing can be reconciled, and no month can be closed."""
    with warehouse.connect() as conn:
        names = drift.unsampled(conn, seconds=UNSAMPLED_S)
    said = f"no reading for five minutes of {', '.join(names)}: see the sensor sample_engines" if names else "all are read"
    return dg.AssetCheckResult(passed=not names, severity=dg.AssetCheckSeverity.WARN, description=said)
