with source as (
    select * from {{ source('billing', 'certificates') }}
)

select
    id as certificate_id,
    public_id as certificate,
    invoice_id,
    invoice_digest,
    passed,
    checks,
    made_at
from source
