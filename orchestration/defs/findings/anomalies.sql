-- name: recent
select
    org_id,
    project_id,
    api_key_id,
    min(started_at) as first_at,
    max(started_at) as last_at,
    count(*) filter (where attempt <= 1) as requests,
    least(coalesce(sum(cost_picousd), 0), 9223372036854775807)::bigint as spend
from raw.usage_events
where started_at >= %(first)s and started_at < %(before)s
group by org_id, project_id, api_key_id
having count(*) filter (where attempt <= 1) > %(floor_requests)s or coalesce(sum(cost_picousd), 0) > %(floor_picousd)s
order by coalesce(sum(cost_picousd), 0) desc, count(*) desc
limit %(keys_max)s

-- name: history_is_there
select to_regclass('intermediate.int_usage_quarter_hours') is not null

-- name: history
-- Of these keys, and of their organizations as a whole (without a key), in one pass over an index range an organization.
select
    org_id,
    api_key_id,
    quarter_hour_at,
    sum(requests)::bigint as requests,
    least(sum(cost_picousd), 9223372036854775807)::bigint as spend
from intermediate.int_usage_quarter_hours
where org_id = any(%(org_ids)s) and quarter_hour_at >= %(first)s and quarter_hour_at < %(before)s
group by grouping sets ((org_id, api_key_id, quarter_hour_at), (org_id, quarter_hour_at))
having api_key_id is null or api_key_id = any(%(api_key_ids)s)

-- name: note
insert into findings.anomalies (
    public_id, org_id, project_id, api_key_id, metric, baseline, observed, expected, threshold, window_s, started_at, last_seen_at
) values (
    'anomaly_' || replace(gen_random_uuid()::text, '-', ''), %(org_id)s, %(project_id)s, %(api_key_id)s, %(metric)s,
    %(baseline)s, %(observed)s, %(expected)s, %(threshold)s, %(window_s)s, %(first_at)s, %(last_at)s
)
on conflict (api_key_id) where ended_at is null
do update set last_seen_at = greatest(anomalies.last_seen_at, excluded.last_seen_at)
returning id, xmax = 0 as is_new

-- name: end_quiet
update findings.anomalies
set ended_at = greatest(last_seen_at, %(now)s)
where ended_at is null and last_seen_at < %(quiet_since)s

-- name: announce
select control.put_event(
    anomaly.org_id,
    'usage.anomaly',
    jsonb_build_object(
        'anomaly_id', anomaly.public_id, 'project_id', project.public_id,
        'api_key_id', 'key_' || key.public_id, 'metric', anomaly.metric, 'baseline', anomaly.baseline, 'window_s', anomaly.window_s,
        'started_at', to_char(anomaly.started_at at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
        'observed', case anomaly.metric when 'spend' then usd.observed else anomaly.observed::text end,
        'expected', case anomaly.metric when 'spend' then usd.expected else anomaly.expected::text end,
        'threshold', case anomaly.metric when 'spend' then usd.threshold else anomaly.threshold::text end,
        'unit', case anomaly.metric when 'spend' then 'usd' else 'requests' end
    ),
    'anomaly ' || anomaly.id
)
from findings.anomalies as anomaly
inner join control.projects as project on anomaly.project_id = project.id
inner join control.api_keys as key on anomaly.api_key_id = key.id
cross join lateral (
    select
        trim_scale(anomaly.observed * 0.000000000001)::text as observed,
        trim_scale(anomaly.expected * 0.000000000001)::text as expected,
        trim_scale(anomaly.threshold * 0.000000000001)::text as threshold
) as usd
where anomaly.id = %(anomaly_id)s
