-- The table has the requests of two days at most that had a key.
-- squawk-ignore-file constraint-missing-not-valid, require-concurrent-index-creation
alter table raw.idempotent_answers add column answer_until timestamptz;
comment on column raw.idempotent_answers.answer_until is
'The answer is sent again until then. The key stays taken until `expires_at`, which may be later: nobody is charged twice for it.';
update raw.idempotent_answers set answer_until = expires_at where answer is not null;
alter table raw.idempotent_answers add check ((answer is null) = (answer_until is null));
create index idempotent_answers_answer_until_idx on raw.idempotent_answers (answer_until) where answer is not null;
