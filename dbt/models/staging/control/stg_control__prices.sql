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
    effective,
    reason,
    created_at
from source
