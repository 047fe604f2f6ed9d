-- name: find_user_by_email
select id, public_id, email, name, password_hash, platform_admin
from control.users
where lower(email) = lower(%(email)s) and disabled_at is null

-- name: find_user
select id, public_id, email, name, password_hash, platform_admin
from control.users
where id = %(user_id)s and disabled_at is null

-- name: list_memberships
select o.id as org_id, o.public_id, o.name, o.time_zone, m.role
from control.org_members as m
inner join control.organizations as o on o.id = m.org_id
where m.user_id = %(user_id)s and o.suspended_at is null and o.deleted_at is null
order by o.name

-- name: list_organizations
select o.id as org_id, o.public_id, o.name, o.time_zone, 'platform_admin' as role
from control.organizations as o
where o.suspended_at is null and o.deleted_at is null
order by o.name
limit %(rows_max)s
