{{
    config(
        materialized='incremental',
        incremental_strategy='delete+insert',
        unique_key=['org_id', 'hour_utc'],
        pre_hook=["{{ note_touched_from(ref('int_service_horizon')) }}", "{{ by_all_cores() }}", "set local enable_memoize = off"],
        indexes=[{'columns': ['org_id', 'hour_utc']}, {'columns': ['hour_utc']}, {'columns': ['as_of_xid']}]
    )
}}

-- Histograms that can be merged: percentiles of any hours, projects or models are those of summed buckets, never averages of
-- percentiles. Sparse, in two arrays: a row for each bucket would be sixteen times as large. Each row has five values of its
-- own: to remember them, as the planner wants it, takes a third of the time and finds none twice.
with horizon as (
    select as_of_xid from {{ ref('int_service_horizon') }}
),

{{ touched_events(ref('int_service_horizon'), '1 hour', by='org_id') }},

buckets as (
    select
        time_bucket('1 hour', event.started_at) as hour_utc,
        event.org_id,
        event.project_id,
        event.model_id,
        event.endpoint_enum,
        event.stream,
        measured.measure,
        -- Base 2, eight buckets to each doubling: bucket b is above 2^((b-1)/8) and up to 2^(b/8) microseconds.
        ceil(8 * ln(greatest(measured.us, 1)::double precision) / ln(2::double precision))::smallint as bucket,
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
    where
        event.attempt > 0
        -- One that broke off took as long as somebody waited, which says nothing of the service.
        and event.status_enum = 'completed'
        and measured.us is not null
    group by 1, 2, 3, 4, 5, 6, 7, 8
),

histograms as (
    select
        buckets.hour_utc,
        buckets.org_id,
        buckets.project_id,
        buckets.model_id,
        buckets.endpoint_enum,
        buckets.stream,
        buckets.measure,
        sum(buckets.requests) as requests,
        sum(buckets.total_us) as total_us,
        max(buckets.max_us) as max_us,
        array_agg(buckets.bucket order by buckets.bucket) as buckets,
        array_agg(buckets.requests order by buckets.bucket) as bucket_requests
    from buckets
    group by 1, 2, 3, 4, 5, 6, 7
)

select
    histograms.hour_utc,
    histograms.org_id,
    organization.organization,
    histograms.project_id,
    project.project,
    model.model,
    histograms.endpoint_enum::text as endpoint,
    histograms.stream,
    (array['time_to_first_token', 'time_per_output_token', 'duration', 'queue', 'overhead'])[histograms.measure] as measure,
    histograms.requests::bigint as requests,
    histograms.total_us::numeric(38, 0) as total_us,
    histograms.max_us::bigint as max_us,
    histograms.buckets,
    histograms.bucket_requests,
    (select horizon.as_of_xid from horizon) as as_of_xid
from histograms
inner join {{ ref('stg_control__organizations') }} as organization on histograms.org_id = organization.org_id
inner join {{ ref('stg_control__projects') }} as project on histograms.project_id = project.project_id
left join {{ ref('stg_control__models') }} as model on histograms.model_id = model.model_id
