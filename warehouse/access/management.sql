-- name: see_organization
select set_config('inferhouse.org_id', coalesce(%(org_id)s::text, ''), true),
    set_config('inferhouse.platform', %(platform)s, true)

-- name: find_answer
select request_hash, status, answer
from control.idempotent_answers
where actor = %(actor)s and idempotency_key = %(idempotency_key)s and created_at > now() - interval '24 hours'

-- name: claim_answer
select pg_advisory_xact_lock(hashtextextended(%(actor)s || ' ' || %(idempotency_key)s, 0))

-- name: remove_old_answers
delete from control.idempotent_answers where created_at < now() - interval '24 hours'

-- name: keep_answer
insert into control.idempotent_answers (actor, idempotency_key, request_hash, status, answer)
values (%(actor)s, %(idempotency_key)s, %(request_hash)s, %(status)s, %(answer)s)
on conflict (actor, idempotency_key) do update
set request_hash = excluded.request_hash, status = excluded.status, answer = excluded.answer, created_at = now()
