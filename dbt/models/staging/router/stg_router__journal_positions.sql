with source as (
    select * from {{ source('router', 'journal_positions') }}
)

select
    worker,
    reported_at,
    recorded_xid,
    complete_to
from source
