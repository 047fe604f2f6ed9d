-- Credits and prepaid wallets on a double-entry ledger. Transactions, entries and allocations are written once and never
-- changed; what accounts and credits hold is kept beside them by triggers, so that a draw reads open credits only.
create schema ledger;

create table ledger.accounts (
    id bigint generated always as identity primary key,
    org_id bigint not null references control.organizations (id),
    kind text not null check (kind in ('wallet', 'prepaid', 'promotional', 'consumed', 'expired', 'voided')),
    currency text not null check (currency = 'USD'),
    balance_picousd numeric(38, 0) not null default 0,
    constraint accounts_one_of_a_kind unique (org_id, kind, currency),
    constraint accounts_of_organization unique (org_id, id),
    constraint accounts_wallet_is_never_negative check (kind <> 'wallet' or balance_picousd >= 0)
);
comment on table ledger.accounts is
'The wallet of an organization; where its credits came from (prepaid, promotional: negative); where they went.';

create table ledger.transactions (
    id bigint generated always as identity primary key,
    org_id bigint not null references control.organizations (id),
    kind text not null check (kind in ('grant', 'draw', 'expiry', 'void', 'give_back')),
    reference text not null check (length(reference) between 1 and 200),
    reverses bigint references ledger.transactions (id),
    reason text not null check (length(reason) between 1 and 500),
    author text not null check (length(author) between 1 and 100),
    happened_at timestamptz not null,
    recorded_at timestamptz not null default now(),
    recorded_xid xid8 not null default pg_current_xact_id(),
    constraint transactions_reference_is_unique unique (reference),
    constraint transactions_of_organization unique (org_id, id),
    constraint transactions_reversed_once unique (reverses),
    constraint transactions_give_back_reverses check ((kind = 'give_back') = (reverses is not null))
);
comment on table ledger.transactions is 'Append-only. The entries of each sum to zero; a mistake is put right by another one.';
create index transactions_recorded_xid on ledger.transactions (recorded_xid);

create table ledger.entries (
    id bigint generated always as identity primary key,
    org_id bigint not null references control.organizations (id),
    transaction_id bigint not null,
    account_id bigint not null,
    amount_picousd numeric(38, 0) not null check (amount_picousd <> 0),
    constraint entries_one_an_account unique (transaction_id, account_id),
    constraint entries_of_organization unique (org_id, id),
    constraint entries_transaction foreign key (org_id, transaction_id) references ledger.transactions (org_id, id),
    constraint entries_account foreign key (org_id, account_id) references ledger.accounts (org_id, id)
);
comment on table ledger.entries is 'Append-only. Pico-dollars into an account, or out of it where negative.';
create index entries_account_id_id on ledger.entries (account_id, id);

create table ledger.credits (
    id bigint generated always as identity primary key,
    public_id text not null check (public_id ~ '^credit_[0-9a-z]{12,32}$'),
    org_id bigint not null references control.organizations (id),
    entry_id bigint not null,
    kind text not null check (kind in ('prepaid', 'promotional')),
    amount_picousd numeric(38, 0) not null check (amount_picousd > 0),
    remaining_picousd numeric(38, 0) not null,
    granted_at timestamptz not null,
    expires_at timestamptz,
    constraint credits_public_id_is_unique unique (public_id),
    constraint credits_of_an_entry unique (entry_id),
    constraint credits_of_organization unique (org_id, id),
    constraint credits_entry foreign key (org_id, entry_id) references ledger.entries (org_id, id),
    constraint credits_remaining_check check (remaining_picousd between 0 and amount_picousd),
    constraint credits_expiry_check check (expires_at > granted_at)
);
comment on table ledger.credits is 'What a grant put into the wallet, and what is left of it. Only remaining_picousd ever changes.';
create index credits_open on ledger.credits (org_id, expires_at, granted_at, id) where remaining_picousd > 0;
create index credits_expiring on ledger.credits (expires_at) where remaining_picousd > 0;

create table ledger.allocations (
    id bigint generated always as identity primary key,
    org_id bigint not null references control.organizations (id),
    credit_id bigint not null,
    entry_id bigint not null,
    amount_picousd numeric(38, 0) not null check (amount_picousd <> 0),
    constraint allocations_credit_once_an_entry unique (entry_id, credit_id),
    constraint allocations_credit foreign key (org_id, credit_id) references ledger.credits (org_id, id),
    constraint allocations_entry foreign key (org_id, entry_id) references ledger.entries (org_id, id)
);
comment on table ledger.allocations is
'Append-only. Which credits an entry of the wallet was taken from; negative where they were given back.';
create index allocations_credit_id on ledger.allocations (credit_id, id);
create index allocations_org_id on ledger.allocations (org_id);

