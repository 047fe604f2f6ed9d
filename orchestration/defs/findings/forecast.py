"""Expected spend, from the daily mart."""

from datetime import UTC, datetime, timedelta

import dagster as dg

from orchestration.resources import Warehouse

# Back-tested at once: about a gigabyte of frames.
ORGANIZATIONS_MAX = 500
SPEND_FORECAST = dg.AssetKey(["marts", "spend_forecast"])
FRESH = dg.FreshnessPolicy.time_window(fail_window=timedelta(hours=50), warn_window=timedelta(hours=26))


@dg.asset(
    key=SPEND_FORECAST,
    deps=[dg.AssetKey(["marts", "usage_daily"])],
    group_name="marts",
    owners=["team:finance"],
    kinds={"polars"},
    freshness_policy=FRESH,
    retry_policy=dg.RetryPolicy(max_retries=2, delay=5),
)
def spend_forecast(context: dg.AssetExecutionContext, warehouse: Warehouse) -> dg.MaterializeResult:
    """One row per organization and UTC day to come: expected spend in pico-dollars, with an 80 % interval."""
    # Imported here: every refresh loads this module, and would wait for Polars.
    import polars as pl  # noqa: PLC0415

    from orchestration.jobs import forecast  # noqa: PLC0415

    forecast_at = datetime.now(UTC)
    daily = pl.LazyFrame(warehouse.daily_costs(), schema=forecast.DAILY_SCHEMA, orient="row")
    expected = forecast.spend_forecast(daily, forecast_at.date()).collect()
    context.log.info("forecast for %s organizations", expected["org_id"].n_unique())
    rows = expected.select(
        "org_id", "day_utc", "cost_picousd", "cost_picousd_low", "cost_picousd_high",
        interval_share=pl.lit(forecast.INTERVAL_SHARE), days_of_history="days_of_history", forecast_at=pl.lit(forecast_at),
    )  # fmt: skip
    warehouse.replace_forecast(rows.iter_rows())
    return dg.MaterializeResult(metadata={"dagster/row_count": rows.height})


@dg.asset(
    key=dg.AssetKey(["findings", "forecast_backtests"]),
    deps=[dg.AssetKey(["marts", "usage_daily"])],
    group_name="findings",
    owners=["team:finance"],
    kinds={"polars"},
    freshness_policy=FRESH,
    retry_policy=dg.RetryPolicy(max_retries=2, delay=5),
)
def forecast_backtests(context: dg.AssetExecutionContext, warehouse: Warehouse) -> dg.MaterializeResult:
    """One row per organization and days ahead: how far the forecast would have been off, and how often outside its interval."""
    import polars as pl  # noqa: PLC0415

    from orchestration.jobs import forecast  # noqa: PLC0415

    tested_at = datetime.now(UTC)
    daily = pl.DataFrame(warehouse.daily_costs(), schema=forecast.DAILY_SCHEMA, orient="row")
    organizations = daily["org_id"].unique().sort()
    tested = [pl.DataFrame(schema=forecast.BACKTEST_SCHEMA)]
    for first in range(0, len(organizations), ORGANIZATIONS_MAX):
        part = daily.filter(pl.col("org_id").is_in(organizations[first : first + ORGANIZATIONS_MAX].implode()))
        tested.append(forecast.backtest(part.lazy(), tested_at.date()).collect())
    errors = pl.concat(tested)
    warehouse.replace_backtests(errors.with_columns(tested_at=pl.lit(tested_at)).iter_rows())
    context.log.info("back-tested the forecast of %s organizations", errors["org_id"].n_unique())
    covered = {"coverage": errors["coverage"].mean(), "error_share": errors["error_share"].mean()} if errors.height else {}
    return dg.MaterializeResult(metadata={"dagster/row_count": errors.height, **covered})
