-- name: list_models
select
    id, name, context_tokens_max, output_tokens_max, created_at, template_tokens_per_call, template_tokens_per_message,
    template_tokens_for_tools, media_tokens_max
from control.models
where retired_at is null
order by name

-- name: list_engines
select
    e.id, e.name, e.kind, e.base_url, m.name as model, e.weight, e.requests_at_once, e.served_model, e.sealed_key,
    case when e.canary_stopped_at is null then e.canary_percent when e.canary_percent is not null then 0 end as canary_percent,
    e.version
from control.engines as e
inner join control.models as m on m.id = e.model_id
where e.enabled and m.retired_at is null
order by e.name

-- name: list_aliases
select org_id, name, stages, version from control.model_aliases where deleted_at is null order by id

-- name: stop_canary
update control.engines set canary_stopped_at = now(), canary_stopped_why = %(why)s
where id = %(id)s and version = %(version)s and canary_percent is not null and canary_stopped_at is null

-- name: list_prices
select
    id, model_id, org_id, input_picousd, cached_input_picousd, output_picousd,
    lower(effective) as effective_from, upper(effective) as effective_until, reasoning_picousd, request_picousd,
    priority, endpoint::text, lower(input_tokens_range) as input_tokens_from, upper(input_tokens_range) as input_tokens_until, tags
from control.prices
where upper_inf(effective) or upper(effective) > now() - interval '1 day'
order by model_id, org_id, priority desc, lower(effective)
