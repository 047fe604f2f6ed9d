alter table raw.usage_events add column router_life integer;
comment on column raw.usage_events.router_life is
'A random number made at the start of the router worker that wrote it. A sum over rows leaves out what living workers count themselves.';
alter type raw.charge_class add value 'free_replayed' after 'free_router_lost';

alter table control.organizations
add column answers_kept_s integer not null default 0 check (answers_kept_s between 0 and 604800);
comment on column control.organizations.answers_kept_s is
'For how long the answers of requests with an Idempotency-Key are kept to be sent again; 0 keeps none.';
drop trigger announce_row on control.organizations;
create trigger announce_row
after insert or delete or update of suspended_at, deleted_at, key_models, key_cidrs, answers_kept_s
on control.organizations for each row execute function control.announce_row('id');

create table raw.idempotent_answers (
    api_key_id bigint not null,
    idempotency_key_hash bytea not null check (length(idempotency_key_hash) = 32),
    request_hash bytea not null check (length(request_hash) = 32),
    request_id uuid not null,
    started_at timestamptz not null,
    expires_at timestamptz not null,
    finished boolean not null default false,
    model_id integer,
    answer bytea check (length(answer) <= 1048576),
    primary key (api_key_id, idempotency_key_hash)
);
create index idempotent_answers_expires_at_idx on raw.idempotent_answers (expires_at);
comment on table raw.idempotent_answers is
'Requests with an Idempotency-Key: under way, or charged; the answer only where the organization has chosen to keep answers.';
