-- name: organization
select time_zone, when_redis_is_down from control.organizations where id = %(org_id)s

-- name: budgets
select
    b.id, b.public_id, b.project_id, b.user_id, b.service_account_id, b.api_key_id, b.model_id, m.name as model, b.period,
    b.limit_picousd::text as limit_picousd, b.raised_limit_picousd::text as raised_limit_picousd, b.raised_until,
    b.mode = 'shadow' as shadow, b.created_at, b.hold_version
from control.budgets as b
left join control.models as m on m.id = b.model_id
where b.org_id = %(org_id)s and b.deleted_at is null and b.mode in ('hard', 'shadow')
-- The broadest first: it is the one that a refusal names.
order by
    array_position(array['lifetime', 'month', 'week', 'day'], b.period),
    num_nonnulls(b.project_id, b.user_id, b.service_account_id, b.api_key_id, b.model_id), b.id

-- name: limits
select
    l.id, l.public_id, l.project_id, l.api_key_id, l.model_id, m.name as model, l.mode = 'shadow' as shadow,
    l.requests_per_minute, l.input_tokens_per_minute, l.output_tokens_per_minute, l.requests_at_once
from control.limits as l
left join control.models as m on m.id = l.model_id
where l.org_id = %(org_id)s and l.deleted_at is null
order by num_nonnulls(l.project_id, l.api_key_id, l.model_id), l.id

-- name: boundaries
-- Where the days, weeks and months around now begin: as the alerts and the marts have it, which ask the same database.
select 'day' as period, array_agg(control.first_instant(d, %(time_zone)s) order by d) as starts
from generate_series(
    date_trunc('day', now() at time zone %(time_zone)s) - interval '2 days',
    date_trunc('day', now() at time zone %(time_zone)s) + interval '60 days', interval '1 day'
) as days (d)
union all
select 'week', array_agg(control.first_instant(d, %(time_zone)s) order by d)
from generate_series(
    date_trunc('week', now() at time zone %(time_zone)s) - interval '1 week',
    date_trunc('week', now() at time zone %(time_zone)s) + interval '10 weeks', interval '1 week'
) as weeks (d)
union all
select 'month', array_agg(control.first_instant(d, %(time_zone)s) order by d)
from generate_series(
    date_trunc('month', now() at time zone %(time_zone)s) - interval '1 month',
    date_trunc('month', now() at time zone %(time_zone)s) + interval '4 months', interval '1 month'
) as months (d)

-- name: spent
-- What the rows of windows sum up to, those of dropped days with them, without those in accounts that are kept elsewhere.
select w.number, (coalesce(spend.picousd, 0) + coalesce(dropped.picousd, 0))::text as picousd
from unnest(%(budget_ids)s::bigint[], %(starts)s::timestamptz[], %(ends)s::timestamptz[])
with ordinality as w (budget_id, starts_at, ends_at, number)
inner join control.budgets as b on b.id = w.budget_id
cross join lateral (
    select sum(e.cost_picousd) as picousd
    from raw.usage_events as e
    where e.org_id = b.org_id and e.started_at >= w.starts_at and e.started_at < w.ends_at
        and (b.project_id is null or e.project_id = b.project_id)
        and (b.user_id is null or e.user_id = b.user_id)
        and (b.service_account_id is null or e.service_account_id = b.service_account_id)
        and (b.api_key_id is null or e.api_key_id = b.api_key_id)
        and (b.model_id is null or e.model_id = b.model_id)
        and (e.router_life is null or e.router_life <> all(%(lives)s::integer[]))
) as spend
cross join lateral (
    -- Of lifetimes alone: other windows end before their first day may be dropped.
    select sum(d.spent_picousd) as picousd
    from archive.budget_days as d
    where d.budget_id = b.id and (d.router_life is null or d.router_life <> all(%(lives)s::integer[]))
) as dropped
order by w.number

-- name: spent_of
-- The same of some lives, each by itself; those without rows in a window are left out.
select w.number, spend.router_life, spend.picousd::text as picousd
from unnest(%(budget_ids)s::bigint[], %(starts)s::timestamptz[], %(ends)s::timestamptz[])
with ordinality as w (budget_id, starts_at, ends_at, number)
inner join control.budgets as b on b.id = w.budget_id
cross join lateral (
    select counted.router_life, sum(counted.picousd) as picousd
    from (
        select e.router_life, e.cost_picousd as picousd
        from raw.usage_events as e
        where e.org_id = b.org_id and e.started_at >= w.starts_at and e.started_at < w.ends_at
            and (b.project_id is null or e.project_id = b.project_id)
            and (b.user_id is null or e.user_id = b.user_id)
            and (b.service_account_id is null or e.service_account_id = b.service_account_id)
            and (b.api_key_id is null or e.api_key_id = b.api_key_id)
            and (b.model_id is null or e.model_id = b.model_id)
            and e.router_life = any(%(lives)s::integer[])
        union all
        select d.router_life, d.spent_picousd
        from archive.budget_days as d
        where d.budget_id = b.id and d.router_life = any(%(lives)s::integer[])
    ) as counted
    group by counted.router_life
) as spend
order by w.number
