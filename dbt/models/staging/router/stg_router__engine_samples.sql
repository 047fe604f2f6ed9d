with source as (
    select * from {{ source('router', 'engine_samples') }}
)

select
    engine_id,
    sampled_at,
    started_at,
    recorded_xid,
    prompt_tokens as input_tokens,
    cached_tokens as cached_input_tokens,
    generation_tokens as output_tokens,
    prefix_cache_queries,
    prefix_cache_hits,
    requests_finished,
    requests_aborted,
    preemptions,
    queue_us,
    request_us,
    running,
    waiting,
    kv_cache_usage,
    gpus,
    gpu_hour_picousd
from source
