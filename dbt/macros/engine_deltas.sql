{# What each sample's counters grew by since the one before, for the samples from one instant up to another. A process that
   started anew counts from 0 again: what it has counted since is all of its count, and what the old one counted after its last
   sample nobody knows.

   A query and not a view: by a window over the range and the last sample before it, the planner can do nothing but read the range
   once. A view that looked up the sample before each one took the square of the history where statistics were not there yet. #}
{% macro engine_deltas(starts_at, ends_at) %}
{%- set counters = [
    'input_tokens', 'cached_input_tokens', 'output_tokens', 'prefix_cache_queries', 'prefix_cache_hits',
    'requests_finished', 'requests_aborted', 'preemptions', 'queue_us', 'request_us'
] -%}
select
    engine_id,
    sampled_at,
    previous_sampled_at,
    -- Since when what it grew by was counted.
    coalesce(previous_sampled_at, case when is_young then started_at end, sampled_at) as counted_from,
    recorded_xid,
    is_restarted,
    -- A longer gap is time in which nobody saw the engine.
    case
        when sampled_at - previous_sampled_at <= interval '{{ var("sample_gap_s_max") }} seconds'
            then (extract(epoch from sampled_at - previous_sampled_at) * 1000000)::bigint
        else 0
    end as seen_us,
    running,
    waiting,
    kv_cache_usage,
    gpus,
    gpu_hour_picousd
    {%- for counter in counters %},
    -- Of the first sample of an engine that ran before it was ours it is not known since when it had counted: it is where
    -- counting begins.
    case
        when previous_sampled_at is null and not is_young then 0
        when previous_sampled_at is null or is_restarted then {{ counter }}
        else greatest({{ counter }} - {{ counter }}_before, 0)
    end as {{ counter }}
    {%- endfor %}
from (
    select
        lagged.*,
        -- By its own word, or because a counter fell. Starts are told to the hundredth of a second.
        coalesce(
            started_at > started_before_at + interval '1 second'
            or least(
                input_tokens - input_tokens_before, output_tokens - output_tokens_before,
                requests_finished - requests_finished_before
            ) < 0,
            false
        ) as is_restarted
    from (
        select
            sample.*,
            -- A process that is younger than its place in our catalogue has counted nothing before it.
            coalesce(sample.started_at > engine.created_at, false) as is_young,
            {% for counter in counters -%}
            lag(sample.{{ counter }}) over by_engine as {{ counter }}_before,
            {% endfor -%}
            lag(sample.started_at) over by_engine as started_before_at,
            lag(sample.sampled_at) over by_engine as previous_sampled_at
        from (
            select inside.*
            from {{ ref('stg_router__engine_samples') }} as inside
            where inside.sampled_at >= {{ starts_at }} and inside.sampled_at < {{ ends_at }}
            union all
            select before.*
            from (
                select
                    engine_id,
                    -- The hour before first: there it is but for outages, and an hour's samples are few.
                    coalesce(
                        (
                            select max(near.sampled_at)
                            from {{ ref('stg_router__engine_samples') }} as near
                            where near.engine_id = each.engine_id and near.sampled_at < {{ starts_at }}
                                and near.sampled_at >= {{ starts_at }} - interval '1 hour'
                        ),
                        (
                            select max(far.sampled_at)
                            from {{ ref('stg_router__engine_samples') }} as far
                            where far.engine_id = each.engine_id and far.sampled_at < {{ starts_at }}
                        )
                    ) as last_sampled_at
                from {{ ref('stg_control__engines') }} as each
                where each.kind <> 'openai'
            ) as last
            -- By `limit` a look-up: as a join it read the whole history for each range, where statistics were not there yet.
            cross join lateral (
                select exact.*
                from {{ ref('stg_router__engine_samples') }} as exact
                where exact.engine_id = last.engine_id and exact.sampled_at = last.last_sampled_at
                limit 1
            ) as before
        ) as sample
        left join {{ ref('stg_control__engines') }} as engine on sample.engine_id = engine.engine_id
        window by_engine as (partition by sample.engine_id order by sample.sampled_at)
    ) as lagged
) as compared
where sampled_at >= {{ starts_at }} and sampled_at < {{ ends_at }}
{% endmacro %}
