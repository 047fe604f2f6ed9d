{{ config(materialized='view') }}

-- What each sample's counters grew by since the one before. A process that started anew counts from 0 again: what it has
-- counted since is all of its count, and what the old one counted after its last sample nobody knows.
with samples as (
    select * from {{ ref('stg_router__engine_samples') }}
),

compared as (
    select
        sample.*,
        previous.sampled_at as previous_sampled_at,
        -- A process that is younger than its place in our catalogue has counted nothing before it.
        coalesce(sample.started_at > engine.created_at, false) as is_young,
        previous.input_tokens as input_tokens_before,
        previous.cached_input_tokens as cached_input_tokens_before,
        previous.output_tokens as output_tokens_before,
        previous.prefix_cache_queries as prefix_cache_queries_before,
        previous.prefix_cache_hits as prefix_cache_hits_before,
        previous.requests_finished as requests_finished_before,
        previous.requests_aborted as requests_aborted_before,
        previous.preemptions as preemptions_before,
        previous.queue_us as queue_us_before,
        previous.request_us as request_us_before,
        -- By its own word, or because a counter fell. Starts are told to the hundredth of a second.
        coalesce(
            sample.started_at > previous.started_at + interval '1 second'
            or least(
                sample.input_tokens - previous.input_tokens,
                sample.output_tokens - previous.output_tokens,
                sample.requests_finished - previous.requests_finished
            ) < 0,
            false
        ) as is_restarted,
        -- A longer gap is time in which nobody saw the engine.
        case
            when sample.sampled_at - previous.sampled_at <= interval '{{ var("sample_gap_s_max") }} seconds'
                then (extract(epoch from sample.sampled_at - previous.sampled_at) * 1000000)::bigint
            else 0
        end as seen_us
    from samples as sample
    left join {{ ref('stg_control__engines') }} as engine on sample.engine_id = engine.engine_id
    -- Lateral, so that it is one step in an index for each sample that is asked for.
    left join lateral (
        select earlier.*
        from samples as earlier
        where earlier.engine_id = sample.engine_id and earlier.sampled_at < sample.sampled_at
        order by earlier.sampled_at desc
        limit 1
    ) as previous on true
)

-- Of the first sample of an engine that ran before it was ours it is not known since when it had counted: it is where counting
-- begins.
select
    engine_id,
    sampled_at,
    previous_sampled_at,
    recorded_xid,
    is_restarted,
    seen_us,
    running,
    waiting,
    kv_cache_usage,
    gpus,
    gpu_hour_picousd,
    {% for counter in [
        'input_tokens', 'cached_input_tokens', 'output_tokens', 'prefix_cache_queries', 'prefix_cache_hits',
        'requests_finished', 'requests_aborted', 'preemptions', 'queue_us', 'request_us'
    ] %}
case
    when previous_sampled_at is null and not is_young then 0
    when previous_sampled_at is null then {{ counter }}
    when is_restarted then {{ counter }}
    else greatest({{ counter }} - {{ counter }}_before, 0)
end as {{ counter }}{{ ',' if not loop.last }}
{% endfor %}
from compared
