{{
    config(
        materialized='incremental',
        incremental_strategy='delete+insert',
        unique_key='quarter_hour_at',
        indexes=[{'columns': ['quarter_hour_at']}, {'columns': ['as_of_xid']}, {'columns': ['org_id', 'quarter_hour_at']}]
    )
}}

-- The base of every sum: a quarter of an hour is the finest step by which zones differ from UTC, so days and months of any
-- zone are sums of these. A quarter of an hour that a new row touches, however late, is computed again from its raw rows.
with horizon as (
    select as_of_xid from {{ ref('int_usage_horizon') }}
),

touched as materialized (
    select distinct time_bucket('15 minutes', event.started_at) as quarter_hour_at
    from {{ ref('stg_router__usage_events') }} as event
    where
        event.recorded_xid >= {{ watermark() }}
        and event.recorded_xid < (select horizon.as_of_xid from horizon)
)

select
    touched.quarter_hour_at,
    sums.*,
    (select horizon.as_of_xid from horizon) as as_of_xid
from touched
-- Lateral, so that each quarter of an hour is an index range of the raw rows and not a pass over them.
cross join lateral (
    select
        event.org_id,
        event.project_id,
        event.api_key_id,
        event.user_id,
        event.service_account_id,
        event.model_id,
        event.endpoint,
        event.price_id,
        event.charge_class,
        count(*) filter (where event.attempt <= 1) as requests,
        count(*) as usage_rows,
        count(*) filter (where event.attempt > 0) as attempts,
        count(*) filter (where event.status <> 'completed') as rows_not_completed,
        count(*) filter (where event.charge_class = 'charged' and event.cost_picousd is null) as rows_unpriced,
        count(*) filter (where event.token_source = 'estimate') as rows_estimated,
        sum(event.input_tokens)::bigint as input_tokens,
        sum(event.cached_input_tokens)::bigint as cached_input_tokens,
        sum(event.output_tokens)::bigint as output_tokens,
        sum(event.reasoning_tokens)::bigint as reasoning_tokens,
        coalesce(sum(event.cost_picousd), 0)::numeric as cost_picousd,
        max(event.started_at) as last_started_at
    from {{ ref('stg_router__usage_events') }} as event
    where
        event.started_at >= touched.quarter_hour_at
        and event.started_at < touched.quarter_hour_at + interval '15 minutes'
        and event.recorded_xid < (select horizon.as_of_xid from horizon)
    group by
        event.org_id,
        event.project_id,
        event.api_key_id,
        event.user_id,
        event.service_account_id,
        event.model_id,
        event.endpoint,
        event.price_id,
        event.charge_class
) as sums
