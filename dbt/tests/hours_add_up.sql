-- Quarters of an hour, hours and days say the same, to the last token and pico-dollar: three totals are one.
with totals as (
    select
        sum(input_tokens) as input_tokens,
        sum(output_tokens) as output_tokens,
        sum(cost_picousd) as cost_picousd
    from {{ ref('int_usage_quarter_hours') }}
    union
    select
        sum(input_tokens) as input_tokens,
        sum(output_tokens) as output_tokens,
        sum(cost_picousd) as cost_picousd
    from {{ ref('usage_hourly') }}
    union
    select
        sum(input_tokens) as input_tokens,
        sum(output_tokens) as output_tokens,
        sum(cost_picousd) as cost_picousd
    from {{ ref('usage_daily') }}
)

select count(*) as different_totals
from totals
having count(*) > 1
