-- name: find_by_public_ids
select
    k.id, k.public_id, k.secret_hash, k.previous_secret_hash, k.previous_secret_until, k.kind, k.org_id, k.project_id, k.user_id,
    k.service_account_id, m.role as owner_role, k.scopes, k.expires_at, k.cidrs::text[] as cidrs, k.choices_max, k.output_tokens_max,
    o.key_cidrs::text[] as organization_cidrs, coalesce(o.answers_kept_s, 0) as answers_kept_s, coalesce(o.queue_weight, 1) as queue_weight,
    case
        when o.key_models is null then k.models
        when k.models is null then o.key_models
        else array(select unnest(k.models) intersect select unnest(o.key_models))
    end as models
from control.api_keys as k
left join control.organizations as o on o.id = k.org_id
left join control.projects as p on p.id = k.project_id
left join control.users as u on u.id = k.user_id
left join control.org_members as m on m.org_id = k.org_id and m.user_id = k.user_id
left join control.service_accounts as s on s.id = k.service_account_id
where k.public_id = any(%(public_ids)s)
    and k.revoked_at is null
    and (k.expires_at is null or k.expires_at > now())
    and o.suspended_at is null
    and o.deleted_at is null
    and p.archived_at is null
    and u.disabled_at is null
    and s.deleted_at is null
    and (k.user_id is null or u.platform_admin or m.user_id is not null)

-- name: note_uses
with free as (
    select id from control.api_keys where id = any(%(ids)s::bigint[]) order by id for no key update skip locked
)
update control.api_keys as k
set last_used_at = used.at
from unnest(%(ids)s::bigint[], %(instants)s::timestamptz[]) as used (id, at)
inner join free on free.id = used.id
where k.id = used.id and (k.last_used_at is null or k.last_used_at < used.at)

-- name: add
insert into control.api_keys (
    public_id, secret_hash, kind, name, org_id, project_id, user_id, service_account_id, scopes, models, cidrs,
    choices_max, output_tokens_max, expires_at, created_by
) values (
    %(public_id)s, %(secret_hash)s, %(kind)s, %(name)s, %(org_id)s, %(project_id)s, %(user_id)s, %(service_account_id)s,
    %(scopes)s, %(models)s, %(cidrs)s::cidr[], %(choices_max)s, %(output_tokens_max)s, %(expires_at)s, %(created_by)s
) returning id

-- name: ids_of_project
select id from control.api_keys
where org_id = %(org_id)s and project_id = %(project_id)s and kind = 'inference'
    and (%(user_id)s::bigint is null or user_id = %(user_id)s)
    and (%(service_account_id)s::bigint is null or service_account_id = %(service_account_id)s)
    and (%(owner)s::text is null or (%(owner)s = 'user' and user_id is not null)
        or (%(owner)s = 'service_account' and service_account_id is not null))
    and (%(include_revoked)s or revoked_at is null)
    and (%(after)s::text is null or id > (
        select a.id from control.api_keys as a where a.public_id = %(after)s and a.org_id = %(org_id)s
    ))
order by id
limit %(rows_max)s

-- name: ids_of_organization
select id from control.api_keys
where org_id = %(org_id)s and project_id is null and kind = 'admin'
    and (%(include_revoked)s or revoked_at is null)
    and (%(after)s::text is null or id > (
        select a.id from control.api_keys as a where a.public_id = %(after)s and a.org_id = %(org_id)s
    ))
order by id
limit %(rows_max)s

-- name: ids_of_platform
select id from control.api_keys
where org_id is null and project_id is null and kind = 'platform'
    and (%(include_revoked)s or revoked_at is null)
    and (%(after)s::text is null or id > (select a.id from control.api_keys as a where a.public_id = %(after)s))
order by id
limit %(rows_max)s

-- name: find_id
select id from control.api_keys
where public_id = %(public_id)s and kind = %(kind)s and org_id is not distinct from %(org_id)s::bigint
    and project_id is not distinct from %(project_id)s::bigint

-- name: lock_id
select id from control.api_keys
where public_id = %(public_id)s and kind = %(kind)s and org_id is not distinct from %(org_id)s::bigint
    and project_id is not distinct from %(project_id)s::bigint
for update

