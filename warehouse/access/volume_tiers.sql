-- name: page
select
    t.id, m.name as model, o.public_id as organization, t.token_class, t.above_quantity, t.basis_points,
    lower(t.months) as first_month, (upper(t.months) - interval '1 month')::date as last_month, t.reason, t.created_at
from control.volume_tiers as t
inner join control.models as m on m.id = t.model_id
left join control.organizations as o on o.id = t.org_id
where (%(organization)s::text is null or o.public_id = %(organization)s)
    and (not %(for_all)s or t.org_id is null)
    and (%(model)s::text is null or m.name = %(model)s)
    and (%(after)s::integer is null or t.id < %(after)s)
order by t.id desc
limit %(rows_max)s

-- name: find
select
    t.id, m.name as model, o.public_id as organization, t.token_class, t.above_quantity, t.basis_points,
    lower(t.months) as first_month, (upper(t.months) - interval '1 month')::date as last_month, t.reason, t.created_at
from control.volume_tiers as t
inner join control.models as m on m.id = t.model_id
left join control.organizations as o on o.id = t.org_id
where t.id = %(id)s

-- name: rival
-- Above the same quantity in some of the same months.
select id from control.volume_tiers
where model_id = %(model_id)s and org_id is not distinct from %(org_id)s and token_class = %(token_class)s
    and above_quantity = %(above_quantity)s and months && daterange(%(first)s::date, %(end)s::date)
order by id
limit 1

-- name: in_month
-- Any that one of this model and class would take something from.
select id from control.volume_tiers
where model_id = %(model_id)s and (org_id is null or org_id = %(org_id)s)
    and token_class = %(token_class)s and months @> %(month)s::date
order by id
limit 1

-- name: add
insert into control.volume_tiers (model_id, org_id, token_class, above_quantity, basis_points, months, reason)
values (
    %(model_id)s, %(org_id)s, %(token_class)s, %(above_quantity)s, %(basis_points)s,
    daterange(%(first)s::date, %(end)s::date), %(reason)s
)
returning id

-- name: cut
update control.volume_tiers set months = daterange(lower(months), %(end)s::date) where id = %(id)s

-- name: remove
delete from control.volume_tiers where id = %(id)s

-- name: this_month
-- The month that an organization is in; for everybody, the one that the first of all zones is in: it has begun somewhere.
select
    date_trunc(
        'month',
        clock_timestamp() at time zone coalesce(
            (select o.time_zone from control.organizations as o where o.id = %(org_id)s), 'Pacific/Kiritimati'
        )
    )::date as month
