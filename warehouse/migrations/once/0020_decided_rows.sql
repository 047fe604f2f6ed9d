-- Rows of raw.usage_events are never updated: that one of unknown cost is billed after all stands here.
create table findings.decided_rows (
    run_id bigint not null references findings.repricing_runs (id),
    org_id bigint not null references control.organizations (id),
    period_month date not null check (period_month = date_trunc('month', period_month)),
    started_at timestamptz not null,
    request_id uuid not null,
    attempt smallint not null,
    is_metered boolean not null,
    change smallint not null check (change in (-1, 1)),
    primary key (run_id, period_month, started_at, request_id, attempt, is_metered)
);
comment on table findings.decided_rows is
'Charged rows of unknown cost that a re-pricing run has billed in a month: 1, and -1 where a later run has taken that back with
its adjustments. Their sum over all runs says whether a row is decided; the gate lets a month through when all of its are.';
comment on column findings.decided_rows.is_metered is
'By its counts; otherwise somebody decided that it is billed without any (`inferhouse reprice --unmetered`).';
create index decided_rows_org_id_idx on findings.decided_rows (org_id, period_month);
create trigger refuse_change before update or delete or truncate on findings.decided_rows
for each statement execute function findings.refuse_change();
