-- What may be done with the ledger. Each function is one transaction of it under the lock of the organization's wallet, so that
-- two draws at once never take the same credit; the same `reference` again does nothing and answers as the first time.

-- The id of an account, made at its first use.
create or replace function ledger.account(for_org_id bigint, kind_of text) returns bigint
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    found_id bigint;
begin
    select a.id into found_id from ledger.accounts as a where a.org_id = for_org_id and a.kind = kind_of;
    if found_id is null then
        insert into ledger.accounts (org_id, kind, currency)
        select o.id, kind_of, o.currency from control.organizations as o where o.id = for_org_id
        on conflict on constraint accounts_one_of_a_kind do nothing;
        select a.id into strict found_id from ledger.accounts as a where a.org_id = for_org_id and a.kind = kind_of;
    end if;
    return found_id;
end
$$;

-- The wallet of an organization, locked until this transaction ends.
create or replace function ledger.lock_wallet(for_org_id bigint) returns bigint
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    wallet bigint := ledger.account(for_org_id, 'wallet');
begin
    perform from ledger.accounts as a where a.id = wallet for update;
    return wallet;
end
$$;

-- The transaction of a reference, or null. Raises where it is one of another kind or of another organization.
create or replace function ledger.known(for_org_id bigint, kind_of text, of_reference text) returns bigint
language plpgsql stable
set search_path = pg_catalog, pg_temp
as $$
declare
    said record;
begin
    select t.id, t.org_id, t.kind into said from ledger.transactions as t where t.reference = of_reference;
    if said.id is not null and (said.org_id <> for_org_id or said.kind <> kind_of) then
        raise exception 'the reference % is taken by another transaction', of_reference using errcode = 'unique_violation';
    end if;
    return said.id;
end
$$;

-- Moves credit out of the wallet into another account: an amount of each credit. Returns the transaction.
create or replace function ledger.move_out(
    for_org_id bigint, kind_of text, into_account text, of_reference text, why text, author_of text, at timestamptz,
    credit_ids bigint[], amounts numeric[]
) returns bigint
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    total numeric := coalesce((select sum(u.amount) from unnest(amounts) as u (amount)), 0);
    made bigint;
    from_wallet bigint;
begin
    insert into ledger.transactions (org_id, kind, reference, reason, author, happened_at)
    values (for_org_id, kind_of, of_reference, why, author_of, at)
    returning id into made;
    if total > 0 then
        insert into ledger.entries (org_id, transaction_id, account_id, amount_picousd)
        values (for_org_id, made, ledger.account(for_org_id, 'wallet'), -total)
        returning id into from_wallet;
        insert into ledger.entries (org_id, transaction_id, account_id, amount_picousd)
        values (for_org_id, made, ledger.account(for_org_id, into_account), total);
        insert into ledger.allocations (org_id, credit_id, entry_id, amount_picousd)
        select for_org_id, u.credit_id, from_wallet, u.amount
        from unnest(credit_ids, amounts) as u (credit_id, amount);
    end if;
    return made;
end
$$;

-- Puts a credit into the wallet; its public id. Kinds: prepaid (it was paid for), promotional.
create or replace function ledger.grant_credit(
    for_org_id bigint, amount numeric, kind_of text, expires timestamptz, why text, author_of text, of_reference text,
    at timestamptz default now()
) returns text
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    wallet bigint;
    made bigint;
    into_wallet bigint;
    named text;
begin
    perform control.check_reach(for_org_id, true);
    if amount <> trunc(amount) then
        raise exception 'a credit is of whole pico-dollars, not of %', amount using errcode = 'invalid_parameter_value';
    end if;
    wallet := ledger.lock_wallet(for_org_id);
    made := ledger.known(for_org_id, 'grant', of_reference);
    if made is not null then
        return (
            select c.public_id from ledger.credits as c
            inner join ledger.entries as e on e.id = c.entry_id
            where e.transaction_id = made
        );
    end if;
    insert into ledger.transactions (org_id, kind, reference, reason, author, happened_at)
    values (for_org_id, 'grant', of_reference, why, author_of, at)
    returning id into made;
    insert into ledger.entries (org_id, transaction_id, account_id, amount_picousd)
    values (for_org_id, made, ledger.account(for_org_id, kind_of), -amount);
    insert into ledger.entries (org_id, transaction_id, account_id, amount_picousd)
    values (for_org_id, made, wallet, amount)
    returning id into into_wallet;
    insert into ledger.credits (public_id, org_id, entry_id, kind, amount_picousd, remaining_picousd, granted_at, expires_at)
    values (
        'credit_' || left(replace(gen_random_uuid()::text, '-', ''), 20), for_org_id, into_wallet, kind_of, amount, amount, at, expires
    )
    returning public_id into named;
    return named;
