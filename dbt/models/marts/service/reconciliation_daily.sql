{{
    config(
        materialized='incremental',
        incremental_strategy='delete+insert',
        unique_key='day_utc',
        pre_hook="{{ note_reconciled_from() }}",
        indexes=[{'columns': ['engine_id', 'day_utc']}, {'columns': ['day_utc']}, {'columns': ['as_of_xid']}]
    )
}}

-- What engines counted against what their rows say. Counters are read every half minute and rows begin and end between readings,
-- so the rows that ran at an edge of the day (or while an engine started anew) may be on either side: they explain a difference,
-- up to their own tokens. What is left has no row, or no engine that counted it.
-- Hosted providers have no counters, and are not here.
with horizon as (
    select
        as_of_xid,
        complete_to
    from {{ ref('int_service_horizon') }}
),

engines as materialized (
    select * from {{ ref('stg_control__engines') }}
    where kind <> 'openai'
),

touched_days as (
    {{ days_to_reconcile() }}
),

touched as materialized (
    select
        day_starts_at,
        day_starts_at + interval '1 day' as day_ends_at,
        -- A call that began in the day has ended by then, and a sample after it has been taken.
        (select horizon.complete_to from horizon) >= day_starts_at + interval '25 hours' as is_settled
    from touched_days
),

-- Samples before the instant that rows are complete to: what a later one has counted may have no row yet.
deltas as materialized (
    select
        touched.day_starts_at,
        delta.*
    from touched
    cross join lateral ({{ engine_deltas("touched.day_starts_at", "touched.day_ends_at") }}) as delta
    where
        delta.sampled_at <= (select horizon.complete_to from horizon)
        and delta.recorded_xid < (select horizon.as_of_xid from horizon)
),

counted as materialized (
    select
        day_starts_at,
        engine_id,
        count(*) as samples,
        count(*) filter (where is_restarted) as restarts,
        min(sampled_at) as first_sampled_at,
        max(sampled_at) as last_sampled_at,
        min(counted_from) as begins_at,
        sum(input_tokens) as counted_input_tokens,
        sum(output_tokens) as counted_output_tokens
    from deltas
    group by day_starts_at, engine_id
),

spans as materialized (
    select
        counted.*,
        (
            -- Not as a minimum: that would be taken of every sample that is later.
            select sample.sampled_at
            from {{ ref('stg_router__engine_samples') }} as sample
            where
                sample.engine_id = counted.engine_id
                and sample.sampled_at > counted.last_sampled_at
                and sample.recorded_xid < (select horizon.as_of_xid from horizon)
            order by sample.sampled_at
            limit 1
        ) as sampled_next_at
    from counted
),

-- What ran then was counted on another day than its row is of, or by a process that was not asked any more.
edges as materialized (
    select
        day_starts_at,
        engine_id,
        begins_at as edge_starts_at,
        greatest(begins_at, day_starts_at) as edge_ends_at
    from spans
    union all
    select
        day_starts_at,
        engine_id,
        last_sampled_at as edge_starts_at,
        day_starts_at + interval '1 day' as edge_ends_at
    from spans
    union all
    select
        day_starts_at,
        engine_id,
        previous_sampled_at as edge_starts_at,
        sampled_at as edge_ends_at
    from deltas
    where is_restarted
),

-- Only quarter hours that have a row which was still running: of them the raw rows are read, once for all engines.
edge_quarter_hours as materialized (
    select distinct usage.quarter_hour_at
    from edges
    inner join {{ ref('int_engine_usage_quarter_hours') }} as usage
        on
            edges.engine_id = usage.engine_id
            and usage.quarter_hour_at > edges.edge_starts_at - {{ reach_of_an_edge() }}
            and edges.edge_ends_at >= usage.quarter_hour_at
            and usage.last_finished_at >= edges.edge_starts_at - interval '{{ var("clock_s_max") }} seconds'
),

edge_rows as materialized (
    select event.*
    from edge_quarter_hours
    cross join lateral (
        select
            raw_row.engine_id,
            raw_row.started_at,
            raw_row.finished_at,
            raw_row.input_tokens,
            raw_row.output_tokens
        from {{ ref('stg_router__usage_events') }} as raw_row
        where
            raw_row.started_at >= edge_quarter_hours.quarter_hour_at
            and raw_row.started_at < edge_quarter_hours.quarter_hour_at + interval '15 minutes'
            and raw_row.started_at >= raw.touched_from()
            and raw_row.recorded_xid < (select horizon.as_of_xid from horizon)
            and raw_row.attempt > 0
            and raw_row.endpoint not in ('tokenize', 'detokenize')
            and raw_row.engine_id in (select edges.engine_id from edges)
    ) as event
),

at_edges as (
    select
        span.day_starts_at,
        span.engine_id,
        count(*) as edge_rows,
        sum(event.input_tokens) as edge_input_tokens,
        sum(event.output_tokens) as edge_output_tokens
    from spans as span
    inner join edge_rows as event on span.engine_id = event.engine_id
    where
        exists (
            select from edges
            where
                edges.engine_id = span.engine_id
                and edges.day_starts_at = span.day_starts_at
                and event.started_at <= edges.edge_ends_at + interval '{{ var("clock_s_max") }} seconds'
                and event.finished_at >= edges.edge_starts_at - interval '{{ var("clock_s_max") }} seconds'
        )
    group by span.day_starts_at, span.engine_id
),

