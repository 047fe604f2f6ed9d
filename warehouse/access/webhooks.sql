-- name: page
select
    w.id, w.public_id, w.name, w.url, w.event_types, w.enabled, w.secret_serial, w.previous_secret_until, w.version, w.created_at
from control.webhooks as w
where w.org_id = %(org_id)s and w.deleted_at is null
    and (%(after)s::text is null or w.id > (select a.id from control.webhooks as a where a.public_id = %(after)s))
order by w.id
limit %(rows_max)s

-- name: find
select
    w.id, w.public_id, w.name, w.url, w.event_types, w.enabled, w.secret_serial, w.previous_secret_until, w.version, w.created_at
from control.webhooks as w
where w.org_id = %(org_id)s and w.public_id = %(public_id)s and w.deleted_at is null

-- name: lock
select from control.webhooks where org_id = %(org_id)s and public_id = %(public_id)s and deleted_at is null for update

-- name: count
select count(*) from control.webhooks where org_id = %(org_id)s and deleted_at is null

-- name: lock_organization
select from control.organizations where id = %(org_id)s for no key update

-- name: add
insert into control.webhooks (public_id, org_id, name, url, event_types, enabled)
values (%(public_id)s, %(org_id)s, %(name)s, %(url)s, %(event_types)s, %(enabled)s)

-- name: change
update control.webhooks
set name = %(name)s, url = %(url)s, event_types = %(event_types)s, enabled = %(enabled)s, version = version + 1
where org_id = %(org_id)s and public_id = %(public_id)s

-- name: rotate
update control.webhooks
set
    secret_serial = secret_serial + 1,
    previous_secret_until = now() + make_interval(secs => %(grace_s)s),
    version = version + 1
where org_id = %(org_id)s and public_id = %(public_id)s

-- name: remove
update control.webhooks set deleted_at = now(), version = version + 1 where org_id = %(org_id)s and public_id = %(public_id)s

-- name: recipients
select r.roles, r.emails, r.version from control.alert_recipients as r where r.org_id = %(org_id)s

-- name: put_recipients
insert into control.alert_recipients (org_id, roles, emails) values (%(org_id)s, %(roles)s, %(emails)s)
on conflict (org_id) do update
set roles = excluded.roles, emails = excluded.emails, version = alert_recipients.version + 1
returning roles, emails, version
