-- name: find
select u.id, u.disabled_at
from control.users as u
where u.oidc_issuer = %(issuer)s and u.oidc_subject = %(subject)s

-- name: link
update control.users
set
    oidc_issuer = %(issuer)s, oidc_subject = %(subject)s, password_hash = null, totp_secret = null, totp_enabled_at = null,
    totp_step_last = null, recovery_hashes = '{}', version = version + 1
where lower(email) = lower(%(email)s) and oidc_issuer is null
returning id, disabled_at

-- name: end_sessions
update control.sessions set revoked_at = now() where user_id = %(user_id)s and revoked_at is null

-- name: add
insert into control.users (public_id, email, name, oidc_issuer, oidc_subject)
values (%(public_id)s, %(email)s, %(name)s, %(issuer)s, %(subject)s)
on conflict do nothing
returning id, disabled_at

-- name: organizations
select id, public_id
from control.organizations
where public_id = any(%(public_ids)s::text[]) and deleted_at is null
order by id
for no key update

-- name: memberships
select org_id, role, by_group from control.org_members where user_id = %(user_id)s

-- name: put_membership
insert into control.org_members (org_id, user_id, role, by_group) values (%(org_id)s, %(user_id)s, %(role)s, true)
on conflict (org_id, user_id) do update set role = excluded.role, version = control.org_members.version + 1
where control.org_members.by_group
