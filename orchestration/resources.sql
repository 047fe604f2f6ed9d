-- name: marts_are_built
select to_regclass('marts.completeness') is not null and to_regclass('intermediate.int_usage_horizon') is not null

-- name: service_marts_are_built
select to_regclass('marts.reconciliation_daily') is not null

-- name: refresh_need
select
    true as built,
    exists (
        select from raw.usage_events as event
        where event.recorded_xid >= horizon.as_of_xid
    ) as new_rows,
    not exists (
        select from marts.completeness as completeness where completeness.computed_at = horizon.taken_at
    ) as unfinished,
    horizon.taken_at as computed_at
from intermediate.int_usage_horizon as horizon

-- name: daily_costs
select org_id, day_utc, sum(cost_picousd)::numeric(38, 0) as cost_picousd
from marts.usage_daily
group by org_id, day_utc
order by org_id, day_utc

-- name: clear_forecast
delete from marts.spend_forecast

-- name: copy_forecast
copy marts.spend_forecast (
    org_id, day_utc, cost_picousd, cost_picousd_low, cost_picousd_high, interval_share, days_of_history, forecast_at
) from stdin

-- name: clear_backtests
delete from findings.forecast_backtests

-- name: copy_backtests
copy findings.forecast_backtests (
    org_id, days_ahead, forecasts, first_day, last_day, error_share, naive_error_share, coverage, interval_share, tested_at
) from stdin

-- name: tell_organization
select control.put_event(organization.id, %(event_type)s, %(data)s, %(once)s)
from control.organizations as organization
where organization.public_id = %(organization)s
