{{
    config(
        materialized='incremental',
        incremental_strategy='delete+insert',
        unique_key='budget_id',
        indexes=[{'columns': ['budget_id'], 'unique': true}, {'columns': ['org_id']}, {'columns': ['as_of_xid']}],
        post_hook="delete from {{ this }} as gone where not exists (select from {{ ref('stg_control__budgets') }} as budget where budget.budget_id = gone.budget_id and budget.deleted_at is null)"
    )
}}

-- A budget is computed again when its organization has used something, when it was changed, when its window or its raise is
-- over, and every quarter of an hour, since a forecast changes with time. A window is a sum of days, and of quarter hours at
-- its edges.
{% set minutes_max = 15 %}
{% set history_days = 28 %}
{% set seasonal_days_min = 14 %}
{% set lifetime_forecast_days = 366 %}
with horizon as (
    select
        as_of_xid,
        taken_at,
        complete_to
    from {{ ref('int_usage_horizon') }}
),

budgets as (
    select
        budget.budget_id,
        budget.budget,
        budget.org_id,
        organization.organization,
        budget.project_id,
        budget.user_id,
        budget.service_account_id,
        budget.api_key_id,
        budget.model_id,
        budget.period,
        budget.mode,
        budget.alert_percents,
        budget.version,
        horizon.as_of_xid,
        horizon.taken_at,
        horizon.complete_to,
        case
            when budget.raised_until > horizon.taken_at then greatest(budget.limit_picousd, budget.raised_limit_picousd)
            else budget.limit_picousd
        end as limit_picousd,
        case
            when budget.period = 'lifetime' then budget.created_at
            else
                {{ first_instant(
                    'date_trunc(budget.period, horizon.taken_at at time zone organization.time_zone)', 'organization.time_zone'
                ) }}
        end as window_starts_at,
        case
            when budget.period = 'lifetime' then 'infinity'
            else
                {{ first_instant(
                    "(date_trunc(budget.period, horizon.taken_at at time zone organization.time_zone) + ('1 ' || budget.period)::interval)",
                    'organization.time_zone'
                ) }}
        end as window_ends_at
    from {{ ref('stg_control__budgets') }} as budget
    inner join {{ ref('stg_control__organizations') }} as organization on budget.org_id = organization.org_id
    cross join horizon
    where budget.deleted_at is null
),

{% if is_incremental() %}
touched as materialized (
    select distinct usage.org_id
    from {{ ref('int_usage_quarter_hours') }} as usage
    -- Where there is no budget yet, all of them are new: nothing is looked for.
    where usage.as_of_xid > (
        select coalesce(max(mine.as_of_xid), (select horizon.as_of_xid from horizon)) from {{ this }} as mine
    )
),
{% endif %}

due as materialized (
    select budgets.*
    from budgets
    {% if is_incremental() %}
    left join {{ this }} as mine on budgets.budget_id = mine.budget_id
    where
        mine.budget_id is null
        or mine.version <> budgets.version
        or mine.limit_picousd <> budgets.limit_picousd
        or mine.window_starts_at <> budgets.window_starts_at
        or mine.computed_at < budgets.taken_at - interval '{{ minutes_max }} minutes'
        or budgets.org_id in (select touched.org_id from touched)
    {% endif %}
),

-- Budgets of an organization have few different windows: each is summed up once.
windows as (
    select distinct
        due.org_id,
        due.window_starts_at,
        due.window_ends_at,
        case
            -- Of the day in which a lifetime began the archive keeps a sum for each budget, when its raw rows have gone.
            when exists (
                select from {{ ref('stg_archive__absent_days') }} as absent
                where absent.day_utc = (due.window_starts_at at time zone 'UTC')::date
            ) then date_trunc('day', due.window_starts_at + interval '1 day' - interval '1 microsecond', 'UTC')
            else time_bucket('15 minutes', due.window_starts_at + interval '15 minutes' - interval '1 microsecond')
        end as quarters_start_at,
        date_trunc('day', due.window_starts_at + interval '1 day' - interval '1 microsecond', 'UTC') as days_start_at,
        case when due.window_ends_at = 'infinity' then 'infinity' else date_trunc('day', due.window_ends_at, 'UTC') end as days_end_at
    from due
),

