{{
    config(
        materialized='incremental',
        incremental_strategy='delete+insert',
        unique_key=['org_id', 'hour_utc', 'project_id', 'model_id', 'endpoint_enum', 'stream'],
        pre_hook=["{{ note_touched_from(ref('int_service_horizon')) }}", "{{ by_all_cores() }}", "set local enable_memoize = off"],
        indexes=[{'columns': ['org_id', 'hour_utc']}, {'columns': ['hour_utc']}, {'columns': ['as_of_xid']}]
    )
}}

-- All measures of an hour, project, model, endpoint and stream in one row, which takes a quarter of what a row for each of them
-- does. Sparse: a cell is 512 x measure + bucket, of which only those with requests are there.
-- Histograms add up, and each commit is between two horizons just once: new rows are added to what is there, and the others of
-- their hour are not read again.
with horizon as (
    select as_of_xid from {{ ref('int_service_horizon') }}
),

events as (
    select
        event.org_id,
        time_bucket('1 hour', event.started_at) as hour_utc,
        event.project_id,
        coalesce(event.model_id, 0) as model_id,  -- 0 is none: a key is compared by `=`
        event.endpoint_enum,
        event.stream,
        event.output_tokens,
        event.ttft_us,
        event.duration_us,
        event.queue_us,
        event.overhead_us
    from {{ ref('stg_router__usage_events') }} as event
    where
        {{ added_since(ref('int_service_horizon'), '1 hour') }}
        and event.attempt > 0
        -- One that broke off took as long as somebody waited, which says nothing of the service.
        and event.status_enum = 'completed'
),

-- Each row has five values of its own: to remember them, as the planner wants it, takes a third of the time and finds none twice.
{{ 'added' if is_incremental() else 'cells' }} as (
    select
        event.hour_utc,
        event.org_id,
        event.project_id,
        event.model_id,
        event.endpoint_enum,
        event.stream,
        measured.measure,
        -- Base 2, eight buckets to each doubling: bucket b is above 2^((b-1)/8) and up to 2^(b/8) microseconds.
        (
            512 * measured.measure
            + ceil(8 * ln(greatest(measured.us, 1)::double precision) / ln(2::double precision))
        )::smallint as cell,
        count(*) as requests,
        sum(measured.us) as total_us,
        max(measured.us) as max_us
    from events as event
    cross join
        lateral (
            values
            (1, event.ttft_us),
            (
                2,
                case
                    when event.stream and event.output_tokens > 1
                        then (event.duration_us - event.ttft_us) / (event.output_tokens - 1)
                end
            ),
            (3, event.duration_us),
            (4, event.queue_us),
            (5, event.overhead_us)
        ) as measured (measure, us)
    where measured.us is not null
    group by 1, 2, 3, 4, 5, 6, 7, 8
)

{%- if is_incremental() %},

kept as (
    select mine.*
    from (
        select distinct
            events.org_id,
            events.hour_utc,
            events.project_id,
            events.model_id,
            events.endpoint_enum,
            events.stream
        from events
    ) as touched
    inner join {{ this }} as mine
        on
            touched.org_id = mine.org_id
            and touched.hour_utc = mine.hour_utc
            and touched.project_id = mine.project_id
            and touched.model_id = mine.model_id
            and touched.endpoint_enum = mine.endpoint_enum
            and touched.stream = mine.stream
),

cells as (
    select
        parts.hour_utc,
        parts.org_id,
        parts.project_id,
        parts.model_id,
        parts.endpoint_enum,
        parts.stream,
        parts.measure,
        parts.cell,
        sum(parts.requests)::bigint as requests,
        sum(parts.total_us) as total_us,
        max(parts.max_us) as max_us
    from (
        select added.* from added
        union all
        select
            kept.hour_utc,
            kept.org_id,
            kept.project_id,
            kept.model_id,
            kept.endpoint_enum,
            kept.stream,
            counted.cell / 512 as measure,
            counted.cell,
            counted.requests,
            null as total_us,
            null as max_us
        from kept
        cross join unnest(kept.cells, kept.cell_requests) as counted (cell, requests)
        union all
        select
            kept.hour_utc,
            kept.org_id,
            kept.project_id,
            kept.model_id,
            kept.endpoint_enum,
            kept.stream,
            summed.measure,
            null as cell,
            null as requests,
            summed.total_us,
            summed.max_us
        from kept
        cross join unnest(kept.total_us, kept.max_us) with ordinality as summed (total_us, max_us, measure)
    ) as parts
    group by 1, 2, 3, 4, 5, 6, 7, 8
)
{%- endif %}

select
    cells.hour_utc,
    cells.org_id,
    cells.project_id,
    cells.model_id,
    cells.endpoint_enum,
    cells.stream,
    array_agg(cells.cell order by cells.cell) filter (where cells.cell is not null) as cells,
    array_agg(cells.requests order by cells.cell) filter (where cells.cell is not null) as cell_requests,
    array[
        {%- for measure in range(1, 6) %}
        sum(cells.total_us) filter (where cells.measure = {{ measure }})::bigint{{ ',' if not loop.last }}
        {%- endfor %}
    ] as total_us,
    array[
        {%- for measure in range(1, 6) %}
        max(cells.max_us) filter (where cells.measure = {{ measure }}){{ ',' if not loop.last }}
        {%- endfor %}
    ] as max_us,
    (select horizon.as_of_xid from horizon) as as_of_xid
from cells
group by 1, 2, 3, 4, 5, 6
