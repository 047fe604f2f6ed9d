with source as (
    select * from {{ source('archive', 'budget_days') }}
)

select
    budget_id,
    day as day_utc,
    router_life,
    spent_picousd
from source
