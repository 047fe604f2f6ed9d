{{
    config(
        materialized='incremental',
        incremental_strategy='delete+insert',
        unique_key='org_id',
        indexes=[
            {'columns': ['allocation_id'], 'unique': true},
            {'columns': ['org_id', 'entry_id']},
            {'columns': ['org_id', 'funding_entry_id']},
            {'columns': ['as_of_xid']}
        ]
    )
}}

-- From a deduction to the credits that it was taken from, and from a credit to what was taken from it: one row for each pair.
with touched as materialized (
    select distinct entry.org_id
    from {{ ref('credit_ledger') }} as entry
    where entry.as_of_xid > {{ watermark() }}
)

select
    allocation.allocation_id,
    allocation.org_id,
    entry.organization,
    credit.credit,
    credit.kind as credit_kind,
    credit.entry_id as funding_entry_id,
    allocation.entry_id,
    entry.kind,
    entry.reference,
    allocation.amount_picousd,
    entry.happened_at,
    entry.as_of_xid
from touched
cross join
    lateral (
        select allocations.*
        from {{ ref('stg_ledger__allocations') }} as allocations
        where allocations.org_id = touched.org_id
    ) as allocation
inner join {{ ref('stg_ledger__credits') }} as credit on allocation.credit_id = credit.credit_id
inner join {{ ref('credit_ledger') }} as entry on allocation.entry_id = entry.entry_id