-- name: rows
select
    k.id, k.public_id, k.kind, k.name, k.scopes, k.models, k.cidrs::text[] as cidrs, k.choices_max, k.output_tokens_max,
    k.created_at, k.expires_at, k.revoked_at, k.rotated_at, k.previous_secret_until, k.last_used_at, k.created_by, k.version, k.user_id,
    u.public_id as user_public_id, u.name as user_name, u.email as user_email, u.created_at as user_created_at,
    coalesce(pm.role, m.role) as user_role,
    s.public_id as service_account_public_id, s.name as service_account_name, s.role as service_account_role,
    s.created_at as service_account_created_at, p.public_id as project,
    case
        when k.revoked_at is not null then 'revoked'
        when k.expires_at <= now() then 'expired'
        when o.suspended_at is not null or o.deleted_at is not null then 'organization_suspended'
        when p.archived_at is not null then 'project_archived'
        when u.disabled_at is not null then 'user_disabled'
        when s.deleted_at is not null then 'service_account_deleted'
        when k.user_id is not null and not u.platform_admin and m.user_id is null then 'user_removed'
        else 'active'
    end as status
from control.api_keys as k
left join control.organizations as o on o.id = k.org_id
left join control.projects as p on p.id = k.project_id
left join control.users as u on u.id = k.user_id
left join control.org_members as m on m.org_id = k.org_id and m.user_id = k.user_id
left join control.project_members as pm on pm.project_id = k.project_id and pm.user_id = k.user_id
left join control.service_accounts as s on s.id = k.service_account_id
where k.id = any(%(ids)s) and k.org_id is not distinct from %(org_id)s::bigint
order by k.id

-- name: change
update control.api_keys
set name = %(name)s, scopes = %(scopes)s, models = %(models)s, cidrs = %(cidrs)s::cidr[],
    choices_max = %(choices_max)s, output_tokens_max = %(output_tokens_max)s, expires_at = %(expires_at)s, version = version + 1
where id = %(id)s and org_id is not distinct from %(org_id)s::bigint

-- name: rotate
update control.api_keys
set previous_secret_hash = case when %(grace_s)s > 0 then secret_hash end,
    previous_secret_until = case when %(grace_s)s > 0 then now() + make_interval(secs => %(grace_s)s) end,
    secret_hash = %(secret_hash)s, rotated_at = now(), version = version + 1
where id = %(id)s and org_id is not distinct from %(org_id)s::bigint

-- name: revoke
update control.api_keys set revoked_at = now(), version = version + 1
where id = %(id)s and org_id is not distinct from %(org_id)s::bigint and revoked_at is null

-- name: revoke_of_user
update control.api_keys set revoked_at = now(), version = version + 1
where org_id = %(org_id)s and user_id = %(user_id)s and revoked_at is null

-- name: revoke_of_user_in_project
update control.api_keys set revoked_at = now(), version = version + 1
where org_id = %(org_id)s and project_id = %(project_id)s and user_id = %(user_id)s and revoked_at is null

-- name: revoke_of_service_account
update control.api_keys set revoked_at = now(), version = version + 1
where org_id = %(org_id)s and service_account_id = %(service_account_id)s and revoked_at is null

-- name: lock_member
select from control.org_members where org_id = %(org_id)s and user_id = %(user_id)s for no key update

-- name: count_of_member
select count(*) from control.api_keys
where org_id = %(org_id)s and user_id = %(user_id)s and kind = 'inference' and revoked_at is null
    and (expires_at is null or expires_at > now())

-- name: caps
select key_days_max, keys_per_member_max, key_models, key_cidrs::text[] as key_cidrs
from control.organizations
where id = %(org_id)s

-- name: names_in_service
select name from control.models where retired_at is null
union
select name from control.model_aliases where deleted_at is null and (org_id is null or org_id = %(org_id)s)

-- name: find_owner
select
    (
        select s.id from control.service_accounts as s
        where s.org_id = %(org_id)s and s.project_id = %(project_id)s and s.public_id = %(public_id)s and s.deleted_at is null
    ) as service_account_id,
    (
        select u.id from control.users as u
        inner join control.org_members as m on m.user_id = u.id
        where m.org_id = %(org_id)s and u.public_id = %(public_id)s
    ) as user_id