end
$$;

-- Takes at most so much of the credits that are open at an instant, the ones that expire first before the others and of those
-- the oldest; what it took, and 0 where there is none. A repeated reference gives what the first call took.
create or replace function ledger.draw(
    for_org_id bigint, up_to_picousd numeric, reference text, at timestamptz, -- noqa: RF04
    why text default 'applied to an invoice', author_of text default session_user::text
) returns numeric
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    made bigint;
    taken numeric;
    credit_ids bigint[];
    amounts numeric[];
begin
    perform control.check_reach(for_org_id, false);
    if up_to_picousd is null or up_to_picousd < 0 or up_to_picousd <> trunc(up_to_picousd) then
        raise exception 'a draw is of whole pico-dollars, at least 0, not of %', up_to_picousd
            using errcode = 'invalid_parameter_value';
    end if;
    perform ledger.lock_wallet(for_org_id);
    made := ledger.known(for_org_id, 'draw', draw.reference);
    if made is not null then
        if exists (select from ledger.transactions as t where t.reverses = made) then
            raise exception 'the draw % was given back: a new one has a reference of its own', draw.reference
                using errcode = 'unique_violation';
        end if;
        select coalesce(sum(e.amount_picousd), 0) into taken
        from ledger.entries as e
        where e.transaction_id = made and e.amount_picousd > 0;
        if taken > up_to_picousd then
            raise exception 'the draw % took %, more than % now', draw.reference, taken, up_to_picousd
                using errcode = 'unique_violation';
        end if;
        return taken;
    end if;
    select array_agg(o.id order by o.place), array_agg(least(o.remaining_picousd, up_to_picousd - o.before) order by o.place)
    into credit_ids, amounts
    from (
        select
            c.id, c.remaining_picousd, row_number() over (order by c.expires_at nulls last, c.granted_at, c.id) as place,
            sum(c.remaining_picousd) over (order by c.expires_at nulls last, c.granted_at, c.id) - c.remaining_picousd as before
        from ledger.credits as c
        where c.org_id = for_org_id and c.remaining_picousd > 0
            and c.granted_at <= draw.at and (c.expires_at is null or c.expires_at > draw.at)
    ) as o
    where o.before < up_to_picousd;
    -- One that took nothing is written down too: repeated, it must not take what has come since.
    made := ledger.move_out(for_org_id, 'draw', 'consumed', draw.reference, why, author_of, draw.at, credit_ids, amounts);
    return (select coalesce(sum(e.amount_picousd), 0) from ledger.entries as e where e.transaction_id = made and e.amount_picousd > 0);
end
$$;

-- Reverses a draw: each credit gets back what was taken of it. What has expired meanwhile expires with the next daily run.
create or replace function ledger.give_back(
    reference text, why text default 'the invoice was voided', author_of text default session_user::text -- noqa: RF04
) returns numeric
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    said record;
    made bigint;
    into_wallet bigint;
begin
    select t.id, t.org_id into said from ledger.transactions as t where t.reference = give_back.reference and t.kind = 'draw';
    if said.id is null then
        raise exception 'there is no draw %', give_back.reference using errcode = 'no_data_found';
    end if;
    perform control.check_reach(said.org_id, false);
    perform ledger.lock_wallet(said.org_id);
    if not exists (select from ledger.transactions as t where t.reverses = said.id) then
        insert into ledger.transactions (org_id, kind, reference, reverses, reason, author, happened_at)
        values (said.org_id, 'give_back', 'give_back/' || said.id, said.id, why, author_of, now())
        returning id into made;
        insert into ledger.entries (org_id, transaction_id, account_id, amount_picousd)
        select said.org_id, made, e.account_id, -e.amount_picousd from ledger.entries as e where e.transaction_id = said.id;
        select e.id into into_wallet from ledger.entries as e where e.transaction_id = made and e.amount_picousd > 0;
        insert into ledger.allocations (org_id, credit_id, entry_id, amount_picousd)
        select said.org_id, l.credit_id, into_wallet, -l.amount_picousd
        from ledger.allocations as l
        inner join ledger.entries as e on e.id = l.entry_id
        where e.transaction_id = said.id;
    end if;
    return (
        select coalesce(sum(e.amount_picousd), 0) from ledger.entries as e
        where e.transaction_id = said.id and e.amount_picousd > 0
    );