parts as (
    -- Lateral and grouped, so that each window is an index range: the planner would take a plain join and read the history.
    select
        windows.org_id,
        windows.window_starts_at,
        windows.window_ends_at,
        day.project_id,
        day.user_id,
        day.service_account_id,
        day.api_key_id,
        day.model_id,
        day.cost_picousd
    from windows
    cross join
        lateral (
            select
                spend.project_id,
                spend.user_id,
                spend.service_account_id,
                spend.api_key_id,
                spend.model_id,
                sum(spend.cost_picousd) as cost_picousd
            from {{ ref('int_spend_days') }} as spend
            where
                spend.org_id = windows.org_id
                and spend.day_utc >= (windows.days_start_at at time zone 'UTC')::date
                and spend.day_utc < (windows.days_end_at at time zone 'UTC')::date
            group by spend.project_id, spend.user_id, spend.service_account_id, spend.api_key_id, spend.model_id
        ) as day
    union all
    select
        windows.org_id,
        windows.window_starts_at,
        windows.window_ends_at,
        quarter.project_id,
        quarter.user_id,
        quarter.service_account_id,
        quarter.api_key_id,
        quarter.model_id,
        quarter.cost_picousd
    from windows
    cross join
        lateral (
            values
            (windows.quarters_start_at, least(windows.days_start_at, windows.window_ends_at)),
            (greatest(windows.days_start_at, windows.days_end_at), windows.window_ends_at)
        ) as edge (starts_at, ends_at)
    cross join
        lateral (
            select
                usage.project_id,
                usage.user_id,
                usage.service_account_id,
                usage.api_key_id,
                usage.model_id,
                sum(usage.cost_picousd) as cost_picousd
            from {{ ref('int_usage_quarter_hours') }} as usage
            where
                usage.org_id = windows.org_id
                and usage.quarter_hour_at >= edge.starts_at
                and usage.quarter_hour_at < edge.ends_at
            group by usage.project_id, usage.user_id, usage.service_account_id, usage.api_key_id, usage.model_id
        ) as quarter
    union all
    -- A lifetime begins within a quarter of an hour.
    select
        windows.org_id,
        windows.window_starts_at,
        windows.window_ends_at,
        event.project_id,
        event.user_id,
        event.service_account_id,
        event.api_key_id,
        event.model_id,
        event.cost_picousd
    from windows
    cross join lateral (
        select
            usage.project_id,
            usage.user_id,
            usage.service_account_id,
            usage.api_key_id,
            usage.model_id,
            sum(usage.cost_picousd) as cost_picousd
        from {{ ref('stg_router__usage_events') }} as usage
        where
            usage.org_id = windows.org_id
            and usage.started_at >= windows.window_starts_at
            and usage.started_at < windows.quarters_start_at
            and usage.recorded_xid < (select horizon.as_of_xid from horizon)
        group by usage.project_id, usage.user_id, usage.service_account_id, usage.api_key_id, usage.model_id
    ) as event
),

spends as materialized (
    select
        parts.org_id,
        parts.window_starts_at,
        parts.window_ends_at,
        parts.project_id,
        parts.user_id,
        parts.service_account_id,
        parts.api_key_id,
        parts.model_id,
        sum(parts.cost_picousd) as cost_picousd
    from parts
    group by
        parts.org_id,
        parts.window_starts_at,
        parts.window_ends_at,
        parts.project_id,
        parts.user_id,
        parts.service_account_id,
        parts.api_key_id,
        parts.model_id
),

