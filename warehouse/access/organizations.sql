-- name: page
select id, public_id, name, time_zone, queue_weight, suspended_at, created_at, version
from control.organizations
where deleted_at is null
    and (%(name)s::text is null or starts_with(lower(name), lower(%(name)s)))
    and (%(suspended)s::boolean is null or (suspended_at is not null) = %(suspended)s)
    and (%(after)s::text is null or id > (select a.id from control.organizations as a where a.public_id = %(after)s))
order by id
limit %(rows_max)s

-- name: knows_zone
select now() at time zone %(time_zone)s::text

-- name: add
insert into control.organizations (public_id, name, time_zone) values (%(public_id)s, %(name)s, %(time_zone)s)
returning id, public_id, name, time_zone, queue_weight, suspended_at, created_at, version

-- name: add_owner
insert into control.org_members (org_id, user_id, role)
select %(org_id)s, u.id, 'owner' from control.users as u
where lower(u.email) = lower(%(email)s) and u.disabled_at is null
returning user_id

-- name: lock
select id, public_id, name, time_zone, queue_weight, suspended_at, created_at, version
from control.organizations
where public_id = %(public_id)s and deleted_at is null
for no key update

-- name: update
update control.organizations
set
    name = coalesce(%(name)s, name),
    time_zone = coalesce(%(time_zone)s, time_zone),
    queue_weight = coalesce(%(queue_weight)s, queue_weight),
    version = version + 1
where id = %(org_id)s
returning id, public_id, name, time_zone, queue_weight, suspended_at, created_at, version

-- name: suspend
update control.organizations
set suspended_at = case when %(suspended)s then now() end, version = version + 1
where id = %(org_id)s
returning id, public_id, name, time_zone, queue_weight, suspended_at, created_at, version

-- name: remove
update control.organizations set deleted_at = now(), version = version + 1
where id = %(org_id)s
returning id, public_id, name, time_zone, queue_weight, suspended_at, created_at, version
