-- A warning: a row that is not charged by the book is the business of the gate, which sees the same money in the lines.
{{ config(severity='warn') }}

-- What is charged is what usage cost, to the last pico-dollar: quarters of an hour and FOCUS rows have one total.
with totals as (
    select coalesce(sum(usage.cost_picousd), 0) as cost_picousd
    from {{ ref('int_usage_quarter_hours') }} as usage
    where usage.charge_class = 'charged' and usage.price_id is not null
    union
    select coalesce(sum(charge.cost_picousd), 0) as cost_picousd
    from {{ ref('int_charge_days') }} as charge
)

select count(*) as different_totals
from totals
having count(*) > 1
