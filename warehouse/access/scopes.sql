-- name: resolve
select
    (
        select p.id from control.projects as p
        where p.org_id = %(org_id)s and p.public_id = %(project)s and p.archived_at is null
    ) as project_id,
    (
        select m.user_id
        from control.org_members as m
        inner join control.users as u on u.id = m.user_id
        where m.org_id = %(org_id)s and u.public_id = %(user)s
    ) as user_id,
    (
        select s.id from control.service_accounts as s
        where s.org_id = %(org_id)s and s.public_id = %(service_account)s and s.deleted_at is null
    ) as service_account_id,
    (
        select k.id from control.api_keys as k
        where k.org_id = %(org_id)s and k.public_id = %(api_key)s and k.revoked_at is null
    ) as api_key_id,
    (select m.id from control.models as m where m.name = %(model)s and m.retired_at is null) as model_id

-- name: lock_organization
select from control.organizations where id = %(org_id)s for no key update

-- name: budgets_alike
select count(*) from control.budgets as b
where b.org_id = %(org_id)s and b.deleted_at is null
    and b.project_id is not distinct from %(project_id)s::bigint and b.user_id is not distinct from %(user_id)s::bigint
    and b.service_account_id is not distinct from %(service_account_id)s::bigint
    and b.api_key_id is not distinct from %(api_key_id)s::bigint and b.model_id is not distinct from %(model_id)s::bigint

-- name: limits_alike
select count(*) from control.limits as b
where b.org_id = %(org_id)s and b.deleted_at is null
    and b.project_id is not distinct from %(project_id)s::bigint
    and b.api_key_id is not distinct from %(api_key_id)s::bigint and b.model_id is not distinct from %(model_id)s::bigint
