{{
    config(
        materialized='incremental',
        incremental_strategy='delete+insert',
        unique_key=['engine_id', 'quarter_hour_at'],
        pre_hook=["{{ note_touched_from(ref('int_service_horizon')) }}", "{{ by_all_cores() }}"],
        indexes=[{'columns': ['quarter_hour_at']}, {'columns': ['as_of_xid']}, {'columns': ['engine_id', 'quarter_hour_at']}]
    )
}}

-- What the rows of an engine say, in steps that days and hours are made of. These are sums, and each commit is between two
-- horizons just once: new rows are added to what is there, and the others of their step are not read again.
{%- set sums = [
    'usage_rows', 'rows_cut', 'rows_estimated', 'rows_without_input', 'input_tokens', 'cached_input_tokens', 'output_tokens',
    'estimated_input_tokens', 'estimated_output_tokens',
] %}
with horizon as (
    select as_of_xid from {{ ref('int_service_horizon') }}
),

of_engines as (
    select
        event.*,
        -- Tokens that are counted without the model are in no counter of an engine.
        event.endpoint_enum not in ('tokenize', 'detokenize') as is_counted
    from {{ ref('stg_router__usage_events') }} as event
    where
        {{ added_since(ref('int_service_horizon'), '15 minutes') }}
        and event.attempt > 0
        and event.engine_id is not null
),

added as (
    select
        time_bucket('15 minutes', event.started_at) as quarter_hour_at,
        event.engine_id,
        count(*) as usage_rows,
        count(*) filter (where event.is_counted and event.status_enum <> 'completed') as rows_cut,
        count(*) filter (where event.is_counted and event.token_source_enum = 'estimate') as rows_estimated,
        -- A stream that says its input at its end only, and had none: its input is not known.
        count(*) filter (where event.is_counted and event.status_enum <> 'completed' and event.input_tokens = 0)
            as rows_without_input,
        coalesce(sum(event.input_tokens) filter (where event.is_counted), 0)::bigint as input_tokens,
        coalesce(sum(event.cached_input_tokens) filter (where event.is_counted), 0)::bigint as cached_input_tokens,
        coalesce(sum(event.output_tokens) filter (where event.is_counted), 0)::bigint as output_tokens,
        coalesce(sum(event.input_tokens) filter (where event.is_counted and event.token_source_enum = 'estimate'), 0)::bigint
            as estimated_input_tokens,
        coalesce(sum(event.output_tokens) filter (where event.is_counted and event.token_source_enum = 'estimate'), 0)::bigint
            as estimated_output_tokens,
        coalesce(max(event.input_tokens) filter (where event.is_counted), 0) as input_tokens_max,
        coalesce(sum(event.cost_picousd), 0)::numeric as revenue_picousd,
        max(event.finished_at) as last_finished_at
    from of_engines as event
    group by time_bucket('15 minutes', event.started_at), event.engine_id
),

kept as (
    select mine.*
    from {{ this if is_incremental() else 'added' }} as mine
    where {{ is_incremental() | lower }}
)

select
    added.quarter_hour_at,
    added.engine_id,
    {%- for column in sums %}
    added.{{ column }} + coalesce(kept.{{ column }}, 0) as {{ column }},
    {%- endfor %}
    greatest(added.input_tokens_max, kept.input_tokens_max) as input_tokens_max,
    added.revenue_picousd + coalesce(kept.revenue_picousd, 0) as revenue_picousd,
    greatest(added.last_finished_at, kept.last_finished_at) as last_finished_at,
    (select horizon.as_of_xid from horizon) as as_of_xid
from added
left join kept on added.engine_id = kept.engine_id and added.quarter_hour_at = kept.quarter_hour_at
