-- Shares of a budget that were reached: each once a window.
create table control.budget_alerts (
    id bigint generated always as identity primary key,
    org_id bigint not null references control.organizations (id),
    budget_id bigint not null references control.budgets (id),
    window_start timestamptz not null,
    percent integer not null,
    spent_picousd numeric(38, 0) not null,
    limit_picousd numeric(38, 0) not null,
    created_at timestamptz not null default now(),
    unique (budget_id, window_start, percent)
);
