{{ config(materialized='view') }}

-- Where engines are and what they cost is the platform's own.
select
    engine.engine_id,
    engine.engine,
    engine.kind,
    engine.model_id,
    model.model,
    engine.enabled,
    engine.gpus,
    engine.gpu_hour_picousd,
    engine.created_at
from {{ ref('stg_control__engines') }} as engine
inner join {{ ref('stg_control__models') }} as model on engine.model_id = model.model_id
where {{ visible_to_platform() }}
