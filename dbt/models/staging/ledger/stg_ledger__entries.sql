with source as (
    select * from {{ source('ledger', 'entries') }}
)

select
    id as entry_id,
    org_id,
    transaction_id,
    account_id,
    amount_picousd
from source
