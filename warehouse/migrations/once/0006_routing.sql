-- Where requests go: weights, bounds and canaries of engines, keys of hosted providers, and names that stand for models.
-- Engines are at most some hundred rows: their lock is held for less than a second.
-- squawk-ignore-file constraint-missing-not-valid, ban-drop-constraint

alter table control.engines
drop constraint engines_kind_check,
add constraint engines_kind_check check (kind in ('vllm', 'simulated', 'sglang', 'openai')),
add column weight integer not null default 100 check (weight between 0 and 1000),
add column requests_at_once integer check (requests_at_once > 0),
add column served_model text check (length(served_model) between 1 and 200),
add column sealed_key bytea,
add column canary_stopped_at timestamptz,
add column canary_stopped_why text check (length(canary_stopped_why) <= 300),
add column canary_percent integer check (canary_percent between 1 and 50);
comment on column control.engines.weight is 'Share of the load, relative to the other engines of the model; 0 takes no new requests.';
comment on column control.engines.requests_at_once is 'For each worker of a router; null: as many as there may be connections.';
comment on column control.engines.served_model is 'What the engine itself calls the model; null: as it is called here.';
comment on column control.engines.sealed_key is 'Key of a hosted provider, encrypted under a key that only processes know.';
comment on column control.engines.canary_percent is 'Share of its model''s requests that it gets on trial; null: it is no canary.';
comment on column control.engines.canary_stopped_at is 'A router found it worse than the others; nothing goes to it until a change.';

create table control.model_aliases (
    id bigint generated always as identity primary key,
    public_id text not null unique check (public_id ~ '^alias_[0-9a-z]{12,32}$'),
    org_id bigint references control.organizations (id),
    name text not null check (name ~ '^[A-Za-z0-9][A-Za-z0-9._:/-]{0,127}$'),
    stages jsonb not null check (jsonb_typeof(stages) = 'array'),
    version integer not null default 1,
    created_at timestamptz not null default now(),
    deleted_at timestamptz
);
create unique index model_aliases_name_key on control.model_aliases (coalesce(org_id, 0), name) where deleted_at is null;
create index model_aliases_org_id_idx on control.model_aliases (org_id, id);
comment on table control.model_aliases is 'A name that stands for models; org_id null is for everybody, otherwise one organization''s own.';
comment on column control.model_aliases.stages is
'[[{"model": "name", "weight": 3}, …], …]: a model of the first stage by weight; what follows is for when it cannot answer.';

create trigger announce_change after insert or update or delete or truncate on control.model_aliases
for each statement execute function control.announce_change();
