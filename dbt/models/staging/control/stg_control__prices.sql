with source as (
    select * from {{ source('control', 'prices') }}
)

select
    id as price_id,
    model_id,
    org_id,
    input_picousd,
    cached_input_picousd,
    output_picousd,
    reasoning_picousd,
    request_picousd,
    priority,
    endpoint::text as endpoint,
    input_tokens_range,
    tags,
    effective,
    reason,
    created_at
from source
