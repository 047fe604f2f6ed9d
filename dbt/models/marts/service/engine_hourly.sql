{{
    config(
        materialized='incremental',
        incremental_strategy='delete+insert',
        unique_key='hour_utc',
        indexes=[{'columns': ['engine_id', 'hour_utc']}, {'columns': ['hour_utc']}, {'columns': ['as_of_xid']}]
    )
}}

-- What an engine did and cost in an hour by its own counters, beside what its rows brought in.
with horizon as (
    select as_of_xid from {{ ref('int_service_horizon') }}
),

new_samples as materialized (
    select
        sample.engine_id,
        sample.sampled_at
    from {{ ref('stg_router__engine_samples') }} as sample
    where
        sample.recorded_xid >= {{ watermark() }}
        and sample.recorded_xid < (select horizon.as_of_xid from horizon)
),

touched as materialized (
    select date_trunc('hour', new_samples.sampled_at, 'UTC') as hour_utc
    from new_samples
    {% if is_incremental() -%}
    union
    -- Of a whole build every sample is new. What the sample after it grew by is another now.
    select date_trunc('hour', later.sampled_at, 'UTC') as hour_utc
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
    select date_trunc('hour', usage.quarter_hour_at, 'UTC') as hour_utc
    from {{ ref('int_engine_usage_quarter_hours') }} as usage
    where usage.as_of_xid > {{ watermark() }}
),

counted as (
    select
        touched.hour_utc,
        delta.engine_id,
        count(*) as samples,
        count(*) filter (where delta.is_restarted) as restarts,
        sum(delta.seen_us) as seen_us,
        sum(delta.input_tokens) as input_tokens,
        sum(delta.cached_input_tokens) as cached_input_tokens,
        sum(delta.output_tokens) as output_tokens,
        sum(delta.prefix_cache_queries) as prefix_cache_queries,
        sum(delta.prefix_cache_hits) as prefix_cache_hits,
        sum(delta.requests_finished) as requests_finished,
        sum(delta.requests_aborted) as requests_aborted,
        sum(delta.preemptions) as preemptions,
        sum(delta.queue_us) as queue_us,
        sum(delta.request_us) as request_us,
        avg(delta.running) as running_avg,
        max(delta.running) as running_max,
        avg(delta.waiting) as waiting_avg,
        max(delta.waiting) as waiting_max,
        avg(delta.kv_cache_usage) as kv_cache_usage_avg,
        max(delta.kv_cache_usage) as kv_cache_usage_max,
        max(delta.gpus) as gpus,
        -- Hours are not whole pico-dollars: rounded once, of the hour.
        round(sum(delta.gpus * delta.gpu_hour_picousd::numeric * delta.seen_us) / 3600000000) as cost_picousd,
        round(
            sum(delta.gpus * delta.gpu_hour_picousd::numeric * delta.seen_us)
            filter (where delta.running = 0 and delta.waiting = 0 and delta.input_tokens + delta.output_tokens = 0)
            / 3600000000
        ) as idle_cost_picousd
    from touched
    cross join lateral ({{ engine_deltas("touched.hour_utc", "touched.hour_utc + interval '1 hour'") }}) as delta
    where delta.recorded_xid < (select horizon.as_of_xid from horizon)
    group by touched.hour_utc, delta.engine_id
),

rows_of_hours as (
    select
        touched.hour_utc,
        sums.*
    from touched
    cross join lateral (
        select
            usage.engine_id,
            sum(usage.usage_rows) as usage_rows,
            sum(usage.input_tokens) as row_input_tokens,
            sum(usage.output_tokens) as row_output_tokens,
            sum(usage.revenue_picousd) as revenue_picousd
        from {{ ref('int_engine_usage_quarter_hours') }} as usage
        where usage.quarter_hour_at >= touched.hour_utc and usage.quarter_hour_at < touched.hour_utc + interval '1 hour'
        group by usage.engine_id
    ) as sums
),

