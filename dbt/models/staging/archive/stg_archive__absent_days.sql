with source as (
    select * from {{ source('archive', 'absent_days') }}
)

select day as day_utc from source