spent as (
    select
        due.budget_id,
        coalesce(sum(spends.cost_picousd), 0) + coalesce((
            select sum(kept.spent_picousd)
            from {{ ref('stg_archive__budget_days') }} as kept
            where kept.budget_id = due.budget_id and kept.day_utc::timestamp at time zone 'UTC' < due.window_starts_at
        ), 0) as spent_picousd
    from due
    left join spends
        on
            due.org_id = spends.org_id
            and due.window_starts_at = spends.window_starts_at
            and due.window_ends_at = spends.window_ends_at
            and (due.project_id is null or due.project_id = spends.project_id)
            and (due.user_id is null or due.user_id = spends.user_id)
            and (due.service_account_id is null or due.service_account_id = spends.service_account_id)
            and (due.api_key_id is null or due.api_key_id = spends.api_key_id)
            and (due.model_id is null or due.model_id = spends.model_id)
    group by due.budget_id, due.window_starts_at
),

-- Whole days before today, by weekday: what a day of the week is expected to cost.
history as materialized (
    select
        organization.org_id,
        day.weekday,
        day.project_id,
        day.user_id,
        day.service_account_id,
        day.api_key_id,
        day.model_id,
        day.first_day,
        day.cost_picousd
    from (select distinct
        due.org_id,
        (due.taken_at at time zone 'UTC')::date as today
    from due) as organization
    cross join
        lateral (
            select
                spend.project_id,
                spend.user_id,
                spend.service_account_id,
                spend.api_key_id,
                spend.model_id,
                extract(isodow from spend.day_utc)::integer as weekday,
                min(spend.day_utc) as first_day,
                sum(spend.cost_picousd) as cost_picousd
            from {{ ref('int_spend_days') }} as spend
            where
                spend.org_id = organization.org_id
                and spend.day_utc >= organization.today - {{ history_days }}
                and spend.day_utc < organization.today
                and spend.cost_picousd > 0
            group by
                spend.project_id,
                spend.user_id,
                spend.service_account_id,
                spend.api_key_id,
                spend.model_id,
                extract(isodow from spend.day_utc)
        ) as day
),

weekdays as (
    select
        due.budget_id,
        history.weekday,
        min(history.first_day) as first_day,
        sum(history.cost_picousd) as cost_picousd
    from due
    inner join history
        on
            due.org_id = history.org_id
            and (due.project_id is null or due.project_id = history.project_id)
            and (due.user_id is null or due.user_id = history.user_id)
            and (due.service_account_id is null or due.service_account_id = history.service_account_id)
            and (due.api_key_id is null or due.api_key_id = history.api_key_id)
            and (due.model_id is null or due.model_id = history.model_id)
    group by due.budget_id, history.weekday
),

pasts as (
    select
        due.budget_id,
        spent.spent_picousd,
        (due.taken_at at time zone 'UTC')::date - min(weekdays.first_day) as days_of_history,
        sum(weekdays.cost_picousd) as history_picousd,
        -- At least an hour, so that the first request of a window is not taken for its pace.
        spent.spent_picousd * 86400
        / greatest(extract(epoch from due.taken_at - due.window_starts_at), 3600) as run_rate_picousd,
        case
            when due.window_ends_at = 'infinity' then 0
            else
                extract(epoch from due.taken_at - due.window_starts_at)
                / extract(epoch from due.window_ends_at - due.window_starts_at)
        end as elapsed_share
    from due
    inner join spent on due.budget_id = spent.budget_id
    left join weekdays on due.budget_id = weekdays.budget_id
    group by due.budget_id, due.taken_at, due.window_starts_at, due.window_ends_at, spent.spent_picousd
),

