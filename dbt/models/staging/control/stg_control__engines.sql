-- Column by column: this role cannot read the sealed keys of providers.
with source as (
    select
        id,
        name,
        kind,
        model_id,
        enabled,
        gpus,
        gpu_hour_picousd,
        created_at
    from {{ source('control', 'engines') }}
)

select
    id as engine_id,
    name as engine,
    kind,
    model_id,
    enabled,
    gpus,
    gpu_hour_picousd,
    created_at
from source
