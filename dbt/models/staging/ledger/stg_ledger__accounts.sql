with source as (
    select * from {{ source('ledger', 'accounts') }}
)

select
    id as account_id,
    org_id,
    kind as account,
    currency,
    balance_picousd
from source