-- A day to come costs what its weekday did, or with little history any day; the more of the window is over, the more its own
-- pace counts.
days_to_come as (
    select
        due.budget_id,
        day.starts_at,
        extract(epoch from day.ends_at - day.starts_at) / 86400 as share,
        case
            when pasts.days_of_history is null then pasts.run_rate_picousd
            else
                pasts.elapsed_share * pasts.run_rate_picousd
                + (1 - pasts.elapsed_share) * case
                    when pasts.days_of_history >= {{ seasonal_days_min }}
                        then
                            -- How often the weekday was among those days, counted back from yesterday.
                            coalesce(weekdays.cost_picousd, 0)
                            / ((pasts.days_of_history + 6 - (day.yesterday - day.weekday + 7) % 7) / 7)
                    else pasts.history_picousd / pasts.days_of_history
                end
        end as day_picousd
    from due
    inner join pasts on due.budget_id = pasts.budget_id
    cross join
        lateral (
            select
                greatest(series.starts_at, due.taken_at) as starts_at,
                least(series.starts_at + interval '1 day', due.window_ends_at) as ends_at,
                extract(isodow from series.starts_at at time zone 'UTC')::integer as weekday,
                extract(isodow from (due.taken_at at time zone 'UTC')::date - 1)::integer as yesterday
            from generate_series(
                date_trunc('day', due.taken_at, 'UTC'),
                least(due.window_ends_at - interval '1 microsecond', due.taken_at + interval '{{ lifetime_forecast_days }} days'),
                interval '1 day'
            ) as series (starts_at)
        ) as day
    left join weekdays
        on due.budget_id = weekdays.budget_id and day.weekday = weekdays.weekday
),

forecasts as (
    select
        course.budget_id,
        sum(course.share * course.day_picousd) as to_come_picousd,
        min(
            course.starts_at
            + (due.limit_picousd - course.before_picousd) / nullif(course.day_picousd, 0) * interval '1 day'
        ) filter (
            where course.before_picousd < due.limit_picousd
            and course.before_picousd + course.share * course.day_picousd >= due.limit_picousd
        ) as used_up_at
    from (
        select
            days_to_come.*,
            pasts.spent_picousd + sum(days_to_come.share * days_to_come.day_picousd) over (
                partition by days_to_come.budget_id order by days_to_come.starts_at
            ) - days_to_come.share * days_to_come.day_picousd as before_picousd
        from days_to_come
        inner join pasts on days_to_come.budget_id = pasts.budget_id
    ) as course
    inner join due on course.budget_id = due.budget_id
    group by course.budget_id
)

select
    due.budget_id,
    due.budget,
    due.org_id,
    due.organization,
    due.project_id,
    due.user_id,
    due.service_account_id,
    due.api_key_id,
    model.model,
    due.period,
    due.mode,
    due.window_starts_at,
    nullif(due.window_ends_at, 'infinity') as window_ends_at,
    due.limit_picousd::numeric(38, 0) as limit_picousd,
    spent.spent_picousd::numeric(38, 0) as spent_picousd,
    greatest(due.limit_picousd - spent.spent_picousd, 0)::numeric(38, 0) as remaining_picousd,
    -- Of a budget of nothing the first cost is all.
    (
        case
            when due.limit_picousd > 0 then round(spent.spent_picousd * 100 / due.limit_picousd, 4)
            when spent.spent_picousd > 0 then 100
            else 0
        end
    )::numeric(38, 4) as percent_used,
    array(
        select reached.percent
        from unnest(due.alert_percents) as reached (percent)
        where spent.spent_picousd > 0 and spent.spent_picousd * 100 >= due.limit_picousd * reached.percent
        order by reached.percent
    ) as reached_percents,
    (
        case
            when due.window_ends_at <> 'infinity' then round(spent.spent_picousd + forecasts.to_come_picousd)
        end
    )::numeric(38, 0) as forecast_picousd,
    case
        when spent.spent_picousd >= due.limit_picousd then due.taken_at
        else forecasts.used_up_at
    end as used_up_at,
    due.complete_to,
    due.taken_at as computed_at,
    due.version,
    due.as_of_xid
from due
inner join spent on due.budget_id = spent.budget_id
inner join forecasts on due.budget_id = forecasts.budget_id
left join {{ ref('stg_control__models') }} as model on due.model_id = model.model_id
