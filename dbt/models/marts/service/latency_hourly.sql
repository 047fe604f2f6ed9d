{{ config(materialized='view') }}

-- Histograms that can be merged: percentiles of any hours, projects or models are those of summed buckets, never averages of
-- percentiles. A measure that is not asked for is not taken apart.
select
    latency.hour_utc,
    latency.org_id,
    organization.organization,
    latency.project_id,
    project.project,
    model.model,
    latency.endpoint_enum::text as endpoint,
    latency.stream,
    measures.measure,
    histogram.requests::bigint as requests,
    latency.total_us[measures.number]::numeric(38, 0) as total_us,
    latency.max_us[measures.number]::bigint as max_us,
    histogram.buckets,
    histogram.bucket_requests,
    latency.as_of_xid
from {{ ref('int_latency_hours') }} as latency
cross join
    (
        values
        (1, 'time_to_first_token'), (2, 'time_per_output_token'), (3, 'duration'), (4, 'queue'), (5, 'overhead')
    ) as measures (number, measure)
cross join
    lateral (
        select
            sum(counted.requests) as requests,
            array_agg((counted.cell % 512)::smallint order by counted.cell) as buckets,
            array_agg(counted.requests order by counted.cell) as bucket_requests
        from unnest(latency.cells, latency.cell_requests) as counted (cell, requests)
        where counted.cell / 512 = measures.number
    ) as histogram
inner join {{ ref('stg_control__organizations') }} as organization on latency.org_id = organization.org_id
inner join {{ ref('stg_control__projects') }} as project on latency.project_id = project.project_id
left join {{ ref('stg_control__models') }} as model on latency.model_id = model.model_id
where
    histogram.requests is not null
    and {{ visible_to_session('latency.org_id') }}
