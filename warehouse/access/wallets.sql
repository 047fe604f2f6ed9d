-- name: page
select
    c.public_id, o.public_id as organization, c.kind, c.amount_picousd, c.remaining_picousd, c.granted_at, c.expires_at,
    t.reference, t.reason, t.author
from ledger.credits as c
inner join ledger.entries as e on e.id = c.entry_id
inner join ledger.transactions as t on t.id = e.transaction_id
inner join control.organizations as o on o.id = c.org_id
where (%(org_id)s::bigint is null or c.org_id = %(org_id)s)
    and (%(after)s::text is null or c.id < (select a.id from ledger.credits as a where a.public_id = %(after)s))
order by c.id desc
limit %(rows_max)s

-- name: find
select
    c.public_id, o.public_id as organization, c.kind, c.amount_picousd, c.remaining_picousd, c.granted_at, c.expires_at,
    t.reference, t.reason, t.author
from ledger.credits as c
inner join ledger.entries as e on e.id = c.entry_id
inner join ledger.transactions as t on t.id = e.transaction_id
inner join control.organizations as o on o.id = c.org_id
where c.public_id = %(public_id)s

-- name: add
select ledger.grant_credit(
    %(org_id)s, %(amount_picousd)s, %(kind)s, %(expires_at)s, %(reason)s, %(author)s,
    coalesce(%(reference)s, 'grant/' || gen_random_uuid())
)

-- name: void
select ledger.void_credit(c.org_id, c.public_id, %(reason)s, %(author)s) from ledger.credits as c where c.public_id = %(public_id)s

-- name: reference_is_known
select exists (select from ledger.transactions as t where t.reference = %(reference)s)

-- name: balance
-- What a draw would find now: a credit whose time is over is none, even if the daily run has not come by yet.
select
    coalesce(sum(c.remaining_picousd), 0) as available_picousd,
    min(c.expires_at) as next_expiry_at,
    coalesce(
        sum(c.remaining_picousd) filter (where c.expires_at = (
            select min(n.expires_at) from ledger.credits as n
            where n.org_id = %(org_id)s and n.remaining_picousd > 0 and n.granted_at <= now() and n.expires_at > now()
        )), 0
    ) as next_expiry_picousd
from ledger.credits as c
where c.org_id = %(org_id)s and c.remaining_picousd > 0 and c.granted_at <= now() and (c.expires_at is null or c.expires_at > now())

-- name: entries
-- Of the wallet, the newest first, each with the credits that it was taken from or put in.
select
    w.id, t.kind, t.reference, t.reason, t.author, t.happened_at, w.amount_picousd, w.balance_picousd,
    coalesce(
        (
            select jsonb_agg(jsonb_build_object('credit', c.public_id, 'picousd', (-l.amount_picousd)::text) order by l.id)
            from ledger.allocations as l
            inner join ledger.credits as c on c.id = l.credit_id
            where l.entry_id = w.id
        ),
        (
            select jsonb_agg(jsonb_build_object('credit', c.public_id, 'picousd', c.amount_picousd::text))
            from ledger.credits as c
            where c.entry_id = w.id
        )
    ) as credits
from (
    select e.id, e.transaction_id, e.amount_picousd, sum(e.amount_picousd) over (order by e.id) as balance_picousd
    from ledger.entries as e
    inner join ledger.accounts as a on a.id = e.account_id
    where a.org_id = %(org_id)s and a.kind = 'wallet'
) as w
inner join ledger.transactions as t on t.id = w.transaction_id
where (%(before)s::bigint is null or w.id < %(before)s)
order by w.id desc
limit %(rows_max)s

-- name: expire
select ledger.expire_credits()
