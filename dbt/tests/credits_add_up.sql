-- Entries of a transaction sum to zero, a wallet is never negative, and what is left of credits is what is in the wallet.
select 'transaction ' || entry.transaction_id as wrong
from {{ ref('credit_ledger') }} as entry
group by entry.transaction_id
having sum(entry.amount_picousd) <> 0
union all
select 'entry ' || entry.entry_id as wrong
from {{ ref('credit_ledger') }} as entry
where entry.account = 'wallet' and entry.balance_picousd < 0
union all
select 'deduction ' || entry.entry_id as wrong
from {{ ref('credit_ledger') }} as entry
left join {{ ref('credit_allocations') }} as allocation on entry.entry_id = allocation.entry_id
where entry.account = 'wallet' and entry.credit is null
group by entry.entry_id, entry.amount_picousd
having entry.amount_picousd + coalesce(sum(allocation.amount_picousd), 0) <> 0