create function ledger.refuse_change() returns trigger
language plpgsql as $$
begin
    raise exception 'the ledger is append-only: put a compensating transaction into it'
        using errcode = 'restrict_violation', table = tg_table_name;
end
$$;
create trigger append_only before update or delete or truncate on ledger.transactions
for each statement execute function ledger.refuse_change();
create trigger append_only before update or delete or truncate on ledger.entries
for each statement execute function ledger.refuse_change();
create trigger append_only before update or delete or truncate on ledger.allocations
for each statement execute function ledger.refuse_change();
create trigger append_only before delete or truncate on ledger.credits
for each statement execute function ledger.refuse_change();
create trigger append_only before delete or truncate on ledger.accounts
for each statement execute function ledger.refuse_change();

-- Of a credit and of an account nothing changes but what they hold, and that only in step with an entry or an allocation.
create function ledger.refuse_other_change() returns trigger
language plpgsql as $$
begin
    if pg_trigger_depth() < 2
        or to_jsonb(old) - '{balance_picousd,remaining_picousd}'::text[]
        is distinct from to_jsonb(new) - '{balance_picousd,remaining_picousd}'::text[] then
        raise exception 'the ledger is append-only: put a compensating transaction into it'
            using errcode = 'restrict_violation', table = tg_table_name;
    end if;
    return new;
end
$$;
create trigger held_by_triggers before update on ledger.credits
for each row execute function ledger.refuse_other_change();
create trigger held_by_triggers before update on ledger.accounts
for each row execute function ledger.refuse_other_change();

create function ledger.add_to_account() returns trigger
language plpgsql as $$
begin
    update ledger.accounts as a set balance_picousd = a.balance_picousd + new.amount_picousd where a.id = new.account_id;
    return null;
end
$$;
create trigger add_to_account after insert on ledger.entries
for each row execute function ledger.add_to_account();

create function ledger.take_from_credit() returns trigger
language plpgsql as $$
begin
    update ledger.credits as c set remaining_picousd = c.remaining_picousd - new.amount_picousd where c.id = new.credit_id;
    return null;
end
$$;
create trigger take_from_credit after insert on ledger.allocations
for each row execute function ledger.take_from_credit();

-- At commit, when whoever wrote may not see the rows any more: the entries sum to zero in one currency, and what the wallet got
-- or gave is told credit by credit.
create function ledger.check_transaction() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    checked bigint := case tg_table_name
        when 'transactions' then (to_jsonb(new) ->> 'id')::bigint
        when 'entries' then (to_jsonb(new) ->> 'transaction_id')::bigint
        else (select e.transaction_id from ledger.entries as e where e.id = (to_jsonb(new) ->> 'entry_id')::bigint)
    end;
    total numeric;
    currencies integer;
begin
    select coalesce(sum(e.amount_picousd), 0), count(distinct a.currency) into total, currencies
    from ledger.entries as e
    inner join ledger.accounts as a on a.id = e.account_id
    where e.transaction_id = checked;
    if total <> 0 or currencies > 1 then
        raise exception 'the entries of transaction % sum to %, in % currencies', checked, total, currencies
            using errcode = 'check_violation', constraint = 'entries_sum_to_zero';
    end if;
    if exists (
        select
        from ledger.entries as e
        inner join ledger.accounts as a on a.id = e.account_id
        where e.transaction_id = checked
            and case when a.kind = 'wallet' then e.amount_picousd else 0 end
            <> coalesce((select sum(c.amount_picousd) from ledger.credits as c where c.entry_id = e.id), 0)
            - coalesce((select sum(l.amount_picousd) from ledger.allocations as l where l.entry_id = e.id), 0)
    ) then
        raise exception 'transaction % does not say which credits it is about', checked
            using errcode = 'check_violation', constraint = 'entries_are_traceable';
    end if;
    return null;
end
$$;
create constraint trigger check_transaction after insert on ledger.transactions
deferrable initially deferred for each row execute function ledger.check_transaction();
create constraint trigger check_transaction after insert on ledger.entries
deferrable initially deferred for each row execute function ledger.check_transaction();
create constraint trigger check_transaction after insert on ledger.allocations
deferrable initially deferred for each row execute function ledger.check_transaction();
create constraint trigger check_transaction after insert on ledger.credits
deferrable initially deferred for each row execute function ledger.check_transaction();
