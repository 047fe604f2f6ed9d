-- name: page
select i.id, i.public_id, i.org_id, i.email, i.role, i.projects, i.invited_by, i.created_at, i.expires_at, i.accepted_at, i.revoked_at,
    i.version
from control.invites as i
where i.org_id = %(org_id)s
    and (%(email)s::text is null or lower(i.email) = lower(%(email)s))
    and (%(status)s::text is null or %(status)s = case
        when i.accepted_at is not null then 'accepted'
        when coalesce(i.revoked_at, now()) >= i.expires_at then 'expired'
        when i.revoked_at is not null then 'revoked'
        else 'pending'
    end)
    and (%(after)s::text is null or i.id > (select a.id from control.invites as a where a.public_id = %(after)s))
order by i.id
limit %(rows_max)s

-- name: find
select id, public_id, org_id, email, role, projects, invited_by, created_at, expires_at, accepted_at, revoked_at, version
from control.invites
where org_id = %(org_id)s and public_id = %(public_id)s

-- name: lock
select id, public_id, org_id, email, role, projects, invited_by, created_at, expires_at, accepted_at, revoked_at, version
from control.invites
where org_id = %(org_id)s and public_id = %(public_id)s
for no key update

-- name: find_open
select id, public_id, org_id, email, role, projects, invited_by, created_at, expires_at, accepted_at, revoked_at, version
from control.invites
where org_id = %(org_id)s and lower(email) = lower(%(email)s) and accepted_at is null and revoked_at is null
for no key update

-- name: member_with_email
select u.public_id
from control.org_members as m
inner join control.users as u on u.id = m.user_id
where m.org_id = %(org_id)s and lower(u.email) = lower(%(email)s)

-- name: add
insert into control.invites (public_id, org_id, email, role, projects, token_hash, invited_by, expires_at)
values (
    %(public_id)s, %(org_id)s, %(email)s, %(role)s, %(projects)s, %(token_hash)s, %(invited_by)s,
    now() + make_interval(days => %(days)s::integer)
)
returning id, public_id, org_id, email, role, projects, invited_by, created_at, expires_at, accepted_at, revoked_at, version

-- name: renew
update control.invites
set token_hash = %(token_hash)s, expires_at = now() + make_interval(days => %(days)s::integer), version = version + 1
where org_id = %(org_id)s and id = %(invite_id)s
returning id, public_id, org_id, email, role, projects, invited_by, created_at, expires_at, accepted_at, revoked_at, version

-- name: revoke
update control.invites set revoked_at = now(), version = version + 1
where org_id = %(org_id)s and id = %(invite_id)s
returning id, public_id, org_id, email, role, projects, invited_by, created_at, expires_at, accepted_at, revoked_at, version

-- name: accept
update control.invites set accepted_at = now(), version = version + 1
where org_id = %(org_id)s and id = %(invite_id)s
returning id, public_id, org_id, email, role, projects, invited_by, created_at, expires_at, accepted_at, revoked_at, version

-- name: lock_by_token
select id, public_id, org_id, email, role, projects, invited_by, created_at, expires_at, accepted_at, revoked_at, version
from control.invites
where token_hash = %(token_hash)s
for no key update

-- name: find_by_token
select id, public_id, org_id, email, role, projects, invited_by, created_at, expires_at, accepted_at, revoked_at, version
from control.invites
where token_hash = %(token_hash)s

-- name: host
select public_id, name, suspended_at is not null as suspended, deleted_at is not null as deleted
from control.organizations
where id = %(org_id)s

-- name: person
select id, disabled_at is not null as disabled from control.users where lower(email) = lower(%(email)s)

-- name: add_user
insert into control.users (public_id, email, name, password_hash)
values (%(public_id)s, %(email)s, %(name)s, %(password_hash)s)
on conflict do nothing
returning id

-- name: add_member
insert into control.org_members (org_id, user_id, role) values (%(org_id)s, %(user_id)s, %(role)s)
on conflict do nothing
returning user_id
