-- (zones with summer time within the year, local hours, days and months of them whose sums differ).
with zones as materialized (
    select z.name
    from pg_timezone_names as z
    cross join generate_series('2025-06-01 00:00+00'::timestamptz, '2026-05-31 00:00+00', '1 week') as week (at)
    where z.name !~ '^posix'
    group by z.name
    having count(distinct (week.at at time zone z.name) - (week.at at time zone 'UTC')) > 1
),

-- Days from hours and months from days, as somebody would who has the finest only.
hours as (
    select
        z.name,
        date_trunc('hour', q.quarter_hour_at at time zone z.name) as local_at,
        sum(q.usage_rows) as usage_rows,
        sum(q.output_tokens) as output_tokens,
        sum(q.cost_picousd) as cost_picousd
    from intermediate.int_usage_quarter_hours as q
    cross join zones as z
    group by 1, 2
),

days as (
    select
        h.name,
        date_trunc('day', h.local_at) as local_at,
        sum(h.usage_rows) as usage_rows,
        sum(h.output_tokens) as output_tokens,
        sum(h.cost_picousd) as cost_picousd
    from hours as h
    group by 1, 2
),

months as (
    select
        d.name,
        date_trunc('month', d.local_at) as local_at,
        sum(d.usage_rows) as usage_rows,
        sum(d.output_tokens) as output_tokens,
        sum(d.cost_picousd) as cost_picousd
    from days as d
    group by 1, 2
),

local_rows as materialized (
    select z.name, e.started_at at time zone z.name as local_at, e.output_tokens, e.cost_picousd
    from raw.usage_events as e
    cross join zones as z
),

of_rows as (
    select
        r.name, step.step, date_trunc(step.step, r.local_at) as local_at,
        count(*)::numeric as usage_rows, sum(r.output_tokens)::numeric as output_tokens, sum(r.cost_picousd) as cost_picousd
    from local_rows as r
    cross join (values ('hour'), ('day'), ('month')) as step (step)
    group by 1, 2, 3
),

of_marts as (
    select name, 'hour' as step, local_at, usage_rows, output_tokens, cost_picousd from hours
    union all
    select name, 'day' as step, local_at, usage_rows, output_tokens, cost_picousd from days
    union all
    select name, 'month' as step, local_at, usage_rows, output_tokens, cost_picousd from months
),

differences as (
    (select * from of_rows except all select * from of_marts)
    union all
    (select * from of_marts except all select * from of_rows)
)

select (select count(*) from zones) as zones, (select count(*) from differences) as different
