{{
    config(
        materialized='incremental',
        incremental_strategy='delete+insert',
        unique_key=['org_id', 'charge_date'],
        indexes=[{'columns': ['org_id', 'charge_date']}, {'columns': ['as_of_xid']}]
    )
}}

-- What is charged by day of the organization's own zone, so that no charge lies in two of its months.
with organizations as (
    select * from {{ ref('stg_control__organizations') }}
),

prices as (
    select * from {{ ref('stg_control__prices') }}
),

touched as materialized (
    select distinct
        usage.org_id,
        organization.time_zone,
        date_trunc('day', usage.quarter_hour_at at time zone organization.time_zone) as day_local
    from {{ ref('int_usage_quarter_hours') }} as usage
    inner join organizations as organization on usage.org_id = organization.org_id
    where usage.as_of_xid > {{ watermark() }}
),

days as (
    select
        touched.org_id,
        touched.day_local::date as charge_date,
        touched.day_local at time zone touched.time_zone as charge_period_starts_at,
        (touched.day_local + interval '1 day') at time zone touched.time_zone as charge_period_ends_at,
        date_trunc('month', touched.day_local) at time zone touched.time_zone as billing_period_starts_at,
        (date_trunc('month', touched.day_local) + interval '1 month') at time zone touched.time_zone as billing_period_ends_at
    from touched
),

sums as (
    select
        day.*,
        tokens.*
    from days as day
    -- Lateral, so that each day is an index range: the planner cannot know how few are touched, and would read the history.
    cross join lateral (
        select
            usage.project_id,
            usage.api_key_id,
            usage.price_id,
            -- Beside an organization's own price the list price without conditions: these sums no longer tell of those.
            case when price.org_id is null then price.price_id else list.price_id end as list_price_id,
            sum(usage.input_tokens - usage.cached_input_tokens) as input_tokens,
            sum(usage.cached_input_tokens) as cached_input_tokens,
            sum(usage.output_tokens - usage.reasoning_tokens) as output_tokens,
            sum(usage.reasoning_tokens) as reasoning_tokens,
            sum(usage.attempts) as requests,
            max(usage.as_of_xid) as as_of_xid
        from {{ ref('int_usage_quarter_hours') }} as usage
        inner join prices as price on usage.price_id = price.price_id
        left join prices as list
            on
                price.org_id is not null
                and price.model_id = list.model_id
                and list.org_id is null
                and list.priority = 0
                and list.effective @> usage.quarter_hour_at
        where
            usage.org_id = day.org_id
            and usage.quarter_hour_at >= day.charge_period_starts_at
            and usage.quarter_hour_at < day.charge_period_ends_at
            and usage.charge_class = 'charged'
        group by 1, 2, 3, 4
    ) as tokens
)

select
    sums.org_id,
    sums.charge_date,
    sums.charge_period_starts_at,
    sums.charge_period_ends_at,
    sums.billing_period_starts_at,
    sums.billing_period_ends_at,
    sums.project_id,
    sums.api_key_id,
    price.model_id,
    sums.price_id,
    sums.list_price_id,
    class.token_class,
    class.quantity::numeric(38, 0) as quantity,
    class.unit_price_picousd,
    coalesce(class.list_unit_price_picousd, class.unit_price_picousd) as list_unit_price_picousd,
    (class.quantity * class.unit_price_picousd)::numeric(38, 0) as cost_picousd,
    sums.as_of_xid
from sums
inner join prices as price on sums.price_id = price.price_id
left join prices as list on sums.list_price_id = list.price_id
cross join
    lateral (
        values
        ('input', sums.input_tokens, price.input_picousd, list.input_picousd),
        ('cached_input', sums.cached_input_tokens, price.cached_input_picousd, list.cached_input_picousd),
        ('output', sums.output_tokens, price.output_picousd, list.output_picousd),
        (
            'reasoning',
            sums.reasoning_tokens,
            coalesce(price.reasoning_picousd, price.output_picousd),
            coalesce(list.reasoning_picousd, list.output_picousd)
        ),
        ('request', sums.requests, price.request_picousd, list.request_picousd)
    ) as class (token_class, quantity, unit_price_picousd, list_unit_price_picousd)
where class.quantity > 0 and (class.token_class <> 'request' or class.unit_price_picousd > 0 or class.list_unit_price_picousd > 0)
