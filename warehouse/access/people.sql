-- name: find_user_by_email
select id, public_id, email, name, password_hash, platform_admin, totp_secret, totp_enabled_at, totp_step_last, recovery_hashes
from control.users
where lower(email) = lower(%(email)s) and disabled_at is null

-- name: find_user
select id, public_id, email, name, password_hash, platform_admin, totp_secret, totp_enabled_at, totp_step_last, recovery_hashes
from control.users
where id = %(user_id)s and disabled_at is null

-- name: list_memberships
select o.id as org_id, o.public_id, o.name, o.time_zone, m.role, o.totp_required
from control.org_members as m
inner join control.organizations as o on o.id = m.org_id
where m.user_id = %(user_id)s and o.suspended_at is null and o.deleted_at is null
order by o.name

-- name: list_organizations
select o.id as org_id, o.public_id, o.name, o.time_zone, 'platform_admin' as role, o.totp_required
from control.organizations as o
where o.suspended_at is null and o.deleted_at is null
order by o.name
limit %(rows_max)s

-- name: lock_user
select id, public_id, email, name, password_hash, platform_admin, totp_secret, totp_enabled_at, totp_step_last, recovery_hashes
from control.users
where id = %(user_id)s and disabled_at is null
for no key update

-- name: set_password
update control.users set password_hash = %(password_hash)s, version = version + 1 where id = %(user_id)s

-- name: set_totp_secret
update control.users
set totp_secret = %(totp_secret)s, totp_enabled_at = null, totp_step_last = null, recovery_hashes = '{}', version = version + 1
where id = %(user_id)s and totp_enabled_at is null

-- name: enable_totp
update control.users
set totp_enabled_at = now(), totp_step_last = %(step)s, recovery_hashes = %(recovery_hashes)s, version = version + 1
where id = %(user_id)s

-- name: disable_totp
update control.users
set totp_secret = null, totp_enabled_at = null, totp_step_last = null, recovery_hashes = '{}', version = version + 1
where id = %(user_id)s

-- name: use_totp_step
update control.users set totp_step_last = %(step)s
where id = %(user_id)s and (totp_step_last is null or totp_step_last < %(step)s)
returning id

-- name: use_recovery_code
update control.users set recovery_hashes = array_remove(recovery_hashes, %(recovery_hash)s)
where id = %(user_id)s and %(recovery_hash)s = any(recovery_hashes)
returning id
