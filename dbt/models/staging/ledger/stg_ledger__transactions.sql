with source as (
    select * from {{ source('ledger', 'transactions') }}
)

select
    id as transaction_id,
    org_id,
    kind,
    reference,
    reverses as reverses_transaction_id,
    reason,
    author,
    happened_at,
    recorded_at,
    recorded_xid
from source
