{{
    config(
        materialized='incremental',
        incremental_strategy='delete+insert',
        unique_key='org_id',
        indexes=[{'columns': ['entry_id'], 'unique': true}, {'columns': ['org_id', 'entry_id']}, {'columns': ['as_of_xid']}]
    )
}}

-- An organization has some entries a month: where one has come, all of its own are written anew.
with horizon as (
    select as_of_xid from {{ ref('int_usage_horizon') }}
),

touched as materialized (
    select distinct credit_transaction.org_id
    from {{ ref('stg_ledger__transactions') }} as credit_transaction
    where
        credit_transaction.recorded_xid >= {{ watermark() }}
        and credit_transaction.recorded_xid < (select horizon.as_of_xid from horizon)
)

select
    entry.entry_id,
    entry.org_id,
    organization.organization,
    entry.transaction_id,
    entry.kind,
    entry.reference,
    reversed.reference as reverses_reference,
    account.account,
    entry.amount_picousd,
    -- A wallet is locked while it is written, so its entries are numbered as they happened.
    (sum(entry.amount_picousd) over (partition by entry.account_id order by entry.entry_id))::numeric(38, 0) as balance_picousd,
    account.currency,
    credit.credit,
    credit.expires_at,
    entry.reason,
    entry.author,
    entry.happened_at,
    entry.recorded_at,
    (select horizon.as_of_xid from horizon) as as_of_xid
from touched
cross join
    lateral (
        select
            entries.entry_id,
            entries.org_id,
            entries.account_id,
            entries.amount_picousd,
            transactions.transaction_id,
            transactions.kind,
            transactions.reference,
            transactions.reverses_transaction_id,
            transactions.reason,
            transactions.author,
            transactions.happened_at,
            transactions.recorded_at
        from {{ ref('stg_ledger__entries') }} as entries
        inner join {{ ref('stg_ledger__transactions') }} as transactions on entries.transaction_id = transactions.transaction_id
        where
            entries.org_id = touched.org_id
            and transactions.recorded_xid < (select horizon.as_of_xid from horizon)
    ) as entry
inner join {{ ref('stg_control__organizations') }} as organization on entry.org_id = organization.org_id
inner join {{ ref('stg_ledger__accounts') }} as account on entry.account_id = account.account_id
left join {{ ref('stg_ledger__credits') }} as credit on entry.entry_id = credit.entry_id
left join {{ ref('stg_ledger__transactions') }} as reversed on entry.reverses_transaction_id = reversed.transaction_id
