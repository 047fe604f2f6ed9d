-- The raw usage row: one per attempt on an engine, plus one per request refused before any. Never updated.
create extension if not exists timescaledb;

create schema raw;

create type raw.endpoint as enum (
    'chat.completions', 'completions', 'responses', 'embeddings', 'rerank', 'score', 'messages', 'tokenize', 'detokenize'
);
create type raw.request_status as enum (
    'completed', 'refused', 'client_closed', 'engine_failed', 'timed_out', 'router_lost'
);
create type raw.finish_reason as enum ('stop', 'length', 'tool_calls', 'content_filter', 'abort', 'error', 'other');
create type raw.token_source as enum ('engine', 'running', 'estimate', 'none');
create type raw.charge_class as enum (
    'charged', 'free_refused', 'free_engine_failed', 'free_timed_out', 'free_router_lost'
);

-- Wide columns first, then 4, 2 and 1 bytes, then what varies: alignment padding is paid on every row.
create table raw.usage_events (
    request_id uuid not null,
    trace_id uuid,
    started_at timestamptz not null,
    finished_at timestamptz not null,
    recorded_at timestamptz not null default now(),
    recorded_xid xid8 not null default pg_current_xact_id(),
    org_id bigint not null,
    project_id bigint not null,
    api_key_id bigint not null,
    user_id bigint,
    service_account_id bigint,
    cost_picousd bigint check (cost_picousd >= 0),
    endpoint raw.endpoint not null,
    status raw.request_status not null,
    finish_reason raw.finish_reason,
    token_source raw.token_source not null,
    charge_class raw.charge_class not null,
    model_id integer,
    engine_id integer,
    price_id integer,
    input_tokens integer not null check (input_tokens >= 0),
    cached_input_tokens integer not null check (cached_input_tokens between 0 and input_tokens),
    output_tokens integer not null check (output_tokens >= 0),
    reasoning_tokens integer not null check (reasoning_tokens between 0 and output_tokens),
    queue_us integer check (queue_us >= 0),
    ttft_us integer check (ttft_us >= 0),
    duration_us integer not null check (duration_us >= 0),
    overhead_us integer check (overhead_us >= 0),
    attempt smallint not null check (attempt >= 0),
    http_status smallint not null,
    stream boolean not null,
    model_asked text check (length(model_asked) <= 128),
    error_code text check (length(error_code) <= 64),
    end_user text check (length(end_user) <= 128),
    tags jsonb check (pg_column_size(tags) <= 2048),
    -- What was charged has a price and an exact cost; what has no price is an error that the marts count, never zero.
    check (cost_picousd is null or price_id is not null or cost_picousd = 0),
    check (finished_at >= started_at)
);
comment on table raw.usage_events is
'One row per attempt on an engine (attempt >= 1), plus one per request refused before any (attempt 0).';
comment on column raw.usage_events.recorded_xid is
'Commit order: readers take rows below pg_snapshot_xmin of their own snapshot, so a row committed late is never missed.';
comment on column raw.usage_events.model_asked is 'Only where it differs from the model that served, or where none served.';

select create_hypertable(
    'raw.usage_events', by_range('started_at', interval '1 day'), create_default_indexes => false
);

-- The deduplication: a row replayed from a journal meets its first copy here. Time first, so that the same index finds
-- the rows of a quarter of an hour; a request id is a UUIDv7 and so names its own time.
create unique index usage_events_once on raw.usage_events (started_at, request_id, attempt);
create index usage_events_recorded_xid_idx on raw.usage_events (recorded_xid);

create table raw.journal_positions (
    worker text primary key check (length(worker) <= 128),
    reported_at timestamptz not null,
    recorded_xid xid8 not null default pg_current_xact_id(),
    complete_to timestamptz not null
);
comment on table raw.journal_positions is
'Per router worker: every row started before complete_to is in raw.usage_events. A worker that is cleanly gone has none.';
