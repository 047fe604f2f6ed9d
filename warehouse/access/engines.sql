-- name: page
select e.id, e.name, e.kind, e.base_url, m.name as model, e.enabled, e.created_at, e.version
from control.engines as e
inner join control.models as m on m.id = e.model_id
where (%(after)s::text is null or e.name > %(after)s)
    and (%(model)s::text is null or m.name = %(model)s)
    and (%(enabled)s::boolean is null or e.enabled = %(enabled)s)
order by e.name
limit %(rows_max)s

-- name: find
select e.id, e.name, e.kind, e.base_url, m.name as model, e.enabled, e.created_at, e.version
from control.engines as e
inner join control.models as m on m.id = e.model_id
where e.name = %(name)s

-- name: lock
select e.id, e.name, e.kind, e.base_url, m.name as model, e.enabled, e.created_at, e.version
from control.engines as e
inner join control.models as m on m.id = e.model_id
where e.name = %(name)s
for update of e

-- name: add
insert into control.engines (name, kind, base_url, model_id)
values (%(name)s, %(kind)s, %(base_url)s, %(model_id)s)

-- name: change
update control.engines
set kind = %(kind)s, base_url = %(base_url)s, model_id = %(model_id)s, enabled = %(enabled)s, version = version + 1
where name = %(name)s
