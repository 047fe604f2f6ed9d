{{ config(materialized='view') }}

-- List prices are everybody's, those of an organization its own. Why a version was made is the platform's.
select
    price.price_id,
    price.model_id,
    model.model,
    price.org_id,
    price.input_picousd,
    price.cached_input_picousd,
    price.output_picousd,
    coalesce(price.reasoning_picousd, price.output_picousd) as reasoning_picousd,
    price.request_picousd,
    price.priority,
    price.endpoint,
    lower(price.input_tokens_range) as input_tokens_from,
    upper(price.input_tokens_range) as input_tokens_below,
    price.tags,
    lower(price.effective) as effective_from,
    upper(price.effective) as effective_until
from {{ ref('stg_control__prices') }} as price
inner join {{ ref('stg_control__models') }} as model on price.model_id = model.model_id
where
    {{ visible_to_session('price.org_id') }}
    or (price.org_id is null and (select control.current_org_id()) is not null)
    or {{ visible_to_platform() }}
