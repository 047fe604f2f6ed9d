-- name: lock
select id, public_id, name, time_zone, suspended_at, created_at, version
from control.organizations
where public_id = %(public_id)s and deleted_at is null
for no key update

-- name: update
update control.organizations
set name = coalesce(%(name)s, name), time_zone = coalesce(%(time_zone)s, time_zone), version = version + 1
where id = %(org_id)s
returning id, public_id, name, time_zone, suspended_at, created_at, version

-- name: suspend
update control.organizations
set suspended_at = case when %(suspended)s then now() end, version = version + 1
where id = %(org_id)s
returning id, public_id, name, time_zone, suspended_at, created_at, version

-- name: remove
update control.organizations set deleted_at = now(), version = version + 1
where id = %(org_id)s
returning id, public_id, name, time_zone, suspended_at, created_at, version
