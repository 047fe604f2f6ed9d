-- name: organizations
select
    organization.id as org_id,
    organization.public_id as organization,
    organization.time_zone,
    %(month)s::timestamp at time zone organization.time_zone as period_starts_at,
    (%(month)s::timestamp + interval '1 month') at time zone organization.time_zone as period_ends_at
from control.organizations as organization
order by organization.id

-- name: models
select model.id, model.name from control.models as model

-- name: api_keys
select api_key.id, api_key.public_id from control.api_keys as api_key

-- name: book
select
    price.id as price_id, price.model_id, price.org_id, price.input_picousd, price.cached_input_picousd, price.output_picousd,
    price.reasoning_picousd, price.request_picousd, price.priority::integer as priority, price.endpoint::text as endpoint,
    lower(price.input_tokens_range)::bigint as input_tokens_from,
    coalesce(upper(price.input_tokens_range), 2147483647)::bigint as input_tokens_to,
    price.tags::text as tags,
    greatest(coalesce(lower(price.effective), '1970-01-01+00'), '1970-01-01+00') as effective_from,
    least(coalesce(upper(price.effective), '9999-01-01+00'), '9999-01-01+00') as effective_to
from control.prices as price
