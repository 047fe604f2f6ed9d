-- name: add
insert into control.sessions (public_id, user_id, expires_at, method, second_factor, ip, user_agent)
values (%(public_id)s, %(user_id)s, %(expires_at)s, %(method)s, %(second_factor)s, %(ip)s, left(%(user_agent)s, 300))
returning id

-- name: remove_old
delete from control.sessions where expires_at < now() - interval '90 days'

-- name: find
select
    s.id, s.public_id, s.serial, s.rotated_at, s.created_at, s.expires_at, s.method, s.second_factor, host(s.ip) as ip, s.user_agent,
    u.id as user_id, u.public_id as user_public_id, u.email, u.name, u.platform_admin, u.totp_enabled_at
from control.sessions as s
inner join control.users as u on u.id = s.user_id
where s.public_id = %(public_id)s and s.revoked_at is null and s.expires_at > now() and u.disabled_at is null

-- name: rotate
update control.sessions set serial = serial + 1, rotated_at = now()
where id = %(session_id)s and serial = %(serial)s and revoked_at is null
returning serial

-- name: revoke
update control.sessions set revoked_at = now()
where public_id = %(public_id)s and user_id = %(user_id)s and revoked_at is null
returning id

-- name: revoke_others
update control.sessions set revoked_at = now()
where user_id = %(user_id)s and id <> %(session_id)s and revoked_at is null and expires_at > now()
returning id

-- name: confirm_second_factor
update control.sessions set second_factor = true where id = %(session_id)s

-- name: page
select id, public_id, created_at, expires_at, method, second_factor, host(ip) as ip, user_agent
from control.sessions
where user_id = %(user_id)s and revoked_at is null and expires_at > now()
    and (%(after)s::text is null or id < (select a.id from control.sessions as a where a.public_id = %(after)s))
order by id desc
limit %(rows_max)s
