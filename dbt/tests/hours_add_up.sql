-- Quarters of an hour, hours and days say the same, to the last token and pico-dollar.
with totals as (
    select
        'quarter hours' as of_what,
        sum(input_tokens) as input_tokens,
        sum(output_tokens) as output_tokens,
        sum(cost_picousd) as cost
    from {{ ref('int_usage_quarter_hours') }}
    union all
    select
        'hours',
        sum(input_tokens),
        sum(output_tokens),
        sum(cost_picousd)
    from {{ ref('usage_hourly') }}
    union all
    select
        'days',
        sum(input_tokens),
        sum(output_tokens),
        sum(cost_picousd)
    from {{ ref('usage_daily') }}
)

select count(*) as different_totals
from (select distinct
    input_tokens,
    output_tokens,
    cost
from totals) as totals_found
having count(*) > 1
