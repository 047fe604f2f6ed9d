-- What lifetime budgets count of days whose rows have left the database. Written by archive.drop_day and archive.restore_day alone.
create table archive.budget_days (
    budget_id bigint not null references control.budgets (id),
    day date not null,
    router_life integer,
    spent_picousd numeric(38, 0) not null check (spent_picousd > 0),
    unique nulls not distinct (budget_id, day, router_life)
);
comment on table archive.budget_days is
'What each lifetime budget counts of a UTC day that is only in the archive, by the account that the router had the rows in.';