end
$$;

-- Takes away what is left of a credit that should not have been; how much that was.
create or replace function ledger.void_credit(
    for_org_id bigint, credit text, why text, author_of text, at timestamptz default now()
) returns numeric
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    said record;
begin
    perform control.check_reach(for_org_id, true);
    perform ledger.lock_wallet(for_org_id);
    select c.id, c.remaining_picousd, (select count(*) from ledger.allocations as l where l.credit_id = c.id) as moves into said
    from ledger.credits as c
    where c.org_id = for_org_id and c.public_id = void_credit.credit;
    if said.id is null then
        raise exception 'there is no credit %', void_credit.credit using errcode = 'no_data_found';
    end if;
    if said.remaining_picousd > 0 then
        perform ledger.move_out(
            for_org_id, 'void', 'voided', 'void/' || void_credit.credit || '/' || said.moves, why, author_of, void_credit.at,
            array[said.id], array[said.remaining_picousd]
        );
    end if;
    return said.remaining_picousd;
end
$$;

-- What is left of credits whose time is over leaves the wallet, a transaction a credit; how many there were.
create or replace function ledger.expire_credits(as_of timestamptz default now(), credits_max integer default 100000) returns integer
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    due record;
    said record;
    expired integer := 0;
begin
    -- By organization, so that two runs at once take the locks in one order.
    for due in
        select c.id, c.org_id, c.public_id
        from ledger.credits as c
        where c.remaining_picousd > 0 and c.expires_at <= as_of
        order by c.org_id, c.expires_at, c.id
        limit credits_max
    loop
        perform ledger.lock_wallet(due.org_id);
        select c.remaining_picousd, (select count(*) from ledger.allocations as l where l.credit_id = c.id) as moves
        into said
        from ledger.credits as c
        where c.id = due.id;
        if said.remaining_picousd > 0 then
            perform ledger.move_out(
                due.org_id, 'expiry', 'expired', 'expiry/' || due.public_id || '/' || said.moves, 'its time is over', 'inferhouse',
                as_of, array[due.id], array[said.remaining_picousd]
            );
            expired := expired + 1;
        end if;
    end loop;
    return expired;
end
$$;

revoke all on all functions in schema ledger from public;
grant usage on schema ledger to inferhouse_management, inferhouse_transform;
grant select on all tables in schema ledger to inferhouse_management, inferhouse_transform;
grant execute on function ledger.grant_credit(bigint, numeric, text, timestamptz, text, text, text, timestamptz) to inferhouse_management;
grant execute on function ledger.void_credit(bigint, text, text, text, timestamptz) to inferhouse_management;
grant execute on function ledger.draw(bigint, numeric, text, timestamptz, text, text) to inferhouse_management, inferhouse_transform;
grant execute on function ledger.give_back(text, text, text) to inferhouse_management, inferhouse_transform;
grant execute on function ledger.expire_credits(timestamptz, integer) to inferhouse_transform;

do $$
declare
    of_organization text;
begin
    foreach of_organization in array array['accounts', 'transactions', 'entries', 'credits', 'allocations'] loop
        execute format('alter table ledger.%I enable row level security', of_organization);
        execute format('drop policy if exists management_rows on ledger.%I', of_organization);
        execute format(
            'create policy management_rows on ledger.%I for select to inferhouse_management '
            'using ((select control.sees_platform()) or org_id = (select control.current_org_id()))',
            of_organization
        );
        execute format('drop policy if exists services_rows on ledger.%I', of_organization);
        execute format('create policy services_rows on ledger.%I for select to inferhouse_transform using (true)', of_organization);
    end loop;
end
$$;
