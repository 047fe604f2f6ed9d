{{
    config(
        materialized='incremental',
        incremental_strategy='delete+insert',
        unique_key=['org_id', 'hour_utc'],
        pre_hook="{{ by_all_cores() }}",
        indexes=[{'columns': ['org_id', 'hour_utc']}, {'columns': ['hour_utc']}, {'columns': ['as_of_xid']}]
    )
}}

with
{% if is_incremental() -%}
touched as materialized (
    select distinct
        usage.org_id,
        date_trunc('hour', usage.quarter_hour_at, 'UTC') as hour_utc
    from {{ ref('int_usage_quarter_hours') }} as usage
    where usage.as_of_xid > {{ watermark() }}
),

quarters as (
    select usage.*
    from touched
    -- Lateral and with an offset, so that each hour of an organization is an index range: the planner cannot know how few are
    -- touched, and would read the history.
    cross join lateral (
        select every_quarter.*
        from {{ ref('int_usage_quarter_hours') }} as every_quarter
        where
            every_quarter.org_id = touched.org_id
            and every_quarter.quarter_hour_at >= touched.hour_utc
            and every_quarter.quarter_hour_at < touched.hour_utc + interval '1 hour'
        offset 0  -- noqa: AM09
    ) as usage
),
{%- else -%}
quarters as (
    select * from {{ ref('int_usage_quarter_hours') }}
),
{%- endif %}

sums as (
    select
        date_trunc('hour', usage.quarter_hour_at, 'UTC') as hour_utc,
        usage.org_id,
        usage.project_id,
        usage.api_key_id,
        usage.model_id,
        usage.endpoint,
        sum(usage.requests)::bigint as requests,
        sum(usage.attempts)::bigint as attempts,
        sum(usage.usage_rows)::bigint as usage_rows,
        sum(usage.rows_not_completed)::bigint as rows_not_completed,
        sum(usage.rows_unpriced)::bigint as rows_unpriced,
        sum(usage.rows_estimated)::bigint as rows_estimated,
        sum(usage.input_tokens)::bigint as input_tokens,
        sum(usage.cached_input_tokens)::bigint as cached_input_tokens,
        sum(usage.output_tokens)::bigint as output_tokens,
        sum(usage.reasoning_tokens)::bigint as reasoning_tokens,
        sum(usage.cost_picousd)::numeric(38, 0) as cost_picousd,
        max(usage.last_started_at) as last_started_at,
        max(usage.as_of_xid) as as_of_xid
    from quarters as usage
    group by 1, 2, 3, 4, 5, 6
)

select
    sums.hour_utc,
    sums.org_id,
    organization.organization,
    sums.project_id,
    project.project,
    sums.api_key_id,
    api_key.api_key,
    model.model,
    sums.endpoint,
    sums.requests,
    sums.attempts,
    sums.usage_rows,
    sums.rows_not_completed,
    sums.rows_unpriced,
    sums.rows_estimated,
    sums.input_tokens,
    sums.cached_input_tokens,
    sums.output_tokens,
    sums.reasoning_tokens,
    sums.cost_picousd,
    sums.last_started_at,
    sums.as_of_xid
from sums
inner join {{ ref('stg_control__organizations') }} as organization on sums.org_id = organization.org_id
inner join {{ ref('stg_control__projects') }} as project on sums.project_id = project.project_id
inner join {{ ref('stg_control__api_keys') }} as api_key on sums.api_key_id = api_key.api_key_id
left join {{ ref('stg_control__models') }} as model on sums.model_id = model.model_id
