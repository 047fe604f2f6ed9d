with source as (
    select * from {{ source('router', 'usage_events') }}
)

select
    request_id,
    attempt,
    started_at,
    finished_at,
    recorded_at,
    recorded_xid,
    org_id,
    project_id,
    api_key_id,
    user_id,
    service_account_id,
    end_user,
    tags,
    endpoint::text as endpoint,
    model_asked,
    model_id,
    engine_id,
    stream,
    status::text as status,
    http_status,
    error_code,
    finish_reason::text as finish_reason,
    input_tokens,
    cached_input_tokens,
    output_tokens,
    reasoning_tokens,
    token_source::text as token_source,
    ttft_us,
    duration_us,
    overhead_us,
    price_id,
    cost_picousd,
    charge_class::text as charge_class
from source
