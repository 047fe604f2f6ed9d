-- name: built
select to_regclass('marts.invoices') is not null and to_regclass('marts.invoice_lines') is not null as built

-- name: preview
select period_starts_at, period_ends_at, currency, subtotal_picousd, amount, tax_amount, total
from marts.invoices
where org_id = %(org_id)s and period_month = %(month)s::date and invoice is null

-- name: preview_lines
select kind, project, model, price_id, token_class, quantity, unit_price_picousd, subtotal_picousd, amount
from marts.invoice_lines
where org_id = %(org_id)s and period_month = %(month)s::date and invoice is null
order by kind desc, model, project, price_id, token_class, above_quantity
limit %(rows_max)s
