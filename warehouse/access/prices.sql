-- name: page
select
    p.id, m.name as model, o.public_id as organization, p.input_picousd, p.cached_input_picousd, p.output_picousd,
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
    lower(p.effective) as effective_from, upper(p.effective) as effective_until, p.reason, p.created_at
from control.prices as p
inner join control.models as m on m.id = p.model_id
left join control.organizations as o on o.id = p.org_id
where p.id = %(id)s

-- name: now
select clock_timestamp()

-- name: find_organization
select id from control.organizations where public_id = %(organization)s and deleted_at is null

-- name: starts_at
select id from control.prices
where model_id = %(model_id)s and org_id is not distinct from %(org_id)s and lower(effective) = %(instant)s

-- name: next_start
select min(lower(effective)) from control.prices
where model_id = %(model_id)s and org_id is not distinct from %(org_id)s and lower(effective) > %(instant)s

-- name: close
update control.prices set effective = tstzrange(lower(effective), %(instant)s)
where model_id = %(model_id)s and org_id is not distinct from %(org_id)s
    and lower(effective) < %(instant)s and effective @> %(instant)s::timestamptz
returning id

-- name: add
insert into control.prices (model_id, org_id, input_picousd, cached_input_picousd, output_picousd, effective, reason)
values (
    %(model_id)s, %(org_id)s, %(input_picousd)s, %(cached_input_picousd)s, %(output_picousd)s,
    tstzrange(%(effective_from)s, %(effective_until)s), %(reason)s
)
returning id

-- name: remove
delete from control.prices where id = %(id)s

-- name: reopen
update control.prices set effective = tstzrange(lower(effective), %(until)s)
where model_id = %(model_id)s and org_id is not distinct from %(org_id)s and upper(effective) = %(instant)s
returning id
