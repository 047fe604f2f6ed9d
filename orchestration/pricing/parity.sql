-- name: lines
select
    org_id,
    period_month,
    kind,
    project_id,
    model_id,
    price_id,
    token_class,
    above_quantity,
    basis_points,
    quantity,
    unit_price_picousd,
    subtotal_picousd
from intermediate.int_invoice_lines
where period_month = %(month)s

-- name: horizon
select max(as_of_xid)::text from intermediate.int_usage_quarter_hours
