-- name: claim
insert into raw.idempotent_answers (
    api_key_id, idempotency_key_hash, request_hash, request_id, started_at, expires_at
) values (
    %(api_key_id)s, %(key_hash)s, %(request_hash)s, %(request_id)s, %(started_at)s, now() + %(lease_s)s * interval '1 second'
)
on conflict (api_key_id, idempotency_key_hash) do update
set request_hash = excluded.request_hash, request_id = excluded.request_id, started_at = excluded.started_at,
    expires_at = excluded.expires_at, finished = false, model_id = null, answer = null, answer_until = null
where idempotent_answers.expires_at <= now()
    -- A router that died between the client's answer and this table has left its row in its journal,
    and not exists (
        select from raw.usage_events as e
        where not idempotent_answers.finished and e.started_at = idempotent_answers.started_at
            and e.request_id = idempotent_answers.request_id and e.charge_class = 'charged'
    )
    -- which may not have been read yet.
    and not exists (
        select from raw.journal_positions as p
        where not idempotent_answers.finished and p.complete_to <= idempotent_answers.started_at
    )
returning true as claimed

-- name: find
select request_hash, request_id, finished, model_id, case when answer_until > now() then answer end as answer,
    expires_at <= now() as expired
from raw.idempotent_answers
where api_key_id = %(api_key_id)s and idempotency_key_hash = %(key_hash)s

-- name: finish
update raw.idempotent_answers
set finished = true, model_id = %(model_id)s, answer = %(answer)s,
    answer_until = case when %(answer)s::bytea is not null then now() + %(answer_s)s * interval '1 second' end,
    expires_at = now() + greatest(%(answer_s)s, %(key_s)s) * interval '1 second'
where api_key_id = %(api_key_id)s and idempotency_key_hash = %(key_hash)s and request_id = %(request_id)s

-- name: release
delete from raw.idempotent_answers
where api_key_id = %(api_key_id)s and idempotency_key_hash = %(key_hash)s and request_id = %(request_id)s and not finished

-- name: forget_answers
update raw.idempotent_answers
set answer = null, answer_until = null
where (api_key_id, idempotency_key_hash) in (
    select api_key_id, idempotency_key_hash from raw.idempotent_answers
    where answer is not null and answer_until <= now()
    limit %(rows_max)s
    for update skip locked
)

-- name: remove_expired
delete from raw.idempotent_answers
where (api_key_id, idempotency_key_hash) in (
    select a.api_key_id, a.idempotency_key_hash from raw.idempotent_answers as a
    where a.expires_at < now() - interval '1 day'
        -- However long a journal stays unread, what it may have is not charged a second time.
        and (a.finished or not exists (select from raw.journal_positions as p where p.complete_to <= a.started_at))
    limit %(rows_max)s
    for update skip locked
)
