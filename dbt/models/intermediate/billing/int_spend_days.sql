{{
    config(
        materialized='incremental',
        incremental_strategy='delete+insert',
        unique_key=['org_id', 'day_utc'],
        indexes=[{'columns': ['org_id', 'day_utc']}, {'columns': ['as_of_xid']}]
    )
}}

-- What whoever can have a budget has spent by day, so that a long window is a sum of days and not of its quarter hours.
with touched as materialized (
    select distinct
        usage.org_id,
        date_trunc('day', usage.quarter_hour_at, 'UTC') as day_starts_at
    from {{ ref('int_usage_quarter_hours') }} as usage
    where usage.as_of_xid > {{ watermark() }}
)

select
    touched.org_id,
    (touched.day_starts_at at time zone 'UTC')::date as day_utc,
    sums.*
from touched
-- Lateral, so that each day is an index range: the planner cannot know how few are touched, and would read the history.
cross join lateral (
    select
        usage.project_id,
        usage.user_id,
        usage.service_account_id,
        usage.api_key_id,
        usage.model_id,
        sum(usage.cost_picousd)::numeric(38, 0) as cost_picousd,
        max(usage.as_of_xid) as as_of_xid
    from {{ ref('int_usage_quarter_hours') }} as usage
    where
        usage.org_id = touched.org_id
        and usage.quarter_hour_at >= touched.day_starts_at
        and usage.quarter_hour_at < touched.day_starts_at + interval '1 day'
    group by usage.project_id, usage.user_id, usage.service_account_id, usage.api_key_id, usage.model_id
) as sums
