{{ config(materialized='view') }}

-- Months that have no final invoice as they come to now; and every line of every invoice that was finalized, as it was frozen.
with names as (
    select
        organization.org_id,
        organization.organization
    from {{ ref('stg_control__organizations') }} as organization
    where {{ visible_to_session('organization.org_id') }}
),

computed as (
    select
        line.line_key as line_id,
        null::text as invoice,
        line.org_id,
        line.period_month,
        line.period_starts_at,
        line.period_ends_at,
        line.kind,
        null::text as adjusts,
        line.project_id,
        line.model_id,
        line.price_id,
        line.token_class,
        line.above_quantity,
        line.basis_points,
        line.usage_rows,
        line.quantity,
        line.unit_price_picousd,
        line.subtotal_picousd,
        line.amount,
        line.currency,
        'half_up_to_cent' as rounding_rule,
        'draft' as status,
        null::text as row_set_digest,
        line.query,
        line.as_of_xid
    from {{ ref('int_invoice_lines') }} as line
    where not exists (
        select 1 from {{ ref('stg_billing__invoices') }} as invoice
        where
            invoice.org_id = line.org_id
            and invoice.period_month = line.period_month
            and invoice.purpose = 'month'
            and invoice.status = 'final'
    )
),

frozen as (
    select
        line.line_id,
        invoice.invoice,
        line.org_id,
        line.period_month,
        line.period_starts_at,
        line.period_ends_at,
        line.kind,
        line.adjusts,
        line.project_id,
        line.model_id,
        line.price_id,
        line.token_class,
        line.above_quantity,
        line.basis_points,
        line.usage_rows,
        line.quantity,
        line.unit_price_picousd,
        line.subtotal_picousd,
        line.amount,
        invoice.currency,
        invoice.rounding_rule,
        invoice.status,
        encode(line.row_set_digest, 'hex') as row_set_digest,
        line.query,
        line.as_of_xid
    from {{ ref('stg_billing__invoice_lines') }} as line
    inner join {{ ref('stg_billing__invoices') }} as invoice on line.invoice_id = invoice.invoice_id
    where invoice.finalized_at is not null
),

both_kinds as (
    select * from computed
    union all
    select * from frozen
)

select
    line.line_id,
    line.invoice,
    line.org_id,
    names.organization,
    line.period_month,
    line.period_starts_at,
    line.period_ends_at,
    line.kind,
    line.adjusts,
    line.project_id,
    project.project,
    line.model_id,
    model.model,
    line.price_id,
    line.token_class,
    line.above_quantity,
    line.basis_points,
    line.usage_rows,
    line.quantity,
    line.unit_price_picousd,
    line.subtotal_picousd,
    line.amount,
    line.currency,
    line.rounding_rule,
    line.status,
    line.row_set_digest,
    line.query,
    line.as_of_xid
from both_kinds as line
inner join names on line.org_id = names.org_id
left join {{ ref('stg_control__projects') }} as project on line.project_id = project.project_id
left join {{ ref('stg_control__models') }} as model on line.model_id = model.model_id
