-- name: targets
-- Hosted providers have no counters. An engine that is switched off may still finish what it has, so it is read as well.
select id, name, base_url, gpus, gpu_hour_picousd
from control.engines
where kind <> 'openai'
order by id
limit %(rows_max)s

-- name: add
insert into raw.engine_samples (
    engine_id, sampled_at, started_at, prompt_tokens, cached_tokens, generation_tokens, prefix_cache_queries, prefix_cache_hits,
    requests_finished, requests_aborted, preemptions, queue_us, request_us, running, waiting, kv_cache_usage, gpus,
    gpu_hour_picousd
) values (
    %(engine_id)s, %(sampled_at)s, %(started_at)s, %(prompt_tokens)s, %(cached_tokens)s, %(generation_tokens)s,
    %(prefix_cache_queries)s, %(prefix_cache_hits)s, %(requests_finished)s, %(requests_aborted)s, %(preemptions)s, %(queue_us)s,
    %(request_us)s, %(running)s, %(waiting)s, %(kv_cache_usage)s, %(gpus)s, %(gpu_hour_picousd)s
)
on conflict (engine_id, sampled_at) do nothing

-- name: drop_old
select raw.drop_engine_samples(%(kept_days)s)
