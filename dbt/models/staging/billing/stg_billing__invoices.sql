with source as (
    select * from {{ source('billing', 'invoices') }}
)

select
    id as invoice_id,
    public_id as invoice,
    number,
    org_id,
    kind,
    purpose,
    corrects_invoice_id,
    status,
    period_month,
    period_starts_at,
    period_ends_at,
    currency,
    rounding_rule,
    subtotal_picousd,
    amount,
    tax_amount,
    total,
    credits_applied,
    due,
    digest,
    certificate_id,
    reason,
    drafted_at,
    finalized_at,
    voided_at
from source
