-- name: marts
select mart.relname as mart, array_agg(attribute.attname::text order by attribute.attnum) as columns
from pg_class as mart
inner join pg_attribute as attribute on mart.oid = attribute.attrelid and attribute.attnum > 0 and not attribute.attisdropped
where mart.relnamespace = 'marts'::regnamespace and mart.relkind in ('r', 'v', 'p')
group by mart.relname
order by mart.relname

-- name: digest
select
    count(*) as usage_rows,
    encode(
        sha256(
            coalesce(string_agg(sha256(convert_to(line.text, 'UTF8')), ''::bytea order by line.text collate "C"), ''::bytea)
        ),
        'hex'
    ) as digest
from (
    select ({columns})::text as text
    from {table}
    where {period} >= {first} and {period} < {last}
) as line

-- name: see_everything
-- Views of marts show rows to the platform's role. Taken back with the transaction.
grant inferhouse_platform to {owner}

-- name: has_invoices
select to_regclass('billing.invoice_lines') is not null as has_them

-- name: lines_of_invoices
-- What was invoiced for a month: an adjustment is added to the line that it adjusts.
select
    organization.public_id as organization,
    line.line_key,
    sum(line.quantity)::text as quantity,
    sum(line.subtotal_picousd)::text as subtotal_picousd,
    case when count(*) = 1 then min(encode(line.row_set_digest, 'hex')) end as row_set_digest
from billing.invoice_lines as line
inner join billing.invoices as invoice on line.invoice_id = invoice.id
inner join control.organizations as organization on invoice.org_id = organization.id
where line.period_month = %(month)s and invoice.status = %(status)s and invoice.purpose in ('month', 'adjustments')
group by organization.public_id, line.line_key
order by organization.public_id, line.line_key

-- name: draft_invoices
select invoice from billing.draft_invoices(%(month)s, 'replay')
