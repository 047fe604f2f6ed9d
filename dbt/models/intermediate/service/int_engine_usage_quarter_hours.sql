{{
    config(
        materialized='incremental',
        incremental_strategy='delete+insert',
        unique_key=['engine_id', 'quarter_hour_at'],
        pre_hook=["{{ note_touched_from(ref('int_service_horizon')) }}", "{{ by_all_cores() }}"],
        indexes=[{'columns': ['quarter_hour_at']}, {'columns': ['as_of_xid']}, {'columns': ['engine_id', 'quarter_hour_at']}]
    )
}}

-- What the rows of an engine say, in steps that days and hours are made of. As the quarter hours of usage: one that a new row
-- touches, however late, is computed again from its raw rows.
with horizon as (
    select as_of_xid from {{ ref('int_service_horizon') }}
),

{{ touched_events(ref('int_service_horizon'), '15 minutes', by='engine_id') }},

of_engines as (
    select
        event.*,
        -- Tokens that are counted without the model are in no counter of an engine.
        event.endpoint_enum not in ('tokenize', 'detokenize') as is_counted
    from events as event
    where event.attempt > 0 and event.engine_id is not null
)

select
    time_bucket('15 minutes', event.started_at) as quarter_hour_at,
    event.engine_id,
    count(*) as usage_rows,
    count(*) filter (where event.is_counted and event.status_enum <> 'completed') as rows_cut,
    count(*) filter (where event.is_counted and event.token_source_enum = 'estimate') as rows_estimated,
    -- A stream that says its input at its end only, and had none: its input is not known.
    count(*) filter (where event.is_counted and event.status_enum <> 'completed' and event.input_tokens = 0) as rows_without_input,
    coalesce(sum(event.input_tokens) filter (where event.is_counted), 0)::bigint as input_tokens,
    coalesce(sum(event.cached_input_tokens) filter (where event.is_counted), 0)::bigint as cached_input_tokens,
    coalesce(sum(event.output_tokens) filter (where event.is_counted), 0)::bigint as output_tokens,
    coalesce(sum(event.input_tokens) filter (where event.is_counted and event.token_source_enum = 'estimate'), 0)::bigint
        as estimated_input_tokens,
    coalesce(sum(event.output_tokens) filter (where event.is_counted and event.token_source_enum = 'estimate'), 0)::bigint
        as estimated_output_tokens,
    coalesce(max(event.input_tokens) filter (where event.is_counted), 0) as input_tokens_max,
    coalesce(sum(event.cost_picousd), 0)::numeric as revenue_picousd,
    max(event.finished_at) as last_finished_at,
    (select horizon.as_of_xid from horizon) as as_of_xid
from of_engines as event
group by time_bucket('15 minutes', event.started_at), event.engine_id
