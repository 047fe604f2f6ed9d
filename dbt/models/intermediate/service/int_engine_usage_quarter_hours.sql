{{
    config(
        materialized='incremental',
        incremental_strategy='delete+insert',
        unique_key='quarter_hour_at',
        indexes=[{'columns': ['quarter_hour_at']}, {'columns': ['as_of_xid']}, {'columns': ['engine_id', 'quarter_hour_at']}]
    )
}}

-- What the rows of an engine say, in steps that days and hours are made of. As the quarter hours of usage: a quarter of an hour
-- that a new row touches, however late, is computed again from its raw rows.
with horizon as (
    select as_of_xid from {{ ref('int_service_horizon') }}
),

events as (
    select
        raw_row.*,
        -- Tokens that are counted without the model are in no counter of an engine.
        raw_row.endpoint not in ('tokenize', 'detokenize') as is_counted
    from {{ ref('stg_router__usage_events') }} as raw_row
    where
        raw_row.recorded_xid < (select horizon.as_of_xid from horizon)
        and raw_row.attempt > 0
        and raw_row.engine_id is not null
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
cross join lateral (
    select
        event.engine_id,
        count(*) as usage_rows,
        count(*) filter (where event.is_counted and event.status <> 'completed') as rows_cut,
        count(*) filter (where event.is_counted and event.token_source = 'estimate') as rows_estimated,
        -- A stream that says its input at its end only, and had none: its input is not known.
        count(*) filter (where event.is_counted and event.status <> 'completed' and event.input_tokens = 0) as rows_without_input,
        coalesce(sum(event.input_tokens) filter (where event.is_counted), 0)::bigint as input_tokens,
        coalesce(sum(event.cached_input_tokens) filter (where event.is_counted), 0)::bigint as cached_input_tokens,
        coalesce(sum(event.output_tokens) filter (where event.is_counted), 0)::bigint as output_tokens,
        coalesce(sum(event.input_tokens) filter (where event.is_counted and event.token_source = 'estimate'), 0)::bigint
            as estimated_input_tokens,
        coalesce(sum(event.output_tokens) filter (where event.is_counted and event.token_source = 'estimate'), 0)::bigint
            as estimated_output_tokens,
        coalesce(max(event.input_tokens) filter (where event.is_counted), 0) as input_tokens_max,
        coalesce(sum(event.cost_picousd), 0)::numeric as revenue_picousd,
        max(event.finished_at) as last_finished_at
    from events as event
    where
        event.started_at >= touched.quarter_hour_at
        and event.started_at < touched.quarter_hour_at + interval '15 minutes'
    group by event.engine_id
) as sums
