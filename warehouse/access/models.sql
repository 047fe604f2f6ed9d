-- name: page
select
    id, name, context_tokens_max, output_tokens_max, template_tokens_per_call, template_tokens_per_message,
    template_tokens_for_tools, media_tokens_max, retired_at,
    created_at, version
from control.models
where (%(include_retired)s or retired_at is null) and (%(after)s::text is null or name > %(after)s)
order by name
limit %(rows_max)s

-- name: find
select
    id, name, context_tokens_max, output_tokens_max, template_tokens_per_call, template_tokens_per_message,
    template_tokens_for_tools, media_tokens_max, retired_at,
    created_at, version
from control.models
where name = %(name)s

-- name: lock
select
    id, name, context_tokens_max, output_tokens_max, template_tokens_per_call, template_tokens_per_message,
    template_tokens_for_tools, media_tokens_max, retired_at,
    created_at, version
from control.models
where name = %(name)s
for update

-- name: add
insert into control.models (
    name, context_tokens_max, output_tokens_max, template_tokens_per_call, template_tokens_per_message, template_tokens_for_tools,
    media_tokens_max
) values (
    %(name)s, %(context_tokens_max)s, %(output_tokens_max)s, %(template_tokens_per_call)s, %(template_tokens_per_message)s,
    %(template_tokens_for_tools)s, %(media_tokens_max)s
)
returning id, name, context_tokens_max, output_tokens_max, template_tokens_per_call, template_tokens_per_message,
    template_tokens_for_tools, media_tokens_max, retired_at,
    created_at, version

-- name: change
update control.models
set context_tokens_max = %(context_tokens_max)s, output_tokens_max = %(output_tokens_max)s,
    template_tokens_per_call = %(template_tokens_per_call)s, template_tokens_per_message = %(template_tokens_per_message)s,
    template_tokens_for_tools = %(template_tokens_for_tools)s, media_tokens_max = %(media_tokens_max)s, version = version + 1
where id = %(id)s
returning id, name, context_tokens_max, output_tokens_max, template_tokens_per_call, template_tokens_per_message,
    template_tokens_for_tools, media_tokens_max, retired_at,
    created_at, version

-- name: retire
update control.models set retired_at = case when %(retired)s then now() end, version = version + 1
where id = %(id)s
returning id, name, context_tokens_max, output_tokens_max, template_tokens_per_call, template_tokens_per_message,
    template_tokens_for_tools, media_tokens_max, retired_at,
    created_at, version

-- name: offered
-- Models in service with the version in force now that has no condition: the organization's own before the list price.
select
    m.name, m.context_tokens_max, m.output_tokens_max, m.created_at, p.id as price_id, p.org_id is not null as own_price,
    p.input_picousd, p.cached_input_picousd, p.output_picousd, p.reasoning_picousd, p.request_picousd,
    lower(p.effective) as effective_from, upper(p.effective) as effective_until
from control.models as m
left join lateral (
    select v.* from control.prices as v
    where v.model_id = m.id and v.priority = 0 and v.effective @> now() and (v.org_id = %(org_id)s or v.org_id is null)
    order by v.org_id nulls last
    limit 1
) as p on true
where m.retired_at is null and (%(after)s::text is null or m.name > %(after)s)
order by m.name
limit %(rows_max)s
