{{
    config(
        materialized='incremental',
        incremental_strategy='delete+insert',
        unique_key=['org_id', 'day_utc'],
        indexes=[{'columns': ['org_id', 'day_utc']}, {'columns': ['day_utc']}, {'columns': ['as_of_xid']}]
    )
}}

with
{% if is_incremental() -%}
touched as materialized (
    select distinct
        hourly.org_id,
        date_trunc('day', hourly.hour_utc, 'UTC') as day_starts_at
    from {{ ref('usage_hourly') }} as hourly
    where hourly.as_of_xid > {{ watermark() }}
),

hours as (
    select hourly.*
    from touched
    -- Lateral and with an offset, so that each day of an organization is an index range, as its hours are.
    cross join lateral (
        select every_hour.*
        from {{ ref('usage_hourly') }} as every_hour
        where
            every_hour.org_id = touched.org_id
            and every_hour.hour_utc >= touched.day_starts_at
            and every_hour.hour_utc < touched.day_starts_at + interval '1 day'
        offset 0  -- noqa: AM09
    ) as hourly
)
{%- else -%}
hours as (
    select * from {{ ref('usage_hourly') }}
)
{%- endif %}

select
    (hourly.hour_utc at time zone 'UTC')::date as day_utc,
    hourly.org_id,
    hourly.organization,
    hourly.project_id,
    hourly.project,
    hourly.api_key_id,
    hourly.api_key,
    hourly.model,
    hourly.endpoint,
    sum(hourly.requests)::bigint as requests,
    sum(hourly.attempts)::bigint as attempts,
    sum(hourly.usage_rows)::bigint as usage_rows,
    sum(hourly.rows_not_completed)::bigint as rows_not_completed,
    sum(hourly.rows_unpriced)::bigint as rows_unpriced,
    sum(hourly.rows_estimated)::bigint as rows_estimated,
    sum(hourly.input_tokens)::bigint as input_tokens,
    sum(hourly.cached_input_tokens)::bigint as cached_input_tokens,
    sum(hourly.output_tokens)::bigint as output_tokens,
    sum(hourly.reasoning_tokens)::bigint as reasoning_tokens,
    sum(hourly.cost_picousd)::numeric(38, 0) as cost_picousd,
    max(hourly.last_started_at) as last_started_at,
    max(hourly.as_of_xid) as as_of_xid
from hours as hourly
group by 1, 2, 3, 4, 5, 6, 7, 8, 9
