with source as (
    select * from {{ source('billing', 'invoice_lines') }}
)

select
    public_id as line_id,
    invoice_id,
    line_key,
    kind,
    adjusts,
    org_id,
    period_month,
    period_starts_at,
    period_ends_at,
    project_id,
    model_id,
    price_id,
    token_class,
    above_quantity,
    basis_points,
    usage_rows,
    quantity,
    unit_price_picousd,
    subtotal_picousd,
    amount,
    row_set_digest,
    as_of_xid,
    query
from source
