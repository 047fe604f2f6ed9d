-- name: page
select
    d.id, o.public_id as organization, m.name as model, d.basis_points, lower(d.months) as first_month,
    (upper(d.months) - interval '1 month')::date as last_month, d.reason, d.created_at
from control.discounts as d
inner join control.organizations as o on o.id = d.org_id
left join control.models as m on m.id = d.model_id
where (%(organization)s::text is null or o.public_id = %(organization)s)
    and (%(model)s::text is null or m.name = %(model)s)
    and (%(after)s::integer is null or d.id < %(after)s)
order by d.id desc
limit %(rows_max)s

-- name: find
select
    d.id, o.public_id as organization, m.name as model, d.basis_points, lower(d.months) as first_month,
    (upper(d.months) - interval '1 month')::date as last_month, d.reason, d.created_at
from control.discounts as d
inner join control.organizations as o on o.id = d.org_id
left join control.models as m on m.id = d.model_id
where d.id = %(id)s

-- name: rival
-- For the same model, or for all, in some of the same months.
select id from control.discounts
where org_id = %(org_id)s and model_id is not distinct from %(model_id)s
    and months && daterange(%(first)s::date, %(end)s::date)
order by id
limit 1

-- name: in_month
-- Any that one for this model, or for all, would take the place of or stand beside.
select id from control.discounts
where org_id = %(org_id)s and (model_id is null or model_id = %(model_id)s) and months @> %(month)s::date
order by id
limit 1

-- name: add
insert into control.discounts (org_id, model_id, basis_points, months, reason)
values (%(org_id)s, %(model_id)s, %(basis_points)s, daterange(%(first)s::date, %(end)s::date), %(reason)s)
returning id

-- name: cut
update control.discounts set months = daterange(lower(months), %(end)s::date) where id = %(id)s

-- name: remove
delete from control.discounts where id = %(id)s
