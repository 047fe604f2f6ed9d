{# Days of which rows and counters are compared again: those of new samples and of rows that have come, and those not settled. #}
{% macro days_to_reconcile() -%}
with new_samples as materialized (
    select
        sample.engine_id,
        sample.sampled_at
    from {{ ref('stg_router__engine_samples') }} as sample
    where
        sample.recorded_xid >= {{ watermark() }}
        and sample.recorded_xid < (select horizon.as_of_xid from {{ ref('int_service_horizon') }} as horizon)
)

select date_trunc('day', new_samples.sampled_at, 'UTC') as day_starts_at
from new_samples
{% if is_incremental() -%}
union
-- Of a whole build every sample is new. The sample after it is compared with another one now.
select date_trunc('day', later.sampled_at, 'UTC') as day_starts_at
from new_samples
cross join
    lateral (
        select sample.sampled_at
        from {{ ref('stg_router__engine_samples') }} as sample
        where sample.engine_id = new_samples.engine_id and sample.sampled_at > new_samples.sampled_at
        order by sample.sampled_at
        limit 1
    ) as later
{%- endif %}
union
select date_trunc('day', usage.quarter_hour_at, 'UTC') as day_starts_at
from {{ ref('int_engine_usage_quarter_hours') }} as usage
where usage.as_of_xid > {{ watermark() }}
{% if is_incremental() -%}
union
select mine.day_utc::timestamp at time zone 'UTC' as day_starts_at
from {{ this }} as mine
where not mine.is_settled
{%- endif %}
{%- endmacro %}


{# How long before an edge the quarter of an hour begins whose rows may still run at it. #}
{% macro reach_of_an_edge() -%}
(interval '{{ var("call_s_max") }} seconds' + interval '15 minutes')
{%- endmacro %}


{# Before these days are compared: the first instant of which raw rows may be asked for, for raw.touched_from(), so that the
   planner leaves a year's older chunks out. The first edge is the last sample before the first day, of an engine that has any
   since. #}
{% macro note_reconciled_from() -%}
{% if is_incremental() %}
with first_day as (
    select min(day.day_starts_at) as starts_at from ({{ days_to_reconcile() }}) as day
),

before as (
    select min(last.sampled_at) as sampled_at
    from first_day
    cross join {{ ref('stg_control__engines') }} as engine
    cross join
        lateral (
            select sample.sampled_at
            from {{ ref('stg_router__engine_samples') }} as sample
            where sample.engine_id = engine.engine_id and sample.sampled_at < first_day.starts_at
            order by sample.sampled_at desc
            limit 1
        ) as last
    where
        exists (
            select from {{ ref('stg_router__engine_samples') }} as sample
            where sample.engine_id = engine.engine_id and sample.sampled_at >= first_day.starts_at
        )
)

select
    set_config(
        'inferhouse.touched_from',
        coalesce((least(first_day.starts_at, before.sampled_at) - {{ reach_of_an_edge() }})::text, ''),
        true
    )
from first_day
cross join before
{% else %}
select 1
{% endif %}
{%- endmacro %}
