-- name: page
select
    b.id, b.public_id, coalesce(b.project_id, k.project_id, s.project_id) as home_project_id, p.public_id as project,
    u.public_id as "user", s.public_id as service_account, k.public_id as api_key, m.name as model,
    b.period, b.limit_picousd, b.raised_limit_picousd, b.raised_until,
    case when b.raised_until > now() then greatest(b.limit_picousd, b.raised_limit_picousd) else b.limit_picousd end as limit_in_force_picousd,
    b.mode, b.alert_percents, b.version, b.created_at
from control.budgets as b
left join control.projects as p on p.id = b.project_id
left join control.users as u on u.id = b.user_id
left join control.service_accounts as s on s.id = b.service_account_id
left join control.api_keys as k on k.id = b.api_key_id
left join control.models as m on m.id = b.model_id
where b.org_id = %(org_id)s and b.deleted_at is null
    and (%(projects)s::bigint[] is null or coalesce(b.project_id, k.project_id, s.project_id) = any(%(projects)s::bigint[]))
    and (%(project)s::text is null or p.public_id = %(project)s)
    and (%(user)s::text is null or u.public_id = %(user)s)
    and (%(service_account)s::text is null or s.public_id = %(service_account)s)
    and (%(api_key)s::text is null or k.public_id = %(api_key)s)
    and (%(model)s::text is null or m.name = %(model)s)
    and (%(after)s::text is null or b.id > (select a.id from control.budgets as a where a.public_id = %(after)s))
order by b.id
limit %(rows_max)s

-- name: find
select
    b.id, b.public_id, coalesce(b.project_id, k.project_id, s.project_id) as home_project_id, p.public_id as project,
    u.public_id as "user", s.public_id as service_account, k.public_id as api_key, m.name as model,
    b.period, b.limit_picousd, b.raised_limit_picousd, b.raised_until,
    case when b.raised_until > now() then greatest(b.limit_picousd, b.raised_limit_picousd) else b.limit_picousd end as limit_in_force_picousd,
    b.mode, b.alert_percents, b.version, b.created_at
from control.budgets as b
left join control.projects as p on p.id = b.project_id
left join control.users as u on u.id = b.user_id
left join control.service_accounts as s on s.id = b.service_account_id
left join control.api_keys as k on k.id = b.api_key_id
left join control.models as m on m.id = b.model_id
where b.org_id = %(org_id)s and b.public_id = %(public_id)s and b.deleted_at is null

-- name: lock
select from control.budgets where org_id = %(org_id)s and public_id = %(public_id)s and deleted_at is null for update

-- name: add
insert into control.budgets (
    public_id, org_id, project_id, user_id, service_account_id, api_key_id, model_id, period, limit_picousd, mode, alert_percents
) values (
    %(public_id)s, %(org_id)s, %(project_id)s, %(user_id)s, %(service_account_id)s, %(api_key_id)s, %(model_id)s,
    %(period)s, %(limit_picousd)s, %(mode)s, %(alert_percents)s
)

-- name: change
update control.budgets
set limit_picousd = %(limit_picousd)s, raised_limit_picousd = %(raised_limit_picousd)s, raised_until = %(raised_until)s,
    mode = %(mode)s, alert_percents = %(alert_percents)s, version = version + 1
where org_id = %(org_id)s and public_id = %(public_id)s

-- name: remove
update control.budgets set deleted_at = now(), version = version + 1 where org_id = %(org_id)s and public_id = %(public_id)s
