with source as (
    select * from {{ source('control', 'engines') }}
)

select
    id as engine_id,
    name as engine,
    kind,
    model_id,
    enabled
from source
