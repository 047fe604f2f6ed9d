with source as (
    select * from {{ source('ledger', 'credits') }}
)

select
    id as credit_id,
    public_id as credit,
    org_id,
    entry_id,
    kind,
    amount_picousd,
    remaining_picousd,
    granted_at,
    expires_at
from source
