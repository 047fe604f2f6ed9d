"""What Dagster has of forecasts, anomalies and lateness."""

import dagster as dg

from orchestration.defs.findings.anomalies import watch_anomalies
from orchestration.defs.findings.forecast import forecast_backtests, spend_forecast
from orchestration.defs.findings.lateness import lateness_sensor
from orchestration.settings import OrchestrationSettings


def findings_definitions(settings: OrchestrationSettings) -> dg.Definitions:
    """They need the resource `warehouse`."""
    forecast = dg.define_asset_job(
        "forecast_spend",
        selection=dg.AssetSelection.assets(spend_forecast, forecast_backtests),
        executor_def=dg.in_process_executor,
        description="Expected spend of the next five weeks, and how far such forecasts were off.",
    )
    daily = dg.ScheduleDefinition(
        job=forecast,
        cron_schedule="23 0 * * *",
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.RUNNING,
    )
    return dg.Definitions(
        assets=[spend_forecast, forecast_backtests],
        jobs=[forecast],
        schedules=[daily],
        sensors=[watch_anomalies, lateness_sensor(settings.operator_organization)],
    )
