{{
    config(
        materialized='incremental',
        incremental_strategy='delete+insert',
        unique_key=['org_id', 'quarter_hour_at'],
        pre_hook=["{{ note_touched_from(ref('int_usage_horizon')) }}", "{{ by_all_cores() }}"],
        indexes=[{'columns': ['org_id', 'quarter_hour_at']}, {'columns': ['as_of_xid']}]
    )
}}

-- The base of every sum: a quarter of an hour is the finest step by which zones differ from UTC, so days and months of any
-- zone are sums of these. A quarter of an hour of an organization that a new row touches, however late, is computed again from
-- its raw rows.
with horizon as (
    select as_of_xid from {{ ref('int_usage_horizon') }}
),

{{ touched_events(ref('int_usage_horizon'), '15 minutes') }},

sums as (
    select
        time_bucket('15 minutes', event.started_at) as quarter_hour_at,
        event.org_id,
        event.project_id,
        event.api_key_id,
        event.user_id,
        event.service_account_id,
        event.model_id,
        event.endpoint_enum,
        event.price_id,
        event.charge_class_enum,
        count(*) filter (where event.attempt <= 1) as requests,
        count(*) as usage_rows,
        count(*) filter (where event.attempt > 0) as attempts,
        count(*) filter (where event.status_enum <> 'completed') as rows_not_completed,
        count(*) filter (where event.charge_class_enum = 'charged' and event.cost_picousd is null) as rows_unpriced,
        count(*) filter (where event.token_source_enum = 'estimate') as rows_estimated,
        sum(event.input_tokens)::bigint as input_tokens,
        sum(event.cached_input_tokens)::bigint as cached_input_tokens,
        sum(event.output_tokens)::bigint as output_tokens,
        sum(event.reasoning_tokens)::bigint as reasoning_tokens,
        coalesce(sum(event.cost_picousd), 0)::numeric as cost_picousd,
        max(event.started_at) as last_started_at
    from events as event
    group by
        time_bucket('15 minutes', event.started_at),
        event.org_id,
        event.project_id,
        event.api_key_id,
        event.user_id,
        event.service_account_id,
        event.model_id,
        event.endpoint_enum,
        event.price_id,
        event.charge_class_enum
)

select
    sums.quarter_hour_at,
    sums.org_id,
    sums.project_id,
    sums.api_key_id,
    sums.user_id,
    sums.service_account_id,
    sums.model_id,
    sums.endpoint_enum::text as endpoint,
    sums.price_id,
    sums.charge_class_enum::text as charge_class,
    sums.requests,
    sums.usage_rows,
    sums.attempts,
    sums.rows_not_completed,
    sums.rows_unpriced,
    sums.rows_estimated,
    sums.input_tokens,
    sums.cached_input_tokens,
    sums.output_tokens,
    sums.reasoning_tokens,
    sums.cost_picousd,
    sums.last_started_at,
    (select horizon.as_of_xid from horizon) as as_of_xid
from sums
{% if not is_incremental() -%}
-- Months and days of an organization are read as a range of the index: of a history they then lie together.
order by sums.org_id, sums.quarter_hour_at
{%- endif %}
