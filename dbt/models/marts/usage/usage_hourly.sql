{{
    config(
        materialized='incremental',
        incremental_strategy='delete+insert',
        unique_key='hour_utc',
        indexes=[{'columns': ['org_id', 'hour_utc']}, {'columns': ['hour_utc']}, {'columns': ['as_of_xid']}]
    )
}}

with touched as materialized (
    select distinct date_trunc('hour', usage.quarter_hour_at, 'UTC') as hour_utc
    from {{ ref('int_usage_quarter_hours') }} as usage
    where usage.as_of_xid > {{ watermark() }}
)

select
    touched.hour_utc,
    usage.org_id,
    organization.organization,
    usage.project_id,
    project.project,
    usage.api_key_id,
    api_key.api_key,
    model.model,
    usage.endpoint,
    sum(usage.requests)::bigint as requests,
    sum(usage.attempts)::bigint as attempts,
    sum(usage.usage_rows)::bigint as usage_rows,
    sum(usage.rows_not_completed)::bigint as rows_not_completed,
    sum(usage.rows_unpriced)::bigint as rows_unpriced,
    sum(usage.input_tokens)::bigint as input_tokens,
    sum(usage.cached_input_tokens)::bigint as cached_input_tokens,
    sum(usage.output_tokens)::bigint as output_tokens,
    sum(usage.reasoning_tokens)::bigint as reasoning_tokens,
    sum(usage.cost_picousd)::numeric as cost_picousd,
    max(usage.as_of_xid) as as_of_xid
from touched
inner join {{ ref('int_usage_quarter_hours') }} as usage
    on
        usage.quarter_hour_at >= touched.hour_utc
        and usage.quarter_hour_at < touched.hour_utc + interval '1 hour'
inner join {{ ref('stg_control__organizations') }} as organization on usage.org_id = organization.org_id
inner join {{ ref('stg_control__projects') }} as project on usage.project_id = project.project_id
inner join {{ ref('stg_control__api_keys') }} as api_key on usage.api_key_id = api_key.api_key_id
left join {{ ref('stg_control__models') }} as model on usage.model_id = model.model_id
group by 1, 2, 3, 4, 5, 6, 7, 8, 9
