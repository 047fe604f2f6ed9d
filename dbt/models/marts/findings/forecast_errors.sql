{{ config(materialized='view') }}

select
    backtest.org_id,
    organization.organization,
    backtest.days_ahead,
    backtest.forecasts,
    backtest.first_day,
    backtest.last_day,
    backtest.error_share,
    backtest.naive_error_share,
    backtest.coverage,
    backtest.interval_share,
    backtest.tested_at
from {{ ref('stg_findings__forecast_backtests') }} as backtest
inner join {{ ref('stg_control__organizations') }} as organization on backtest.org_id = organization.org_id
where {{ visible_to_session('backtest.org_id') }}
