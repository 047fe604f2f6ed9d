-- name: page
select
    b.id, b.public_id, coalesce(b.project_id, k.project_id) as home_project_id, p.public_id as project,
    k.public_id as api_key, m.name as model,
    b.mode, b.requests_per_minute, b.input_tokens_per_minute, b.output_tokens_per_minute, b.requests_at_once, b.version, b.created_at
from control.limits as b
left join control.projects as p on p.id = b.project_id
left join control.api_keys as k on k.id = b.api_key_id
left join control.models as m on m.id = b.model_id
where b.org_id = %(org_id)s and b.deleted_at is null
    and (%(projects)s::bigint[] is null or coalesce(b.project_id, k.project_id) = any(%(projects)s::bigint[]))
    and (%(project)s::text is null or p.public_id = %(project)s)
    and (%(api_key)s::text is null or k.public_id = %(api_key)s)
    and (%(model)s::text is null or m.name = %(model)s)
    and (%(after)s::text is null or b.id > (select a.id from control.limits as a where a.public_id = %(after)s))
order by b.id
limit %(rows_max)s

-- name: find
select
    b.id, b.public_id, coalesce(b.project_id, k.project_id) as home_project_id, p.public_id as project,
    k.public_id as api_key, m.name as model,
    b.mode, b.requests_per_minute, b.input_tokens_per_minute, b.output_tokens_per_minute, b.requests_at_once, b.version, b.created_at
from control.limits as b
left join control.projects as p on p.id = b.project_id
left join control.api_keys as k on k.id = b.api_key_id
left join control.models as m on m.id = b.model_id
where b.org_id = %(org_id)s and b.public_id = %(public_id)s and b.deleted_at is null

-- name: lock
select from control.limits where org_id = %(org_id)s and public_id = %(public_id)s and deleted_at is null for update

-- name: add
insert into control.limits (
    public_id, org_id, project_id, api_key_id, model_id, mode,
    requests_per_minute, input_tokens_per_minute, output_tokens_per_minute, requests_at_once
) values (
    %(public_id)s, %(org_id)s, %(project_id)s, %(api_key_id)s, %(model_id)s, %(mode)s,
    %(requests_per_minute)s, %(input_tokens_per_minute)s, %(output_tokens_per_minute)s, %(requests_at_once)s
)

-- name: change
update control.limits
set mode = %(mode)s, requests_per_minute = %(requests_per_minute)s, input_tokens_per_minute = %(input_tokens_per_minute)s,
    output_tokens_per_minute = %(output_tokens_per_minute)s, requests_at_once = %(requests_at_once)s, version = version + 1
where org_id = %(org_id)s and public_id = %(public_id)s

-- name: remove
update control.limits set deleted_at = now(), version = version + 1 where org_id = %(org_id)s and public_id = %(public_id)s
