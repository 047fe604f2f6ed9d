-- name: prepare
-- As the dbt models are made: as the same role, with the same settings. A pass before both lets the first of them not pay for
-- what PostgreSQL notes on rows that it reads for the first time.
drop schema if exists by_hand cascade;
create schema by_hand;
select sum(e.cost_picousd) from raw.usage_events as e

-- name: quarter_hours
create table by_hand.quarter_hours as
select
    time_bucket('15 minutes', e.started_at) as quarter_hour_at,
    e.org_id, e.project_id, e.api_key_id, e.user_id, e.service_account_id, e.model_id, e.endpoint, e.price_id, e.charge_class,
    count(*) filter (where e.attempt <= 1) as requests,
    count(*) as usage_rows,
    count(*) filter (where e.attempt > 0) as attempts,
    count(*) filter (where e.status <> 'completed') as rows_not_completed,
    count(*) filter (where e.charge_class = 'charged' and e.cost_picousd is null) as rows_unpriced,
    count(*) filter (where e.token_source = 'estimate') as rows_estimated,
    sum(e.input_tokens)::bigint as input_tokens,
    sum(e.cached_input_tokens)::bigint as cached_input_tokens,
    sum(e.output_tokens)::bigint as output_tokens,
    sum(e.reasoning_tokens)::bigint as reasoning_tokens,
    coalesce(sum(e.cost_picousd), 0)::numeric as cost_picousd,
    max(e.started_at) as last_started_at,
    pg_snapshot_xmin(pg_current_snapshot()) as as_of_xid
from raw.usage_events as e
where e.recorded_xid < pg_snapshot_xmin(pg_current_snapshot())
group by 1, 2, 3, 4, 5, 6, 7, 8, 9, 10;
create index on by_hand.quarter_hours (org_id, quarter_hour_at);
create index on by_hand.quarter_hours (as_of_xid);
analyze by_hand.quarter_hours

-- name: hourly
create table by_hand.hourly as
select
    date_trunc('hour', q.quarter_hour_at, 'UTC') as hour_utc,
    q.org_id, o.public_id as organization, q.project_id, p.public_id as project, q.api_key_id, k.public_id as api_key,
    m.name as model, q.endpoint::text as endpoint,
    sum(q.requests)::bigint as requests,
    sum(q.attempts)::bigint as attempts,
    sum(q.usage_rows)::bigint as usage_rows,
    sum(q.rows_not_completed)::bigint as rows_not_completed,
    sum(q.rows_unpriced)::bigint as rows_unpriced,
    sum(q.rows_estimated)::bigint as rows_estimated,
    sum(q.input_tokens)::bigint as input_tokens,
    sum(q.cached_input_tokens)::bigint as cached_input_tokens,
    sum(q.output_tokens)::bigint as output_tokens,
    sum(q.reasoning_tokens)::bigint as reasoning_tokens,
    sum(q.cost_picousd)::numeric(38, 0) as cost_picousd,
    max(q.last_started_at) as last_started_at,
    max(q.as_of_xid) as as_of_xid
from by_hand.quarter_hours as q
inner join control.organizations as o on q.org_id = o.id
inner join control.projects as p on q.project_id = p.id
inner join control.api_keys as k on q.api_key_id = k.id
left join control.models as m on q.model_id = m.id
group by 1, 2, 3, 4, 5, 6, 7, 8, 9;
create index on by_hand.hourly (org_id, hour_utc);
create index on by_hand.hourly (hour_utc);
create index on by_hand.hourly (as_of_xid);
analyze by_hand.hourly

-- name: daily
create table by_hand.daily as
select
    (h.hour_utc at time zone 'UTC')::date as day_utc,
    h.org_id, h.organization, h.project_id, h.project, h.api_key_id, h.api_key, h.model, h.endpoint,
    sum(h.requests)::bigint as requests,
    sum(h.attempts)::bigint as attempts,
    sum(h.usage_rows)::bigint as usage_rows,
    sum(h.rows_not_completed)::bigint as rows_not_completed,
    sum(h.rows_unpriced)::bigint as rows_unpriced,
    sum(h.rows_estimated)::bigint as rows_estimated,
    sum(h.input_tokens)::bigint as input_tokens,
    sum(h.cached_input_tokens)::bigint as cached_input_tokens,
    sum(h.output_tokens)::bigint as output_tokens,
    sum(h.reasoning_tokens)::bigint as reasoning_tokens,
    sum(h.cost_picousd)::numeric(38, 0) as cost_picousd,
    max(h.last_started_at) as last_started_at,
    max(h.as_of_xid) as as_of_xid
from by_hand.hourly as h
group by 1, 2, 3, 4, 5, 6, 7, 8, 9;
create index on by_hand.daily (org_id, day_utc);
create index on by_hand.daily (day_utc);
create index on by_hand.daily (as_of_xid);
analyze by_hand.daily

-- name: remove
drop schema by_hand cascade

-- name: same_sums
-- Rows by which the two ways differ, of any of the three tables.
select
    (select count(*) from (
        select h.hour_utc, h.api_key_id, h.model, h.endpoint, h.usage_rows, h.input_tokens, h.cost_picousd from by_hand.hourly as h
        except all
        select h.hour_utc, h.api_key_id, h.model, h.endpoint, h.usage_rows, h.input_tokens, h.cost_picousd from marts.usage_hourly as h
    ) as hours)
    + (select count(*) from (
        select d.day_utc, d.api_key_id, d.model, d.endpoint, d.usage_rows, d.output_tokens, d.cost_picousd from by_hand.daily as d
        except all
        select d.day_utc, d.api_key_id, d.model, d.endpoint, d.usage_rows, d.output_tokens, d.cost_picousd from marts.usage_daily as d
    ) as days)
    + abs((select count(*) from by_hand.quarter_hours) - (select count(*) from intermediate.int_usage_quarter_hours))
