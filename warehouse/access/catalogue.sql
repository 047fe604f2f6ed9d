-- name: list_models
select id, name, context_tokens_max, output_tokens_max, created_at from control.models where retired_at is null order by name

-- name: list_engines
select e.id, e.name, e.kind, e.base_url, m.name as model
from control.engines as e
inner join control.models as m on m.id = e.model_id
where e.enabled and m.retired_at is null
order by e.name

-- name: list_prices
select
    id, model_id, org_id, input_picousd, cached_input_picousd, output_picousd,
    lower(effective) as effective_from, upper(effective) as effective_until
from control.prices
where upper_inf(effective) or upper(effective) > now() - interval '1 day'
order by model_id, org_id, lower(effective)
