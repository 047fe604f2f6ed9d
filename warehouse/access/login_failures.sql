-- name: count_attempt
-- The attempt is counted before the password is looked at: of many at once no more than are free get through.
insert into control.login_failures as f (subject, failures, last_at) values (%(subject)s, 1, now())
on conflict (subject) do update
set failures = case when f.last_at < now() - %(window)s::interval then 1 else f.failures + 1 end,
    last_at = now(),
    blocked_until = case
        when f.last_at < now() - %(window)s::interval or f.failures + 1 < %(free)s::integer then null
        else now() + least(%(blocked_s_max)s::integer, power(2, least(f.failures + 1 - %(free)s::integer, 30))) * interval '1 second'
    end
where f.blocked_until is null or f.blocked_until <= now()
returning failures

-- name: blocked_s
select ceil(extract(epoch from f.blocked_until - now()))::integer as blocked_s
from control.login_failures as f
where f.subject = %(subject)s and f.blocked_until > now()

-- name: forgive
update control.login_failures set failures = greatest(failures - 1, 0), blocked_until = null
where subject = %(subject)s

-- name: forget
delete from control.login_failures where subject = %(subject)s

-- name: remove_old
delete from control.login_failures where last_at < now() - interval '1 day'
