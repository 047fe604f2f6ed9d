with source as (
    select * from {{ source('ledger', 'allocations') }}
)

select
    id as allocation_id,
    org_id,
    credit_id,
    entry_id,
    amount_picousd
from source
