-- What engines say of themselves (`/metrics`), sampled; and what their GPUs cost.
-- Engines are at most some hundred rows: their lock is held for less than a second.
-- squawk-ignore-file constraint-missing-not-valid
alter table control.engines
add column gpus smallint not null default 0 check (gpus between 0 and 1024),
add column gpu_hour_picousd bigint not null default 0 check (gpu_hour_picousd between 0 and 1000000000000000);
comment on column control.engines.gpu_hour_picousd is 'Cost of one GPU for an hour, in pico-dollars.';

-- Counters count from the start of the engine's process and are kept as it said them: what they grew by is for the marts.
create table raw.engine_samples (
    sampled_at timestamptz not null,
    started_at timestamptz,
    recorded_xid xid8 not null default pg_current_xact_id(),
    prompt_tokens bigint not null check (prompt_tokens >= 0),
    cached_tokens bigint not null check (cached_tokens >= 0),
    generation_tokens bigint not null check (generation_tokens >= 0),
    prefix_cache_queries bigint not null check (prefix_cache_queries >= 0),
    prefix_cache_hits bigint not null check (prefix_cache_hits >= 0),
    requests_finished bigint not null check (requests_finished >= 0),
    requests_aborted bigint not null check (requests_aborted >= 0),
    preemptions bigint not null check (preemptions >= 0),
    queue_us bigint not null check (queue_us >= 0),
    request_us bigint not null check (request_us >= 0),
    gpu_hour_picousd bigint not null check (gpu_hour_picousd >= 0),
    engine_id integer not null,
    running integer not null check (running >= 0),
    waiting integer not null check (waiting >= 0),
    gpus smallint not null check (gpus >= 0),
    kv_cache_usage numeric(7, 6) not null check (kv_cache_usage between 0 and 1)
);
comment on table raw.engine_samples is
'One row per reading of an engine''s /metrics. Append-only; whole chunks are dropped when they are old.';
comment on column raw.engine_samples.started_at is
'When the engine''s process started, by its own word; null where it does not say.';
comment on column raw.engine_samples.requests_finished is 'However they ended, the aborted ones included.';
comment on column raw.engine_samples.gpus is
'GPUs of the engine and what one costs an hour are of then: a later change does not change the past.';

select create_hypertable(
    'raw.engine_samples', by_range('sampled_at', interval '7 days'), create_default_indexes => false
);
create unique index engine_samples_once on raw.engine_samples (engine_id, sampled_at);
create index engine_samples_sampled_at_idx on raw.engine_samples (sampled_at);
create index engine_samples_recorded_xid_idx on raw.engine_samples (recorded_xid);
