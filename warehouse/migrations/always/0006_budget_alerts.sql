-- When a day begins in a zone: at the first instant whose clock shows it, as invoices have it. Where midnight comes twice (in the
-- Azores and in Cuba), PostgreSQL takes the second one, an hour later.
create or replace function control.first_instant(day timestamp, zone text) returns timestamptz
language sql stable
set search_path = pg_catalog, pg_temp
as $$
select case
    when ((day at time zone zone) - interval '1 hour') at time zone zone >= day then (day at time zone zone) - interval '1 hour'
    else day at time zone zone
end
$$;
revoke all on function control.first_instant(timestamp, text) from public;
grant execute on function control.first_instant(timestamp, text) to inferhouse_router;

-- Every budget with alerts against the sum of the rows of its window, those of dropped days with them, in its organization's time
-- zone. What was told of in this window is not told of again. Returns how many alerts there were.
-- Windows that ended in the last hour are looked at as well: a request that starts just before midnight may run for half of one
-- (ROUTER_TOTAL_S_MAX) and wait for two times five minutes before, and is written after its end.
create or replace function control.note_budget_alerts_as_of(as_of timestamptz) returns integer
language sql security definer
set search_path = pg_catalog, pg_temp
as $$
with windows as (
    select distinct on (b.id, w.window_start) b.*, w.window_start, w.window_end,
        case when b.raised_until > looked.at then greatest(b.limit_picousd, b.raised_limit_picousd) else b.limit_picousd end as in_force_picousd
    from control.budgets as b
    inner join control.organizations as o on o.id = b.org_id
    cross join (values (as_of), (as_of - interval '1 hour')) as looked (at)
    cross join lateral (
        select
            case when b.period = 'lifetime' then b.created_at
                else control.first_instant(date_trunc(b.period, looked.at at time zone o.time_zone), o.time_zone)
            end as window_start,
            case when b.period = 'lifetime' then 'infinity'
                else control.first_instant(
                    date_trunc(b.period, looked.at at time zone o.time_zone) + ('1 ' || b.period)::interval, o.time_zone
                )
            end as window_end
    ) as w
    where b.deleted_at is null and o.deleted_at is null and cardinality(b.alert_percents) > 0 and b.created_at < w.window_end
    order by b.id, w.window_start, looked.at desc
),
spends as (
    select w.id, w.org_id, w.window_start, w.in_force_picousd as limit_picousd, w.alert_percents,
        coalesce(spend.picousd, 0) + coalesce(dropped.picousd, 0) as picousd
    from windows as w
    cross join lateral (
        select sum(e.cost_picousd) as picousd
        from raw.usage_events as e
        where e.org_id = w.org_id and e.started_at >= w.window_start and e.started_at < w.window_end
            and (w.project_id is null or e.project_id = w.project_id)
            and (w.user_id is null or e.user_id = w.user_id)
            and (w.service_account_id is null or e.service_account_id = w.service_account_id)
            and (w.api_key_id is null or e.api_key_id = w.api_key_id)
            and (w.model_id is null or e.model_id = w.model_id)
    ) as spend
    cross join lateral (
        select sum(d.spent_picousd) as picousd from archive.budget_days as d where d.budget_id = w.id
    ) as dropped
),
noted as (
    insert into control.budget_alerts (org_id, budget_id, window_start, percent, spent_picousd, limit_picousd)
    select s.org_id, s.id, s.window_start, reached.percent, s.picousd, s.limit_picousd
    from spends as s
    cross join lateral unnest(s.alert_percents) as reached (percent)
    -- Multiplied and not divided: exact to the pico-dollar. A budget of nothing is reached by the first cost.
    where s.picousd > 0 and s.picousd * 100 >= s.limit_picousd * reached.percent
    on conflict (budget_id, window_start, percent) do nothing
    returning 1
)

select count(*)::integer from noted
$$;
revoke all on function control.note_budget_alerts_as_of(timestamptz) from public;

create or replace function control.note_budget_alerts() returns integer
language sql security definer
set search_path = pg_catalog, pg_temp
as $$
select control.note_budget_alerts_as_of(now())
$$;
revoke all on function control.note_budget_alerts() from public;
grant execute on function control.note_budget_alerts() to inferhouse_transform;
-- The mart of budgets is built from them.
grant select on control.budgets to inferhouse_transform;
