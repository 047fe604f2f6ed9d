-- name: page
select
    p.id, m.name as model, o.public_id as organization, p.input_picousd, p.cached_input_picousd, p.output_picousd,
    p.reasoning_picousd, p.request_picousd, p.priority, p.endpoint::text, lower(p.input_tokens_range) as input_tokens_from,
    upper(p.input_tokens_range) as input_tokens_until, p.tags,
    lower(p.effective) as effective_from, upper(p.effective) as effective_until, p.reason, p.created_at
from control.prices as p
inner join control.models as m on m.id = p.model_id
left join control.organizations as o on o.id = p.org_id
where (%(model)s::text is null or m.name = %(model)s)
    and (%(organization)s::text is null or o.public_id = %(organization)s)
    and (not %(list_only)s or p.org_id is null)
    and (%(at)s::timestamptz is null or p.effective @> %(at)s::timestamptz)
    and (%(after)s::integer is null or p.id < %(after)s)
order by p.id desc
limit %(rows_max)s

-- name: find
select
    p.id, m.name as model, o.public_id as organization, p.input_picousd, p.cached_input_picousd, p.output_picousd,
    p.reasoning_picousd, p.request_picousd, p.priority, p.endpoint::text, lower(p.input_tokens_range) as input_tokens_from,
    upper(p.input_tokens_range) as input_tokens_until, p.tags,
    lower(p.effective) as effective_from, upper(p.effective) as effective_until, p.reason, p.created_at
from control.prices as p
inner join control.models as m on m.id = p.model_id
left join control.organizations as o on o.id = p.org_id
where p.id = %(id)s

-- name: conditional
-- In force now for an organization, by model in the order of choice; behind its own price without a condition none has a turn.
select
    p.id, m.name as model, o.public_id as organization, p.input_picousd, p.cached_input_picousd, p.output_picousd,
    p.reasoning_picousd, p.request_picousd, p.priority, p.endpoint::text, lower(p.input_tokens_range) as input_tokens_from,
    upper(p.input_tokens_range) as input_tokens_until, p.tags,
    lower(p.effective) as effective_from, upper(p.effective) as effective_until, p.reason, p.created_at
from control.prices as p
inner join control.models as m on m.id = p.model_id
left join control.organizations as o on o.id = p.org_id
where m.name = any(%(models)s::text[]) and p.priority > 0 and p.effective @> now()
    and case
        when p.org_id is null then not exists (
            select from control.prices as own
            where own.model_id = p.model_id and own.org_id = %(org_id)s and own.priority = 0 and own.effective @> now()
        )
        else p.org_id = %(org_id)s
    end
order by m.name, p.org_id nulls last, p.priority desc

-- name: now
select clock_timestamp()

-- name: in_force
-- Of the same model, organization and conditions.
select id from control.prices
where model_id = %(model_id)s and org_id is not distinct from %(org_id)s and priority = %(priority)s
    and endpoint is not distinct from %(endpoint)s::raw.endpoint
    and input_tokens_range = int4range(%(input_tokens_from)s::integer, %(input_tokens_until)s::integer) and tags = %(tags)s
    and effective @> %(instant)s::timestamptz

-- name: next_start
select min(lower(effective)) from control.prices
where model_id = %(model_id)s and org_id is not distinct from %(org_id)s and priority = %(priority)s
    and endpoint is not distinct from %(endpoint)s::raw.endpoint
    and input_tokens_range = int4range(%(input_tokens_from)s::integer, %(input_tokens_until)s::integer) and tags = %(tags)s
    and lower(effective) > %(instant)s

-- name: rival
-- Of other conditions and the same priority, for some of the same input tokens at some of the same time.
select id from control.prices
where model_id = %(model_id)s and org_id is not distinct from %(org_id)s and priority = %(priority)s
    and input_tokens_range && int4range(%(input_tokens_from)s::integer, %(input_tokens_until)s::integer)
    and effective && tstzrange(%(effective_from)s, %(effective_until)s)
    and (endpoint, input_tokens_range, tags) is distinct from
    (%(endpoint)s::raw.endpoint, int4range(%(input_tokens_from)s::integer, %(input_tokens_until)s::integer), %(tags)s::jsonb)
order by id
limit 1

-- name: base
-- What prices now all that the new version will: of the same conditions or of fewer, and behind it or in its place.
select id from control.prices
where model_id = %(model_id)s and (org_id is null or org_id = %(org_id)s) and effective @> %(instant)s::timestamptz
    and (endpoint is null or endpoint = %(endpoint)s::raw.endpoint)
    and input_tokens_range @> int4range(%(input_tokens_from)s::integer, %(input_tokens_until)s::integer) and tags <@ %(tags)s::jsonb
    and (org_id is not null, priority) <= (%(org_id)s::bigint is not null, %(priority)s)
order by org_id nulls last, priority desc
limit 1

-- name: cut
update control.prices set effective = tstzrange(lower(effective), %(instant)s) where id = %(id)s

-- name: add
insert into control.prices (
    model_id, org_id, input_picousd, cached_input_picousd, output_picousd, reasoning_picousd, request_picousd, priority, endpoint,
    input_tokens_range, tags, effective, reason
) values (
    %(model_id)s, %(org_id)s, %(input_picousd)s, %(cached_input_picousd)s, %(output_picousd)s, %(reasoning_picousd)s,
    %(request_picousd)s, %(priority)s, %(endpoint)s::raw.endpoint, int4range(%(input_tokens_from)s::integer, %(input_tokens_until)s::integer), %(tags)s,
    tstzrange(%(effective_from)s, %(effective_until)s), %(reason)s
)
returning id

-- name: remove
delete from control.prices where id = %(id)s

-- name: reopen
update control.prices set effective = tstzrange(lower(effective), %(until)s)
where model_id = %(model_id)s and org_id is not distinct from %(org_id)s and priority = %(priority)s
    and endpoint is not distinct from %(endpoint)s::raw.endpoint
    and input_tokens_range = int4range(%(input_tokens_from)s::integer, %(input_tokens_until)s::integer) and tags = %(tags)s
    and upper(effective) = %(instant)s

-- name: usage
select usage_rows, cost_picousd, cost_picousd_then
from control.preview_price(
    jsonb_populate_record(
        null::control.prices,
        jsonb_build_object(
            'model_id', %(model_id)s::integer, 'org_id', %(org_id)s::bigint, 'input_picousd', %(input_picousd)s::bigint,
            'cached_input_picousd', %(cached_input_picousd)s::bigint, 'output_picousd', %(output_picousd)s::bigint,
            'reasoning_picousd', %(reasoning_picousd)s::bigint, 'request_picousd', %(request_picousd)s::bigint,
            'priority', %(priority)s::smallint, 'endpoint', %(endpoint)s::text, 'tags', %(tags)s::jsonb,
            'input_tokens_range', int4range(%(input_tokens_from)s::integer, %(input_tokens_until)s::integer)
        )
    ),
    %(since)s
)

-- name: limit_time
select set_config('statement_timeout', %(milliseconds)s, true)
