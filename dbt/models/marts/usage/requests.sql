{{ config(materialized='view') }}

select
    event.request_id,
    event.attempt,
    event.started_at,
    event.finished_at,
    event.org_id,
    project.project,
    api_key.api_key,
    event.end_user,
    event.endpoint,
    coalesce(model.model, event.model_asked) as model,
    engine.engine,
    event.stream,
    event.status,
    event.http_status::integer as http_status,
    event.error_code,
    event.finish_reason,
    event.input_tokens,
    event.cached_input_tokens,
    event.output_tokens,
    event.reasoning_tokens,
    event.token_source,
    event.ttft_us,
    event.duration_us,
    event.overhead_us,
    event.price_id,
    price.input_picousd,
    price.cached_input_picousd,
    price.output_picousd,
    coalesce(price.reasoning_picousd, price.output_picousd) as reasoning_picousd,
    price.request_picousd,
    event.cost_picousd,
    event.charge_class,
    event.tags
from {{ ref('stg_router__usage_events') }} as event
inner join {{ ref('stg_control__projects') }} as project on event.project_id = project.project_id
inner join {{ ref('stg_control__api_keys') }} as api_key on event.api_key_id = api_key.api_key_id
left join {{ ref('stg_control__models') }} as model on event.model_id = model.model_id
left join {{ ref('stg_control__engines') }} as engine on event.engine_id = engine.engine_id
left join {{ ref('stg_control__prices') }} as price on event.price_id = price.price_id
where {{ visible_to_session('event.org_id') }}
