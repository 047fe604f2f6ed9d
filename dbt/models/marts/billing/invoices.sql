{{ config(materialized='view') }}

-- One row for each invoice that was finalized, as it was frozen; and one for each month that has no final invoice, as it comes
-- to now. Adjustments of earlier months come to a draft when it is made: what a month comes to by itself is without them.
with computed as (
    select
        line.org_id,
        line.organization,
        line.period_month,
        min(line.period_starts_at) as period_starts_at,
        min(line.period_ends_at) as period_ends_at,
        line.currency,
        line.rounding_rule,
        count(*) as lines,
        sum(line.subtotal_picousd) as subtotal_picousd,
        sum(line.amount) as amount
    from {{ ref('invoice_lines') }} as line
    where line.invoice is null
    group by line.org_id, line.organization, line.period_month, line.currency, line.rounding_rule
),

taxed as (
    select
        computed.*,
        coalesce(
            (
                select sum(round(computed.amount * rate.basis_points * 0.0001, 2))
                from {{ ref('stg_billing__tax_regions') }} as own
                inner join {{ ref('stg_billing__tax_rates') }} as rate on own.region = rate.region
                where own.org_id = computed.org_id and rate.months @> computed.period_month
            ),
            0
        ) as tax_amount
    from computed
)

select
    null::text as invoice,
    null::text as number,
    taxed.org_id,
    taxed.organization,
    'invoice' as kind,
    'month' as purpose,
    null::text as corrects,
    'draft' as status,
    taxed.period_month,
    taxed.period_starts_at,
    taxed.period_ends_at,
    taxed.currency,
    taxed.rounding_rule,
    taxed.lines::bigint as lines,
    taxed.subtotal_picousd::numeric(38, 0) as subtotal_picousd,
    taxed.amount::numeric(20, 2) as amount,
    taxed.tax_amount::numeric(20, 2) as tax_amount,
    (taxed.amount + taxed.tax_amount)::numeric(20, 2) as total,
    0::numeric(20, 2) as credits_applied,
    (taxed.amount + taxed.tax_amount)::numeric(20, 2) as due,
    null::text as digest,
    null::jsonb as certificate,
    null::timestamptz as finalized_at
from taxed
union all
select
    invoice.invoice,
    invoice.number,
    invoice.org_id,
    organization.organization,
    invoice.kind,
    invoice.purpose,
    corrected.invoice as corrects,
    invoice.status,
    invoice.period_month,
    invoice.period_starts_at,
    invoice.period_ends_at,
    invoice.currency,
    invoice.rounding_rule,
    (
        select count(*) from {{ ref('stg_billing__invoice_lines') }} as line
        where line.invoice_id = invoice.invoice_id
    ) as lines,
    invoice.subtotal_picousd,
    invoice.amount,
    invoice.tax_amount,
    invoice.total,
    invoice.credits_applied,
    invoice.due,
    encode(invoice.digest, 'hex') as digest,
    certificate.checks as certificate,
    invoice.finalized_at
from {{ ref('stg_billing__invoices') }} as invoice
inner join {{ ref('stg_control__organizations') }} as organization on invoice.org_id = organization.org_id
left join {{ ref('stg_billing__invoices') }} as corrected on invoice.corrects_invoice_id = corrected.invoice_id
left join {{ ref('stg_billing__certificates') }} as certificate on invoice.certificate_id = certificate.certificate_id
where invoice.finalized_at is not null and {{ visible_to_session('invoice.org_id') }}
