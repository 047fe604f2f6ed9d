-- name: page
select
    e.id, e.name, e.kind, e.base_url, m.name as model, e.enabled, e.created_at, e.version, e.weight, e.requests_at_once,
    e.served_model, e.sealed_key, e.canary_percent, e.canary_stopped_at, e.canary_stopped_why, e.gpus, e.gpu_hour_picousd
from control.engines as e
inner join control.models as m on m.id = e.model_id
where (%(after)s::text is null or e.name > %(after)s)
    and (%(model)s::text is null or m.name = %(model)s)
    and (%(enabled)s::boolean is null or e.enabled = %(enabled)s)
order by e.name
limit %(rows_max)s

-- name: find
select
    e.id, e.name, e.kind, e.base_url, m.name as model, e.enabled, e.created_at, e.version, e.weight, e.requests_at_once,
    e.served_model, e.sealed_key, e.canary_percent, e.canary_stopped_at, e.canary_stopped_why, e.gpus, e.gpu_hour_picousd
from control.engines as e
inner join control.models as m on m.id = e.model_id
where e.name = %(name)s

-- name: lock
select
    e.id, e.name, e.kind, e.base_url, m.name as model, e.enabled, e.created_at, e.version, e.weight, e.requests_at_once,
    e.served_model, e.sealed_key, e.canary_percent, e.canary_stopped_at, e.canary_stopped_why, e.gpus, e.gpu_hour_picousd
from control.engines as e
inner join control.models as m on m.id = e.model_id
where e.name = %(name)s
for update of e

-- name: add
insert into control.engines (
    name, kind, base_url, model_id, weight, requests_at_once, served_model, sealed_key, canary_percent, gpus, gpu_hour_picousd
) values (
    %(name)s, %(kind)s, %(base_url)s, %(model_id)s, %(weight)s, %(requests_at_once)s, %(served_model)s, %(sealed_key)s,
    %(canary_percent)s, %(gpus)s, %(gpu_hour_picousd)s
)

-- name: change
-- A canary that was stopped goes on when somebody says anew what its share is.
update control.engines
set kind = %(kind)s, base_url = %(base_url)s, model_id = %(model_id)s, enabled = %(enabled)s, weight = %(weight)s,
    requests_at_once = %(requests_at_once)s, served_model = %(served_model)s, sealed_key = %(sealed_key)s,
    canary_percent = %(canary_percent)s, gpus = %(gpus)s, gpu_hour_picousd = %(gpu_hour_picousd)s,
    canary_stopped_at = case when %(canary_said)s then null else canary_stopped_at end,
    canary_stopped_why = case when %(canary_said)s then null else canary_stopped_why end,
    version = version + 1
where name = %(name)s
