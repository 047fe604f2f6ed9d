-- name: built
select to_regclass('marts.usage_hourly') is not null and to_regclass('marts.usage_daily') is not null
    and to_regclass('marts.completeness') is not null as built

-- name: complete_to
select complete_to from marts.completeness where org_id = %(org_id)s

-- name: hours
select
    u.hour_utc as starts_at, case when %(by_project)s then u.project end as project,
    case when %(by_user)s then p.public_id end as "user", case when %(by_api_key)s then u.api_key end as api_key,
    case when %(by_model)s then u.model end as model, sum(u.requests)::bigint as requests,
    sum(u.input_tokens)::bigint as input_tokens, sum(u.cached_input_tokens)::bigint as cached_input_tokens,
    sum(u.output_tokens)::bigint as output_tokens, sum(u.cost_picousd) as cost_picousd
from marts.usage_hourly as u
left join control.api_keys as k on k.id = u.api_key_id
left join control.users as p on p.id = k.user_id
where u.org_id = %(org_id)s and u.hour_utc >= %(since)s::timestamptz and u.hour_utc < %(until)s::timestamptz
    and (%(reach)s::bigint[] is null or u.project_id = any(%(reach)s::bigint[]))
    and (%(projects)s::text[] is null or u.project = any(%(projects)s::text[]))
    and (%(users)s::text[] is null or p.public_id = any(%(users)s::text[]))
    and (%(api_keys)s::text[] is null or u.api_key = any(%(api_keys)s::text[]))
    and (%(models)s::text[] is null or u.model = any(%(models)s::text[]))
    and (%(endpoints)s::text[] is null or u.endpoint = any(%(endpoints)s::text[]))
group by 1, 2, 3, 4, 5
order by 1, 2, 3, 4, 5
limit %(rows_max)s

-- name: days
select
    u.day_utc::timestamp at time zone 'UTC' as starts_at, case when %(by_project)s then u.project end as project,
    case when %(by_user)s then p.public_id end as "user", case when %(by_api_key)s then u.api_key end as api_key,
    case when %(by_model)s then u.model end as model, sum(u.requests)::bigint as requests,
    sum(u.input_tokens)::bigint as input_tokens, sum(u.cached_input_tokens)::bigint as cached_input_tokens,
    sum(u.output_tokens)::bigint as output_tokens, sum(u.cost_picousd) as cost_picousd
from marts.usage_daily as u
left join control.api_keys as k on k.id = u.api_key_id
left join control.users as p on p.id = k.user_id
where u.org_id = %(org_id)s and u.day_utc >= (%(since)s::timestamptz at time zone 'UTC')::date and u.day_utc < (%(until)s::timestamptz at time zone 'UTC')::date
    and (%(reach)s::bigint[] is null or u.project_id = any(%(reach)s::bigint[]))
    and (%(projects)s::text[] is null or u.project = any(%(projects)s::text[]))
    and (%(users)s::text[] is null or p.public_id = any(%(users)s::text[]))
    and (%(api_keys)s::text[] is null or u.api_key = any(%(api_keys)s::text[]))
    and (%(models)s::text[] is null or u.model = any(%(models)s::text[]))
    and (%(endpoints)s::text[] is null or u.endpoint = any(%(endpoints)s::text[]))
group by 1, 2, 3, 4, 5
order by 1, 2, 3, 4, 5
limit %(rows_max)s

-- name: budgets_built
select to_regclass('marts.budget_status') is not null as built

-- name: budgets
select
    budget_id, spent_picousd, remaining_picousd, percent_used, reached_percents, window_starts_at, window_ends_at, forecast_picousd,
    used_up_at, complete_to
from marts.budget_status
where budget_id = any(%(budget_ids)s::bigint[])
