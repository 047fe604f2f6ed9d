-- name: page
select
    i.public_id, i.number, o.public_id as organization, o.name as organization_name, o.time_zone, i.kind, i.purpose,
    c.public_id as corrects, i.status, i.period_month, i.period_starts_at, i.period_ends_at, i.currency, i.rounding_rule,
    i.subtotal_picousd, i.amount, i.tax_amount, i.total, i.credits_applied, i.due, encode(i.digest, 'hex') as digest, i.reason,
    i.drafted_at, i.finalized_at, i.voided_at, i.void_reason,
    coalesce((
        select jsonb_agg(jsonb_build_object(
            'month', to_char(t.period_month, 'YYYY-MM'), 'region', t.region, 'name', t.name, 'basis_points', t.basis_points,
            'taxable', t.taxable::text, 'amount', t.amount::text
        ) order by t.period_month, t.name)
        from billing.tax_lines as t where t.invoice_id = i.id
    ), '[]') as taxes
from billing.invoices as i
inner join control.organizations as o on o.id = i.org_id
left join billing.invoices as c on c.id = i.corrects_invoice_id
where (%(only_final)s::boolean is false or i.finalized_at is not null)
    and (%(organization)s::text is null or o.public_id = %(organization)s::text)
    and (%(month)s::date is null or i.period_month = %(month)s::date)
    and (%(status)s::text is null or i.status = %(status)s::text)
    and (%(invoice)s::text is null or i.public_id = %(invoice)s::text)
    and (
        %(after)s::text is null
        or i.id < (select a.id from billing.invoices as a where a.public_id = %(after)s::text)
    )
order by i.id desc
limit %(rows_max)s

-- name: lines
select
    l.public_id, l.period_month, l.kind, l.adjusts, p.public_id as project, m.name as model, l.price_id, l.token_class,
    l.above_quantity, l.basis_points, l.usage_rows, l.quantity, l.unit_price_picousd, l.subtotal_picousd, l.amount,
    encode(l.row_set_digest, 'hex') as row_set_digest, l.query
from billing.invoice_lines as l
inner join billing.invoices as i on i.id = l.invoice_id
left join control.projects as p on p.id = l.project_id
left join control.models as m on m.id = l.model_id
where i.public_id = %(invoice)s
    and (%(after)s::text is null or l.id > (select a.id from billing.invoice_lines as a where a.public_id = %(after)s::text))
order by l.id
limit %(rows_max)s

-- name: certificate
select c.public_id, c.passed, encode(c.invoice_digest, 'hex') as digest, c.checks, c.made_at, c.made_by
from billing.certificates as c
inner join billing.invoices as i on i.id = c.invoice_id
where i.public_id = %(invoice)s
order by (c.id = i.certificate_id) desc nulls last, c.id desc
limit 1

-- name: find_line
select
    l.public_id, l.period_month, l.kind, l.adjusts, p.public_id as project, m.name as model, l.price_id, l.token_class,
    l.above_quantity, l.basis_points, l.usage_rows, l.quantity, l.unit_price_picousd, l.subtotal_picousd, l.amount,
    encode(l.row_set_digest, 'hex') as row_set_digest, l.query
from billing.invoice_lines as l
inner join billing.invoices as i on i.id = l.invoice_id
left join control.projects as p on p.id = l.project_id
left join control.models as m on m.id = l.model_id
where l.public_id = %(line)s and i.finalized_at is not null

-- name: check_line
select usage_rows, subtotal_picousd, encode(row_set_digest, 'hex') as row_set_digest from billing.check_line(%(line)s)

-- name: rows_of_line
select * from billing.rows_of_line(
    %(line)s, %(after_at)s::timestamptz, %(after_request)s::uuid, %(after_attempt)s::integer, %(rows_max)s
)

-- name: draft
select invoice from billing.draft_invoices(%(month)s::date, %(author)s, %(org_id)s)

-- name: finalize
select billing.finalize_invoice(%(invoice)s, %(author)s)

-- name: void
select billing.void_invoice(%(invoice)s, %(reason)s, %(author)s)

-- name: credit
select billing.credit_invoice(%(invoice)s, %(amount)s::numeric, %(reason)s, %(author)s)

-- name: find_organization
select id from control.organizations where public_id = %(organization)s

-- name: tax_rates
select id, region, name, basis_points, lower(months) as first_month, upper(months) as before_month
from billing.tax_rates
order by region, name, lower(months)
limit 1000

-- name: add_tax_rate
insert into billing.tax_rates (region, name, basis_points, months)
values (%(region)s, %(name)s, %(basis_points)s, daterange(%(first_month)s::date, %(before_month)s::date))
returning id, region, name, basis_points, lower(months) as first_month, upper(months) as before_month

-- name: set_tax_region
insert into billing.tax_regions (org_id, region) values (%(org_id)s, %(region)s)
on conflict (org_id) do update set region = excluded.region

-- name: clear_tax_region
delete from billing.tax_regions where org_id = %(org_id)s