hours as (
    select
        coalesce(counted.hour_utc, rows_of_hours.hour_utc) as hour_utc,
        coalesce(counted.engine_id, rows_of_hours.engine_id) as engine_id,
        counted.samples,
        counted.restarts,
        counted.seen_us,
        counted.input_tokens,
        counted.cached_input_tokens,
        counted.output_tokens,
        counted.prefix_cache_queries,
        counted.prefix_cache_hits,
        counted.requests_finished,
        counted.requests_aborted,
        counted.preemptions,
        counted.queue_us,
        counted.request_us,
        counted.running_avg,
        counted.running_max,
        counted.waiting_avg,
        counted.waiting_max,
        counted.kv_cache_usage_avg,
        counted.kv_cache_usage_max,
        counted.gpus,
        coalesce(counted.cost_picousd, 0) as cost_picousd,
        coalesce(counted.idle_cost_picousd, 0) as idle_cost_picousd,
        coalesce(rows_of_hours.usage_rows, 0) as usage_rows,
        coalesce(rows_of_hours.row_input_tokens, 0) as row_input_tokens,
        coalesce(rows_of_hours.row_output_tokens, 0) as row_output_tokens,
        coalesce(rows_of_hours.revenue_picousd, 0) as revenue_picousd
    from counted
    full outer join rows_of_hours on counted.hour_utc = rows_of_hours.hour_utc and counted.engine_id = rows_of_hours.engine_id
)

select
    hours.hour_utc,
    hours.engine_id,
    engine.engine,
    engine.kind,
    model.model,
    coalesce(hours.samples, 0)::integer as samples,
    (coalesce(hours.seen_us, 0) / 1000000)::numeric(12, 3) as seconds_seen,
    coalesce(hours.restarts, 0)::integer as restarts,
    coalesce(hours.input_tokens, 0)::bigint as input_tokens,
    coalesce(hours.cached_input_tokens, 0)::bigint as cached_input_tokens,
    coalesce(hours.output_tokens, 0)::bigint as output_tokens,
    round(hours.input_tokens * 1000000 / nullif(hours.seen_us, 0), 3)::numeric(14, 3) as input_tokens_per_second,
    round(hours.output_tokens * 1000000 / nullif(hours.seen_us, 0), 3)::numeric(14, 3) as output_tokens_per_second,
    round(hours.prefix_cache_hits / nullif(hours.prefix_cache_queries, 0), 6)::numeric(7, 6) as prefix_cache_hit_share,
    coalesce(hours.requests_finished, 0)::bigint as requests_finished,
    coalesce(hours.requests_aborted, 0)::bigint as requests_aborted,
    coalesce(hours.preemptions, 0)::bigint as preemptions,
    round(hours.queue_us / nullif(hours.requests_finished, 0))::bigint as queue_us_avg,
    round(hours.request_us / nullif(hours.requests_finished, 0))::bigint as request_us_avg,
    round(hours.running_avg, 3)::numeric(12, 3) as running_avg,
    hours.running_max::integer as running_max,
    round(hours.waiting_avg, 3)::numeric(12, 3) as waiting_avg,
    hours.waiting_max::integer as waiting_max,
    round(hours.kv_cache_usage_avg, 6)::numeric(7, 6) as kv_cache_usage_avg,
    hours.kv_cache_usage_max::numeric(7, 6) as kv_cache_usage_max,
    coalesce(hours.gpus, 0)::integer as gpus,
    hours.cost_picousd::numeric(38, 0) as cost_picousd,
    hours.idle_cost_picousd::numeric(38, 0) as idle_cost_picousd,
    round(hours.cost_picousd / nullif(hours.input_tokens + hours.output_tokens, 0), 3)::numeric(38, 3) as cost_per_token_picousd,
    hours.usage_rows::bigint as usage_rows,
    hours.row_input_tokens::bigint as row_input_tokens,
    hours.row_output_tokens::bigint as row_output_tokens,
    hours.revenue_picousd::numeric(38, 0) as revenue_picousd,
    (hours.revenue_picousd - hours.cost_picousd)::numeric(38, 0) as margin_picousd,
    (select horizon.as_of_xid from horizon) as as_of_xid
from hours
inner join {{ ref('stg_control__engines') }} as engine on hours.engine_id = engine.engine_id
left join {{ ref('stg_control__models') }} as model on engine.model_id = model.model_id
