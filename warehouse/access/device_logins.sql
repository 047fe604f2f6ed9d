-- name: add
insert into control.device_logins (device_code_hash, user_code, expires_at, ip, user_agent)
values (%(device_code_hash)s, %(user_code)s, %(expires_at)s, %(ip)s, left(%(user_agent)s, 300))
on conflict (user_code) do nothing
returning id

-- name: remove_ended
delete from control.device_logins where expires_at < now() - interval '1 hour'

-- name: poll
update control.device_logins as d set polled_at = now()
from (
    select o.id, o.polled_at from control.device_logins as o where o.device_code_hash = %(device_code_hash)s for update
) as before
where d.id = before.id
returning d.id, d.user_id, d.second_factor, d.approved_at, d.denied_at, d.expires_at, before.polled_at as polled_before_at

-- name: remove
delete from control.device_logins where id = %(login_id)s returning id

-- name: find
select host(ip) as ip, user_agent, created_at
from control.device_logins
where user_code = %(user_code)s and expires_at > now() and approved_at is null and denied_at is null

-- name: approve
update control.device_logins set user_id = %(user_id)s, second_factor = %(second_factor)s, approved_at = now()
where user_code = %(user_code)s and expires_at > now() and approved_at is null and denied_at is null
returning id

-- name: deny
update control.device_logins set denied_at = now()
where user_code = %(user_code)s and expires_at > now() and approved_at is null and denied_at is null
returning id
