-- What jobs find out about usage and prices: anomalies, how far forecasts were off, and what a corrected price book changes.
create schema findings;

create table findings.anomalies (
    id bigint generated always as identity primary key,
    public_id text not null unique check (public_id ~ '^anomaly_[0-9a-f]{32}$'),
    org_id bigint not null references control.organizations (id),
    project_id bigint not null references control.projects (id),
    api_key_id bigint not null references control.api_keys (id),
    metric text not null check (metric in ('requests', 'spend')),
    baseline text not null check (baseline in ('key', 'organization', 'none')),
    observed numeric(38, 0) not null check (observed > 0),
    expected numeric(38, 0) not null check (expected >= 0),
    threshold numeric(38, 0) not null check (threshold > 0),
    window_s integer not null check (window_s > 0),
    started_at timestamptz not null,
    detected_at timestamptz not null default now(),
    last_seen_at timestamptz not null,
    ended_at timestamptz check (ended_at >= last_seen_at),
    check (last_seen_at >= started_at)
);
comment on table findings.anomalies is
'One per API key and episode: its use went far over what its own past, or its organization''s, gives for this hour of the week.';
comment on column findings.anomalies.observed is
'In the window in which it was found: requests, or pico-dollars. `expected` and `threshold` are in the same unit.';
create unique index anomalies_one_open on findings.anomalies (api_key_id) where ended_at is null;
create index anomalies_org_id_idx on findings.anomalies (org_id, started_at);

create table findings.forecast_backtests (
    org_id bigint not null references control.organizations (id),
    days_ahead integer not null check (days_ahead > 0),
    forecasts integer not null check (forecasts > 0),
    first_day date not null,
    last_day date not null check (last_day >= first_day),
    error_share numeric(12, 6) check (error_share >= 0),
    naive_error_share numeric(12, 6) check (naive_error_share >= 0),
    coverage numeric(7, 6) not null check (coverage between 0 and 1),
    interval_share numeric(7, 6) not null check (interval_share between 0 and 1),
    tested_at timestamptz not null,
    primary key (org_id, days_ahead)
);
comment on table findings.forecast_backtests is
'What the forecast would have said on each of the last days, beside what came: rolling origins, each with only its own past.';
comment on column findings.forecast_backtests.error_share is
'Sum of the absolute errors / sum of what was spent; naive: the same day of last week. Null where nothing was spent.';

create table findings.repricing_runs (
    id bigint generated always as identity primary key,
    public_id text not null unique check (public_id ~ '^reprice_[0-9a-f]{32}$'),
    first_month date not null,
    last_month date not null check (last_month >= first_month),
    book text not null check (length(book) between 1 and 200),
    reason text not null check (length(reason) between 1 and 500),
    author text not null check (length(author) between 1 and 256),
    created_at timestamptz not null default now()
);
comment on table findings.repricing_runs is
'A corrected price book that was applied to past months. `book`: `as of now`, or the SHA-256 of the file it came from.';

create table findings.adjustments (
    id bigint generated always as identity primary key,
    public_id text not null unique check (public_id ~ '^adj_[0-9a-f]{32}$'),
    run_id bigint not null references findings.repricing_runs (id),
    org_id bigint not null references control.organizations (id),
    period_month date not null check (period_month = date_trunc('month', period_month)),
    adjusts text not null check (adjusts in ('usage', 'volume_discount', 'discount')),
    project_id bigint references control.projects (id),
    model_id integer not null references control.models (id),
    price_id integer,
    corrected_price_id integer,
    token_class text check (token_class in ('input', 'cached_input', 'output', 'reasoning', 'request')),
    above_quantity bigint,
    quantity numeric(38, 0) not null,
    subtotal_picousd numeric(38, 0) not null check (subtotal_picousd <> 0),
    reason text not null check (length(reason) between 1 and 500),
    author text not null check (length(author) between 1 and 256),
    created_at timestamptz not null default now()
);
comment on table findings.adjustments is
'What a corrected price book changes in a line of a past month, in the month of the usage: corrected minus billed. Never
changed; a wrong one is compensated by the next run. Raw rows keep the price version that they were billed by.';
comment on column findings.adjustments.price_id is 'The version that the rows name; null where none was in force, or for a discount.';
comment on column findings.adjustments.corrected_price_id is 'The version of the corrected book; null where that came from a file.';
create index adjustments_org_id_idx on findings.adjustments (org_id, period_month);

create function findings.refuse_change() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    raise exception 'rows of findings.% are never changed: compensate them with new ones', tg_table_name
        using errcode = 'restrict_violation';
end
$$;
create trigger refuse_change before update or delete or truncate on findings.adjustments
for each statement execute function findings.refuse_change();
create trigger refuse_change before update or delete or truncate on findings.repricing_runs
for each statement execute function findings.refuse_change();