quarter_hours as (
    select
        quarter_hour.*,
        touched.day_starts_at,
        -- No reading that its rows could be in. Those after the last one ran at its edge.
        coalesce(quarter_hour.quarter_hour_at + interval '15 minutes' <= span.begins_at, true) as is_before,
        coalesce(span.sampled_next_at is null and quarter_hour.quarter_hour_at > span.last_sampled_at, false) as is_after
    from touched
    cross join
        lateral (
            select usage.*
            from {{ ref('int_engine_usage_quarter_hours') }} as usage
            where usage.quarter_hour_at >= touched.day_starts_at and usage.quarter_hour_at < touched.day_ends_at
        ) as quarter_hour
    left join spans as span on quarter_hour.engine_id = span.engine_id and touched.day_starts_at = span.day_starts_at
),

rows_of_days as materialized (
    select
        day_starts_at,
        engine_id,
        sum(usage_rows) as usage_rows,
        sum(input_tokens) as row_input_tokens,
        sum(output_tokens) as row_output_tokens,
        sum(rows_cut) as rows_cut,
        sum(rows_estimated) as rows_estimated,
        sum(rows_without_input) as rows_without_input,
        sum(estimated_input_tokens) as estimated_input_tokens,
        sum(estimated_output_tokens) as estimated_output_tokens,
        max(input_tokens_max) as input_tokens_max,
        sum(usage_rows) filter (where is_before or is_after) as rows_unseen,
        sum(input_tokens) filter (where is_before) as unseen_input_tokens,
        sum(output_tokens) filter (where is_before) as unseen_output_tokens
    from quarter_hours
    group by day_starts_at, engine_id
),

days as (
    select
        touched.day_starts_at,
        touched.is_settled,
        engine.engine_id,
        engine.engine,
        span.last_sampled_at,
        coalesce(span.samples, 0) as samples,
        coalesce(span.restarts, 0) as restarts,
        coalesce(span.counted_input_tokens, 0) as counted_input_tokens,
        coalesce(span.counted_output_tokens, 0) as counted_output_tokens,
        coalesce(usage.usage_rows, 0) as usage_rows,
        coalesce(usage.row_input_tokens, 0) as row_input_tokens,
        coalesce(usage.row_output_tokens, 0) as row_output_tokens,
        coalesce(usage.rows_cut, 0) as rows_cut,
        coalesce(usage.rows_estimated, 0) as rows_estimated,
        coalesce(usage.rows_without_input, 0) as rows_without_input,
        coalesce(usage.rows_unseen, 0) as rows_unseen,
        coalesce(edge.edge_rows, 0) as edge_rows,
        coalesce(edge.edge_input_tokens, 0) + coalesce(usage.unseen_input_tokens, 0) + coalesce(usage.estimated_input_tokens, 0)
        + coalesce(usage.rows_without_input * usage.input_tokens_max, 0) as input_tokens_explicable,
        coalesce(edge.edge_output_tokens, 0) + coalesce(usage.unseen_output_tokens, 0)
        + coalesce(usage.estimated_output_tokens, 0)
        + coalesce(usage.rows_cut * {{ var("overhang_tokens_max") }}, 0) as output_tokens_explicable
    from touched
    cross join engines as engine
    left join spans as span on touched.day_starts_at = span.day_starts_at and engine.engine_id = span.engine_id
    left join rows_of_days as usage on touched.day_starts_at = usage.day_starts_at and engine.engine_id = usage.engine_id
    left join at_edges as edge on touched.day_starts_at = edge.day_starts_at and engine.engine_id = edge.engine_id
    where span.engine_id is not null or usage.engine_id is not null
),

differences as (
    select
        days.*,
        counted_input_tokens - row_input_tokens as input_tokens_difference,
        counted_output_tokens - row_output_tokens as output_tokens_difference,
        least(abs(counted_input_tokens - row_input_tokens), input_tokens_explicable) as input_tokens_explained,
        least(abs(counted_output_tokens - row_output_tokens), output_tokens_explicable) as output_tokens_explained
    from days
),

judged as (
    select
        differences.*,
        sign(input_tokens_difference) * (abs(input_tokens_difference) - input_tokens_explained) as input_tokens_unexplained,
        sign(output_tokens_difference) * (abs(output_tokens_difference) - output_tokens_explained) as output_tokens_unexplained
    from differences
),

shares as (
    select
        judged.*,
        coalesce(
            (abs(input_tokens_unexplained) + abs(output_tokens_unexplained))
            / nullif(greatest(counted_input_tokens + counted_output_tokens, row_input_tokens + row_output_tokens), 0),
            0
        ) as drift_share
    from judged
)

select
    (day_starts_at at time zone 'UTC')::date as day_utc,
    engine_id,
    engine,
    case
        when samples = 0 or (is_settled and rows_unseen > 0) then 'no_samples'
        when drift_share > {{ var("drift_share_max") }} then 'drift'
        else 'ok'
    end as status,
    is_settled,
    samples::integer as samples,
    last_sampled_at,
    restarts::integer as restarts,
    usage_rows::bigint as usage_rows,
    row_input_tokens::bigint as row_input_tokens,
    counted_input_tokens::bigint as counted_input_tokens,
    input_tokens_difference::bigint as input_tokens_difference,
    input_tokens_explained::bigint as input_tokens_explained,
    input_tokens_unexplained::bigint as input_tokens_unexplained,
    row_output_tokens::bigint as row_output_tokens,
    counted_output_tokens::bigint as counted_output_tokens,
    output_tokens_difference::bigint as output_tokens_difference,
    output_tokens_explained::bigint as output_tokens_explained,
    output_tokens_unexplained::bigint as output_tokens_unexplained,
    round(drift_share, 6)::numeric(7, 6) as drift_share,
    edge_rows::bigint as edge_rows,
    rows_cut::bigint as rows_cut,
    rows_estimated::bigint as rows_estimated,
    rows_without_input::bigint as rows_without_input,
    rows_unseen::bigint as rows_unseen,
    (select horizon.as_of_xid from horizon) as as_of_xid
from shares
