"""What Dagster has of billing."""

import dagster as dg

from orchestration.defs.billing.assets import FIRST_MONTH, billing_assets, certify_job
from orchestration.defs.billing.parity import differences
from orchestration.defs.billing.schedules import certify_sensor, close_schedule
from orchestration.settings import OrchestrationSettings


def billing_definitions(settings: OrchestrationSettings) -> dg.Definitions:
    """The close of a month with its schedule, and the gate with its sensor. They need the resource `warehouse`."""
    without_counters = settings.close_without_counters
    assets = billing_assets(differences, without_counters=without_counters)
    certify = certify_job(differences, without_counters=without_counters)
    close = dg.define_asset_job(
        "close_month",
        selection=dg.AssetSelection.assets(*assets),
        executor_def=dg.in_process_executor,
        description="A month from drafts through the gate to final invoices. Another run does what is left.",
    )
    return dg.Definitions(
        assets=assets,
        jobs=[close, certify],
        schedules=[close_schedule(close, grace_days=settings.close_grace_days, first_month=FIRST_MONTH)],
        sensors=[certify_sensor(certify)],
    )
