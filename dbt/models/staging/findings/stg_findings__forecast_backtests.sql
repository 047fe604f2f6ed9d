with source as (
    select * from {{ source('findings', 'forecast_backtests') }}
)

select
    org_id,
    days_ahead,
    forecasts,
    first_day,
    last_day,
    error_share,
    naive_error_share,
    coverage,
    interval_share,
    tested_at
from source
