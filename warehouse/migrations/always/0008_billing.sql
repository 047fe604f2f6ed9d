-- What may be done with invoices. The functions belong to the owner and are the only way in: what is final stays as it is,
-- whoever asks. `transform` (Dagster) drafts, certifies and finalizes; `management` does the same for people, but certifies
-- nothing: only the gate does.
create or replace function billing.refuse_invoice_change() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    may_change constant text[] := '{status,voided_at,voided_by,void_reason}';
begin
    if tg_op = 'TRUNCATE' then
        raise exception 'invoices are not truncated' using errcode = 'restrict_violation';
    end if;
    if tg_op = 'DELETE' then
        if old.status <> 'draft' then
            raise exception 'invoice % is %: void it, which leaves it there', old.public_id, old.status
                using errcode = 'restrict_violation';
        end if;
        return old;
    end if;
    if old.status = 'draft' then
        return new;
    end if;
    if old.status = 'final' and new.status = 'void' and to_jsonb(old) - may_change = to_jsonb(new) - may_change then
        return new;
    end if;
    raise exception 'invoice % is % and is not changed: void it, or write a credit note', old.public_id, old.status
        using errcode = 'restrict_violation';
end
$$;
create or replace trigger frozen before update or delete on billing.invoices
for each row execute function billing.refuse_invoice_change();
create or replace trigger not_truncated before truncate on billing.invoices
for each statement execute function billing.refuse_invoice_change();

create or replace function billing.refuse_line_change() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    if tg_op = 'TRUNCATE' or tg_table_name = 'certificates' then
        raise exception 'rows of billing.% are kept as they are', tg_table_name using errcode = 'restrict_violation';
    end if;
    -- Both invoices: a line cannot be moved from a draft into what is final either.
    if exists (
        select from billing.invoices as i
        where i.status <> 'draft' and i.id in (
            case when tg_op = 'INSERT' then new.invoice_id else old.invoice_id end,
            case when tg_op = 'DELETE' then old.invoice_id else new.invoice_id end
        )
    ) then
        raise exception 'the lines of an invoice that is final are not changed: void it, or write a credit note'
            using errcode = 'restrict_violation';
    end if;
    return case when tg_op = 'DELETE' then old else new end;
end
$$;
create or replace trigger frozen before insert or update or delete on billing.invoice_lines
for each row execute function billing.refuse_line_change();
create or replace trigger not_truncated before truncate on billing.invoice_lines
for each statement execute function billing.refuse_line_change();
create or replace trigger frozen before insert or update or delete on billing.tax_lines
for each row execute function billing.refuse_line_change();
create or replace trigger not_truncated before truncate on billing.tax_lines
for each statement execute function billing.refuse_line_change();
create or replace trigger append_only before update or delete on billing.certificates
for each row execute function billing.refuse_line_change();
create or replace trigger not_truncated before truncate on billing.certificates
for each statement execute function billing.refuse_line_change();

-- What organizations were billed: a month's own lines and what has adjusted them since. What a note takes back or off is not here.
create or replace view billing.billed_lines as
select
    (select i.finalized_at from billing.invoices as i where i.id = l.invoice_id) as finalized_at,
    l.*
from billing.invoice_lines as l
where l.invoice_id in (select i.id from billing.invoices as i where i.status = 'final' and i.purpose in ('month', 'adjustments'));

-- Lines that the discounts of an invoice rest on: its own, and those that were final before it. An adjustment counts as what it
-- adjusts.
create or replace function billing.lines_up_to(of_invoice bigint) returns table (
    invoice_id bigint, line_key text, period_month date, model_id integer, kind text, token_class text, quantity numeric,
    subtotal_picousd numeric
)
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
select l.invoice_id, l.line_key, l.period_month, l.model_id, coalesce(l.adjusts, l.kind), l.token_class, l.quantity,
    l.subtotal_picousd
from billing.invoice_lines as l
where l.invoice_id = of_invoice
union all
select l.invoice_id, l.line_key, l.period_month, l.model_id, coalesce(l.adjusts, l.kind), l.token_class, l.quantity,
    l.subtotal_picousd
from billing.invoices as own
inner join billing.billed_lines as l on l.org_id = own.org_id and l.invoice_id <> own.id
where own.id = of_invoice and l.finalized_at < coalesce(own.finalized_at, 'infinity')
$$;
revoke all on function billing.lines_up_to(bigint) from public;

-- Each month that has a final invoice, and up to which commit its rows are on lines of final invoices.
create or replace function billing.months_frozen(for_org_id bigint) returns table (
    org_id bigint, period_month date, frozen_to_xid xid8
)
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
select l.org_id, l.period_month, max(l.as_of_xid)
from billing.billed_lines as l
where (for_org_id is null or l.org_id = for_org_id)
    and exists (
        select from billing.invoices as m
        where m.org_id = l.org_id and m.period_month = l.period_month and m.status = 'final' and m.purpose = 'month'
    )
group by l.org_id, l.period_month
$$;
revoke all on function billing.months_frozen(bigint) from public;

-- The digest of what an invoice says. Internal ids of invoices, who made it and when are left out: a month that is replayed
-- into an empty database has the same.
create or replace function billing.digest_of(of_invoice bigint) returns bytea
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
select sha256(convert_to(concat_ws(E'\n',
    concat_ws('|', o.public_id, i.kind, i.purpose, i.period_month, extract(epoch from i.period_starts_at)::bigint,
        extract(epoch from i.period_ends_at)::bigint, i.currency, i.rounding_rule, i.subtotal_picousd, i.amount, i.tax_amount,
        i.total),
    (
        select string_agg(concat_ws('|', l.period_month, l.line_key, l.kind, coalesce(l.adjusts, ''),
            coalesce(l.price_id::text, ''), l.quantity, coalesce(l.unit_price_picousd::text, ''), l.subtotal_picousd, l.amount,
            coalesce(encode(l.row_set_digest, 'hex'), '')), E'\n' order by l.period_month, l.line_key)
        from billing.invoice_lines as l where l.invoice_id = i.id
    ),
    (
        select string_agg(concat_ws('|', t.period_month, t.region, t.name, t.basis_points, t.taxable, t.amount), E'\n'
            order by t.period_month, t.name)
        from billing.tax_lines as t where t.invoice_id = i.id
    )
), 'UTF8'))
from billing.invoices as i
inner join control.organizations as o on o.id = i.org_id
where i.id = of_invoice
$$;
revoke all on function billing.digest_of(bigint) from public;

-- Digests of the raw rows behind the lines of drafts: one pass over the rows of all of them together.
create or replace function billing.digest_rows(of_invoices bigint[]) returns void
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    first_at timestamptz;
    last_at timestamptz;
begin
    select min(l.period_starts_at), max(l.period_ends_at) into first_at, last_at
    from billing.invoice_lines as l where l.invoice_id = any(of_invoices);
    -- A digest of the rows that are left would say that the others never were.
    if exists (
        select from billing.invoice_lines as l
        inner join archive.absent_days as a
            on a.day >= (l.period_starts_at at time zone 'UTC')::date and a.day <= (l.period_ends_at at time zone 'UTC')::date
        where l.invoice_id = any(of_invoices) and l.price_id is not null and l.rows_after_xid = '0'
    ) then
        raise exception 'rows of this month are only in the archive: restore its days first'
            using errcode = 'object_not_in_prerequisite_state', hint = 'inferhouse archive restore';
    end if;
    with wanted as materialized (
        select distinct l.invoice_id, l.org_id, l.period_month, l.period_starts_at, l.period_ends_at, l.rows_after_xid, l.as_of_xid
        from billing.invoice_lines as l
        where l.invoice_id = any(of_invoices) and l.price_id is not null
    ),
    digests as (
        select w.invoice_id, w.period_month, e.project_id, e.price_id, sum(e.input_tokens + e.output_tokens) as tokens,
            count(*) as usage_rows,
            sha256(string_agg(raw.row_digest(e), ''::bytea order by e.started_at, e.request_id, e.attempt)) as digest
        from raw.usage_events as e
        inner join wanted as w
            on e.org_id = w.org_id and e.started_at >= w.period_starts_at and e.started_at < w.period_ends_at
                and e.recorded_xid >= w.rows_after_xid and e.recorded_xid < w.as_of_xid
        where e.started_at >= first_at and e.started_at < last_at and e.charge_class = 'charged' and e.price_id is not null
        group by w.invoice_id, w.period_month, e.project_id, e.price_id
    ),
    said as (
        select l.invoice_id, l.period_month, l.project_id, l.price_id,
            coalesce(sum(l.quantity) filter (where l.token_class <> 'request'), 0) as tokens
        from billing.invoice_lines as l
        where l.invoice_id = any(of_invoices) and l.price_id is not null
        group by l.invoice_id, l.period_month, l.project_id, l.price_id
    )
    -- Counted here, too: a class of tokens that has come late has no line of earlier rows to be taken off.
    update billing.invoice_lines as l set row_set_digest = d.digest, usage_rows = d.usage_rows
    from digests as d
    -- Late rows that an adjustment is of may have gone to the archive with their day: of a part of them there is no digest, and
    -- the gate stays closed.
    inner join said as s
        on s.invoice_id = d.invoice_id and s.period_month = d.period_month and s.project_id = d.project_id
            and s.price_id = d.price_id and s.tokens = d.tokens
    where l.invoice_id = d.invoice_id and l.period_month = d.period_month and l.project_id = d.project_id
        and l.price_id = d.price_id;
    -- A discount rests on lines: its digest is that of their digests.
    update billing.invoice_lines as l set row_set_digest = d.digest
    from (
        select b.invoice_id, b.period_month, b.model_id,
            sha256(string_agg(b.row_set_digest, ''::bytea order by b.line_key)) as digest
        from billing.invoice_lines as b
        where b.invoice_id = any(of_invoices) and b.row_set_digest is not null and b.price_id is not null
        group by b.invoice_id, b.period_month, b.model_id
    ) as d
    where l.invoice_id = d.invoice_id and l.period_month = d.period_month and l.model_id = d.model_id and l.price_id is null
        and l.adjusts is distinct from 'price';
end
$$;
revoke all on function billing.digest_rows(bigint[]) from public;

-- Taxes by the rates of each month of usage, sums, kind and digest of drafts. Sums are of rounded amounts, so lines add up.
create or replace function billing.total_up(of_invoices bigint[]) returns void
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    delete from billing.tax_lines as t where t.invoice_id = any(of_invoices);
    insert into billing.tax_lines (invoice_id, period_month, region, name, basis_points, taxable, amount)
    select s.invoice_id, s.period_month, r.region, r.name, r.basis_points, s.amount, round(s.amount * r.basis_points * 0.0001, 2)
    from (
        select l.invoice_id, l.org_id, l.period_month, sum(l.amount) as amount
        from billing.invoice_lines as l where l.invoice_id = any(of_invoices)
        group by l.invoice_id, l.org_id, l.period_month
    ) as s
    inner join billing.tax_regions as own on own.org_id = s.org_id
    inner join billing.tax_rates as r on r.region = own.region and r.months @> s.period_month;
    update billing.invoices as i set
        subtotal_picousd = s.subtotal_picousd, amount = s.amount, tax_amount = s.tax_amount,
        total = s.amount + s.tax_amount, due = s.amount + s.tax_amount,
        kind = case when s.amount + s.tax_amount < 0 then 'credit_note' else 'invoice' end
    from (
        select l.invoice_id, sum(l.subtotal_picousd) as subtotal_picousd, sum(l.amount) as amount,
            coalesce((select sum(t.amount) from billing.tax_lines as t where t.invoice_id = l.invoice_id), 0) as tax_amount
        from billing.invoice_lines as l where l.invoice_id = any(of_invoices)
        group by l.invoice_id
    ) as s
    where i.id = s.invoice_id;
    update billing.invoices as i set digest = billing.digest_of(i.id) where i.id = any(of_invoices);
end
$$;
revoke all on function billing.total_up(bigint[]) from public;

-- Lines of the month itself, as they are computed now.
create or replace function billing.add_month(to_invoices bigint[]) returns void
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    insert into billing.invoice_lines (
        public_id, invoice_id, line_key, kind, org_id, period_month, period_starts_at, period_ends_at, project_id, model_id, price_id,
        token_class, above_quantity, basis_points, usage_rows, quantity, unit_price_picousd, subtotal_picousd, amount,
        rows_after_xid, as_of_xid, query
    )
    select
        'il_' || left(encode(sha256(convert_to(i.public_id || '/' || c.line_key, 'UTF8')), 'hex'), 24), i.id, c.line_key, c.kind,
        c.org_id, c.period_month, c.period_starts_at, c.period_ends_at, c.project_id, c.model_id, c.price_id, c.token_class,
        c.above_quantity, c.basis_points, c.usage_rows, c.quantity, c.unit_price_picousd, c.subtotal_picousd, c.amount,
        '0', c.as_of_xid, billing.frozen_query(i.id, c.kind, c.query, '0', c.as_of_xid)
    from billing.invoices as i
    inner join intermediate.int_invoice_lines as c on c.org_id = i.org_id and c.period_month = i.period_month
    where i.id = any(to_invoices) and i.purpose = 'month';
end
$$;

-- What differs from what is final: of the month itself, or of all months for the invoice of another one.
create or replace function billing.add_adjustments(to_invoices bigint[]) returns void
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    with months as (
        select i.id as invoice_id, i.public_id, f.org_id, f.period_month, f.frozen_to_xid
        from billing.invoices as i
        inner join billing.months_frozen(
            -- Of one organization, or of all: asked once, and not for each of ten thousand.
            (select case when count(*) = 1 then max(one.org_id) end from billing.invoices as one where one.id = any(to_invoices))
        ) as f on f.org_id = i.org_id
        where i.id = any(to_invoices)
            and case when i.purpose = 'adjustments' then f.period_month = i.period_month else f.period_month <> i.period_month end
    ),
    frozen as (
        select m.invoice_id, l.org_id, l.period_month, l.line_key, max(coalesce(l.adjusts, l.kind)) as kind,
            max(l.project_id) as project_id, max(l.model_id) as model_id, max(l.price_id) as price_id,
            max(l.token_class) as token_class, max(l.above_quantity) as above_quantity, max(l.period_starts_at) as period_starts_at,
            max(l.period_ends_at) as period_ends_at, max(l.unit_price_picousd) as unit_price_picousd,
            sum(l.usage_rows) as usage_rows, sum(l.quantity) as quantity, sum(l.subtotal_picousd) as subtotal_picousd
        from months as m
        inner join billing.billed_lines as l on l.org_id = m.org_id and l.period_month = m.period_month
        where l.adjusts is distinct from 'price'
        group by m.invoice_id, l.org_id, l.period_month, l.line_key
    ),
    computed as (
        select m.invoice_id, c.*
        from months as m
        inner join intermediate.int_invoice_lines as c on c.org_id = m.org_id and c.period_month = m.period_month
    ),
    differences as (
        select
            invoice_id, org_id, period_month, line_key, coalesce(c.kind, f.kind) as kind, coalesce(c.project_id, f.project_id) as project_id,
            coalesce(c.model_id, f.model_id) as model_id, coalesce(c.price_id, f.price_id) as price_id,
            coalesce(c.token_class, f.token_class) as token_class, coalesce(c.above_quantity, f.above_quantity) as above_quantity,
            c.basis_points, coalesce(c.period_starts_at, f.period_starts_at) as period_starts_at,
            coalesce(c.period_ends_at, f.period_ends_at) as period_ends_at,
            coalesce(c.unit_price_picousd, f.unit_price_picousd) as unit_price_picousd,
            coalesce(c.usage_rows, 0) - coalesce(f.usage_rows, 0) as usage_rows,
            coalesce(c.quantity, 0) - coalesce(f.quantity, 0) as quantity,
            coalesce(c.subtotal_picousd, 0) - coalesce(f.subtotal_picousd, 0) as subtotal_picousd,
            coalesce(c.query, 'select 0') as query
        from computed as c
        full join frozen as f using (invoice_id, org_id, period_month, line_key)
    )
    insert into billing.invoice_lines (
        public_id, invoice_id, line_key, kind, adjusts, org_id, period_month, period_starts_at, period_ends_at, project_id, model_id,
        price_id, token_class, above_quantity, basis_points, usage_rows, quantity, unit_price_picousd, subtotal_picousd, amount,
        rows_after_xid, as_of_xid, query
    )
    select
        'il_' || left(encode(sha256(convert_to(m.public_id || '/' || d.line_key, 'UTF8')), 'hex'), 24), d.invoice_id, d.line_key,
        'adjustment', d.kind, d.org_id, d.period_month, d.period_starts_at, d.period_ends_at, d.project_id, d.model_id, d.price_id,
        d.token_class, d.above_quantity, d.basis_points, d.usage_rows, d.quantity, d.unit_price_picousd, d.subtotal_picousd,
        round(d.subtotal_picousd * 0.000000000001, 2), m.frozen_to_xid, now.as_of_xid,
        case
            when d.kind = 'usage' then billing.frozen_query(d.invoice_id, d.kind, d.query, m.frozen_to_xid, now.as_of_xid)
            else format(
                'select coalesce((%s), 0) - coalesce((select sum(subtotal_picousd) from billing.lines_up_to(%s)'
                ' where line_key = %L and invoice_id <> %s), 0)',
                billing.frozen_query(d.invoice_id, d.kind, d.query, m.frozen_to_xid, now.as_of_xid), d.invoice_id, d.line_key,
                d.invoice_id
            )
        end
    from differences as d
    inner join months as m on m.invoice_id = d.invoice_id and m.period_month = d.period_month
    cross join lateral (
        select max(c.as_of_xid) as as_of_xid from intermediate.int_invoice_lines as c
        where c.org_id = d.org_id and c.period_month = d.period_month
    ) as now
    where d.subtotal_picousd <> 0 or (d.kind = 'usage' and d.quantity <> 0);
end
$$;

-- What a corrected price book changed (`inferhouse reprice --apply`) and no final invoice has: of the month itself, and on the
-- invoice of a month those of months that are final. Whole corrections: nothing is discounted again.
create or replace function billing.add_repricings(to_invoices bigint[]) returns void
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    insert into billing.invoice_lines (
        public_id, invoice_id, line_key, kind, adjusts, org_id, period_month, period_starts_at, period_ends_at, project_id, model_id,
        token_class, above_quantity, usage_rows, quantity, subtotal_picousd, amount, rows_after_xid, as_of_xid, query
    )
    select
        'il_' || left(encode(sha256(convert_to(i.public_id || '/' || a.public_id, 'UTF8')), 'hex'), 24), i.id, a.public_id,
        'adjustment', 'price', a.org_id, a.period_month, p.period_starts_at, p.period_ends_at, a.project_id, a.model_id,
        a.token_class, a.above_quantity, 0, a.quantity, a.subtotal_picousd, round(a.subtotal_picousd * 0.000000000001, 2),
        -- Of no row: months_frozen takes the largest as_of_xid of a month for how far its rows are on lines.
        '0', '0', format('select subtotal_picousd from findings.adjustments where public_id = %L', a.public_id)
    from billing.invoices as i
    inner join findings.adjustments as a on a.org_id = i.org_id
    inner join intermediate.int_billing_periods as p on p.org_id = a.org_id and p.period_month = a.period_month
    where i.id = any(to_invoices)
        and (
            a.period_month = i.period_month
            or (i.purpose = 'month' and exists (
                select from billing.invoices as f
                where f.org_id = a.org_id and f.period_month = a.period_month and f.status = 'final' and f.purpose = 'month'
            ))
        )
        and not exists (
            select from billing.billed_lines as l
            where l.org_id = a.org_id and l.period_month = a.period_month and l.line_key = a.public_id
        );
end
$$;

-- The query of a computed line, bound to what it had when it was drafted: rows by commit, discounts by the lines before them.
create or replace function billing.frozen_query(of_invoice bigint, kind text, query text, after_xid xid8, to_xid xid8) returns text
language sql immutable
set search_path = pg_catalog, pg_temp
as $$
select case
    when kind = 'usage' then query || format(' and recorded_xid >= %L and recorded_xid < %L', after_xid, to_xid)
    else regexp_replace(
        query, 'from marts\.invoice_lines where org_id = \d+ and status = ''draft''',
        format('from billing.lines_up_to(%s) where true', of_invoice)
    )
end
$$;
revoke all on function billing.add_month(bigint[]) from public;
revoke all on function billing.add_adjustments(bigint[]) from public;
revoke all on function billing.add_repricings(bigint[]) from public;
revoke all on function billing.frozen_query(bigint, text, text, xid8, xid8) from public;

-- Drafts of a month, of all organizations or of one, made anew from what is computed now. Whose month is final is left out;
-- with one organization named, what has come for its final month since is drafted as an invoice of its own.
create or replace function billing.draft_invoices(month date, by_whom text, only_org_id bigint default null)
returns table (invoice text, organization text)
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    drafts bigint[];
begin
    perform control.check_reach(only_org_id, true);
    -- One at a time for each organization; rows and not advisory locks, of which ten thousand would not fit.
    perform from control.organizations as o
    where (only_org_id is null or o.id = only_org_id) order by o.id for no key update;
    with wanted as (
        select p.org_id, p.period_month, p.period_starts_at, p.period_ends_at, p.currency,
            case when exists (
                select from billing.invoices as i
                where i.org_id = p.org_id and i.period_month = p.period_month and i.status = 'final' and i.purpose = 'month'
            ) then 'adjustments' else 'month' end as purpose
        from (
            (
                select distinct on (c.org_id) c.org_id, c.period_month, c.period_starts_at, c.period_ends_at, c.currency
                from intermediate.int_invoice_lines as c
                where c.period_month = month and (only_org_id is null or c.org_id = only_org_id)
                order by c.org_id
            )
            union all
            -- Whose rows of the month were all of unknown cost: what re-pricing has found for them is all that there is.
            select m.org_id, m.period_month, m.period_starts_at, m.period_ends_at, m.currency
            from intermediate.int_billing_periods as m
            where m.period_month = month and (only_org_id is null or m.org_id = only_org_id)
                and exists (select from findings.adjustments as a where a.org_id = m.org_id and a.period_month = m.period_month)
                and not exists (
                    select from intermediate.int_invoice_lines as c where c.org_id = m.org_id and c.period_month = m.period_month
                )
        ) as p
    ),
    made as (
        insert into billing.invoices (
            public_id, org_id, kind, purpose, period_month, period_starts_at, period_ends_at, currency, rounding_rule, drafted_at,
            drafted_by
        )
        select 'inv_' || left(replace(gen_random_uuid()::text, '-', ''), 24), w.org_id, 'invoice', w.purpose, w.period_month,
            -- Not now(): an invoice may have become final while this waited for it, and is seen.
            w.period_starts_at, w.period_ends_at, w.currency, 'half_up_to_cent', clock_timestamp(), by_whom
        from wanted as w
        where only_org_id is not null or w.purpose = 'month'
        on conflict (org_id, period_month) where status = 'draft' and purpose in ('month', 'adjustments') do update
        set purpose = excluded.purpose, drafted_at = excluded.drafted_at, drafted_by = excluded.drafted_by
        returning id
    )
    select array_agg(id) into drafts from made;
    if drafts is null then
        if only_org_id is not null then
            raise exception 'nothing was charged in this month' using errcode = 'no_data_found';
        end if;
        return;
    end if;
    delete from billing.invoice_lines as l where l.invoice_id = any(drafts);
    perform billing.add_month(drafts);
    perform billing.add_adjustments(drafts);
    perform billing.add_repricings(drafts);
    if not exists (select from billing.invoice_lines as l where l.invoice_id = any(drafts)) then
        raise exception 'this month is final, and nothing has come for it since' using errcode = 'no_data_found';
    end if;
    perform billing.digest_rows(drafts);
    perform billing.total_up(drafts);
    return query
    select i.public_id, o.public_id
    from billing.invoices as i
    inner join control.organizations as o on o.id = i.org_id
    where i.id = any(drafts)
    order by i.id;
end
$$;

-- What the gate found. Good for the draft with this digest, and for no other.
create or replace function billing.certify(
    of_invoice text, digest_checked bytea, has_passed boolean, found jsonb, by_whom text
) returns text
language sql security definer
set search_path = pg_catalog, pg_temp
as $$
insert into billing.certificates (public_id, invoice_id, invoice_digest, passed, checks, made_by)
select 'cert_' || left(replace(gen_random_uuid()::text, '-', ''), 24), i.id, digest_checked, has_passed, found, by_whom
from billing.invoices as i where i.public_id = of_invoice and i.status = 'draft'
returning public_id
$$;
revoke all on function billing.certify(text, bytea, boolean, jsonb, text) from public;
revoke all on function billing.draft_invoices(date, text, bigint) from public;

-- An event about an invoice. The outbox lets the management API speak for the organization of its transaction only; a platform
-- admin's transaction has none, and speaks for the invoice's.
create or replace function billing.put_invoice_event(of_invoice bigint, event_type text, more jsonb) returns void
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    own billing.invoices;
    before text := current_setting('inferhouse.org_id', true);
begin
    select * into own from billing.invoices as i where i.id = of_invoice;
    perform set_config('inferhouse.org_id', own.org_id::text, true);
    perform control.put_event(own.org_id, event_type, jsonb_build_object(
        'invoice_id', own.public_id, 'number', own.number, 'kind', own.kind, 'month', to_char(own.period_month, 'YYYY-MM'),
        'total_usd', own.total::text, 'due_usd', own.due::text
    ) || more, event_type || ' ' || own.public_id || coalesce(' ' || (more ->> 'digest'), ''));
    perform set_config('inferhouse.org_id', coalesce(before, ''), true);
end
$$;
revoke all on function billing.put_invoice_event(bigint, text, jsonb) from public;

create or replace function billing.next_number(of_kind text, at_time timestamptz) returns text
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    given bigint;
begin
    update billing.numbers as n set last = n.last + 1 where n.kind = of_kind returning n.last into given;
    return case of_kind when 'invoice' then 'INV' else 'CN' end
        || to_char(at_time at time zone 'UTC', '-YYYY-') || lpad(given::text, greatest(6, length(given::text)), '0');
end
$$;
revoke all on function billing.next_number(text, timestamptz) from public;

-- Why a draft may not become final now; null when it may.
create or replace function billing.obstacle(own billing.invoices) returns text
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    latest billing.certificates;
begin
    if own.status <> 'draft' then
        return format('invoice %s is %s already', own.public_id, own.status);
    end if;
    select * into latest from billing.certificates as c where c.invoice_id = own.id order by c.id desc limit 1;
    if latest.id is null then
        return 'the gate has not looked at this draft yet: it does within a minute while Dagster runs; try again then';
    end if;
    if latest.invoice_digest <> own.digest then
        return 'the draft is another one than the gate has looked at: it looks again within a minute while Dagster runs';
    end if;
    if not latest.passed then
        return 'the gate is closed: ' || (
            select string_agg(c ->> 'words', '; ') from jsonb_array_elements(latest.checks) as c where not (c ->> 'passed')::boolean
        );
    end if;
    -- What was adjusted may have been invoiced by another invoice since, or what it adjusts have been taken back. That the rows
    -- are the same does not say so: discounts change without a row.
    if exists (
        select from billing.invoice_lines as l
        left join billing.months_frozen(own.org_id) as f on f.period_month = l.period_month
        where l.invoice_id = own.id and l.kind = 'adjustment' and l.adjusts <> 'price'
            and l.rows_after_xid is distinct from f.frozen_to_xid
    ) or exists (
        select from billing.invoice_lines as l
        inner join billing.billed_lines as o on o.org_id = l.org_id and o.period_month = l.period_month and o.line_key = l.line_key
        where l.invoice_id = own.id and l.kind = 'adjustment' and (l.adjusts = 'price' or o.finalized_at > own.drafted_at)
    ) then
        return 'another invoice has adjusted one of these months meanwhile: draft it again';
    end if;
    return null;
end
$$;
revoke all on function billing.obstacle(billing.invoices) from public;

-- Credits in whole cents, up to the total. What is left of a cent stays in the wallet.
create or replace function billing.apply_credits(own billing.invoices, at_time timestamptz) returns numeric
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    taken numeric;
    whole numeric;
begin
    if own.total <= 0 then
        return 0;
    end if;
    taken := ledger.draw(own.org_id, own.total * 1000000000000, 'invoice ' || own.public_id, at_time);
    whole := trunc(taken * 0.000000000001, 2);
    if whole * 1000000000000 <> taken then
        perform ledger.give_back('invoice ' || own.public_id);
        if whole > 0 then
            perform ledger.draw(own.org_id, whole * 1000000000000, 'invoice ' || own.public_id || ' whole cents', at_time);
        end if;
    end if;
    return whole;
end
$$;
revoke all on function billing.apply_credits(billing.invoices, timestamptz) from public;

create or replace function billing.lock_invoice(of_invoice text) returns billing.invoices
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    own billing.invoices;
begin
    select * into own from billing.invoices as i where i.public_id = of_invoice;
    if own.id is null then
        raise exception 'there is no such invoice' using errcode = 'no_data_found';
    end if;
    perform control.check_reach(own.org_id, true);
    -- The lock of `draft_invoices`: of one organization one invoice at a time is made, changed or corrected.
    perform from control.organizations as o where o.id = own.org_id for no key update;
    select * into own from billing.invoices as i where i.id = own.id for update;
    return own;
end
$$;
revoke all on function billing.lock_invoice(text) from public;

-- Draft to final: number, credits, certificate. Raises object_not_in_prerequisite_state with words when it may not be.
create or replace function billing.finalize_invoice(of_invoice text, by_whom text) returns void
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    own billing.invoices := billing.lock_invoice(of_invoice);
    why text := billing.obstacle(own);
    at_time timestamptz := clock_timestamp();
    applied numeric;
begin
    if why is not null then
        raise exception '%', why using errcode = 'object_not_in_prerequisite_state';
    end if;
    applied := billing.apply_credits(own, at_time);
    update billing.invoices as i set
        status = 'final', number = billing.next_number(own.kind, at_time), credits_applied = applied, due = i.total - applied,
        finalized_at = at_time, finalized_by = by_whom,
        certificate_id = (select max(c.id) from billing.certificates as c where c.invoice_id = own.id)
    where i.id = own.id;
    perform billing.put_invoice_event(own.id, 'invoice.finalized', '{}');
end
$$;
revoke all on function billing.finalize_invoice(text, text) from public;

-- A document that corrects a final one: made, totalled and final at once. The certificate is that of what it corrects.
create or replace function billing.finish_correction(made_id bigint, by_whom text) returns void
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    at_time timestamptz := clock_timestamp();
begin
    update billing.invoices as i set digest = billing.digest_of(i.id) where i.id = made_id;
    update billing.invoices as i set
        status = 'final', number = billing.next_number(i.kind, at_time), finalized_at = at_time, finalized_by = by_whom
    where i.id = made_id;
end
$$;
revoke all on function billing.finish_correction(bigint, text) from public;

-- Void: what it said is taken back, line by line, by a credit note; its credits go back into the wallet. Its month may be
-- drafted again. A draft that is void is only given up. Returns the credit note's id, null for a draft.
create or replace function billing.void_invoice(of_invoice text, why text, by_whom text) returns text
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    own billing.invoices := billing.lock_invoice(of_invoice);
    note billing.invoices;
    later text;
begin
    if own.status = 'void' or own.purpose = 'void' then
        raise exception 'it is void already, or takes back what is' using errcode = 'object_not_in_prerequisite_state';
    end if;
    select string_agg(distinct i.public_id, ', ') into later
    from billing.invoices as i
    left join billing.invoice_lines as l on l.invoice_id = i.id
    where i.org_id = own.org_id and i.status = 'final' and i.id <> own.id and own.status = 'final' and (
        (i.purpose = 'credit' and i.corrects_invoice_id = own.id)
        or (
            i.finalized_at > own.finalized_at and l.kind = 'adjustment' and i.purpose in ('month', 'adjustments')
            and l.period_month in (select m.period_month from billing.invoice_lines as m where m.invoice_id = own.id)
        )
    );
    if later is not null then
        raise exception 'void these first, which correct it or its months: %', later
            using errcode = 'object_not_in_prerequisite_state';
    end if;
    update billing.invoices as i
    set status = 'void', voided_at = clock_timestamp(), voided_by = by_whom, void_reason = why where i.id = own.id;
    if own.status = 'draft' then
        return null;
    end if;
    insert into billing.invoices (
        public_id, org_id, kind, purpose, corrects_invoice_id, period_month, period_starts_at, period_ends_at, currency,
        rounding_rule, subtotal_picousd, amount, tax_amount, total, credits_applied, due, reason, drafted_by
    ) values (
        'inv_' || left(replace(gen_random_uuid()::text, '-', ''), 24), own.org_id,
        case own.kind when 'invoice' then 'credit_note' else 'invoice' end, 'void', own.id, own.period_month,
        own.period_starts_at, own.period_ends_at, own.currency, own.rounding_rule, -own.subtotal_picousd, -own.amount,
        -own.tax_amount, -own.total, -own.credits_applied, -own.due, why, by_whom
    ) returning * into note;
    insert into billing.invoice_lines (
        public_id, invoice_id, line_key, kind, adjusts, org_id, period_month, period_starts_at, period_ends_at, project_id,
        model_id, price_id, token_class, above_quantity, basis_points, usage_rows, quantity, unit_price_picousd,
        subtotal_picousd, amount, row_set_digest, rows_after_xid, as_of_xid, query
    )
    select
        'il_' || left(encode(sha256(convert_to(note.public_id || '/' || l.line_key, 'UTF8')), 'hex'), 24), note.id, l.line_key,
        l.kind, l.adjusts, l.org_id, l.period_month, l.period_starts_at, l.period_ends_at, l.project_id, l.model_id, l.price_id,
        l.token_class, l.above_quantity, l.basis_points, l.usage_rows, -l.quantity, l.unit_price_picousd, -l.subtotal_picousd,
        -l.amount, l.row_set_digest, l.rows_after_xid, l.as_of_xid, format('select -(%s)', l.query)
    from billing.invoice_lines as l where l.invoice_id = own.id;
    insert into billing.tax_lines (invoice_id, period_month, region, name, basis_points, taxable, amount)
    select note.id, t.period_month, t.region, t.name, t.basis_points, -t.taxable, -t.amount
    from billing.tax_lines as t where t.invoice_id = own.id;
    if own.credits_applied > 0 then
        perform ledger.give_back(coalesce(
            (select t.reference from ledger.transactions as t where t.reference = 'invoice ' || own.public_id || ' whole cents'),
            'invoice ' || own.public_id
        ));
    end if;
    perform billing.finish_correction(note.id, by_whom);
    perform billing.put_invoice_event(own.id, 'invoice.voided', jsonb_build_object('credit_note_id', note.public_id));
    return note.public_id;
end
$$;
revoke all on function billing.void_invoice(text, text, text) from public;

-- An amount before taxes is taken off a final invoice by a credit note, never more than it came to. Returns the note's id.
create or replace function billing.credit_invoice(of_invoice text, off numeric, why text, by_whom text) returns text
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    own billing.invoices := billing.lock_invoice(of_invoice);
    rest numeric;
    note billing.invoices;
begin
    if own.status <> 'final' or own.kind <> 'invoice' then
        raise exception 'only what is a final invoice can be credited; this is a % that is %', own.kind, own.status
            using errcode = 'object_not_in_prerequisite_state';
    end if;
    select own.amount + coalesce(sum(i.amount), 0) into rest
    from billing.invoices as i where i.corrects_invoice_id = own.id and i.purpose = 'credit' and i.status = 'final';
    if off > rest then
        raise exception 'of this invoice % USD before taxes are left to credit', rest
            using errcode = 'object_not_in_prerequisite_state';
    end if;
    insert into billing.invoices (
        public_id, org_id, kind, purpose, corrects_invoice_id, period_month, period_starts_at, period_ends_at, currency,
        rounding_rule, reason, drafted_by
    ) values (
        'inv_' || left(replace(gen_random_uuid()::text, '-', ''), 24), own.org_id, 'credit_note', 'credit', own.id,
        own.period_month, own.period_starts_at, own.period_ends_at, own.currency, own.rounding_rule, why, by_whom
    ) returning * into note;
    insert into billing.invoice_lines (
        public_id, invoice_id, line_key, kind, org_id, period_month, period_starts_at, period_ends_at, usage_rows, quantity,
        subtotal_picousd, amount, rows_after_xid, as_of_xid, query
    ) values (
        'il_' || left(encode(sha256(convert_to(note.public_id || '/credit', 'UTF8')), 'hex'), 24), note.id, 'credit', 'credit',
        own.org_id, own.period_month, own.period_starts_at, own.period_ends_at, 0, 1, -off * 1000000000000, -off, '0', '0',
        format('select -(%s * 1000000000000)', off)
    );
    perform billing.total_up(array[note.id]);
    perform billing.finish_correction(note.id, by_whom);
    perform billing.put_invoice_event(note.id, 'invoice.finalized', '{}');
    return note.public_id;
end
$$;
revoke all on function billing.credit_invoice(text, numeric, text, text) from public;

-- What a line rests on, for people who may not read raw rows: a page of them, in order of time.
create or replace function billing.rows_of_line(
    of_line text, after_at timestamptz, after_request uuid, after_attempt integer, rows_max integer
) returns table (
    started_at timestamptz, request_id uuid, attempt smallint, input_tokens integer, cached_input_tokens integer,
    output_tokens integer, reasoning_tokens integer, cost_picousd bigint, quantity bigint, subtotal_picousd numeric
)
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    own billing.invoice_lines;
begin
    select * into own from billing.invoice_lines as l where l.public_id = of_line;
    perform control.check_reach(own.org_id, false);
    return query
    select e.started_at, e.request_id, e.attempt, e.input_tokens, e.cached_input_tokens, e.output_tokens, e.reasoning_tokens,
        e.cost_picousd, part.quantity, part.quantity::numeric * own.unit_price_picousd
    from raw.usage_events as e
    cross join lateral (
        select case own.token_class
            when 'input' then e.input_tokens - e.cached_input_tokens
            when 'cached_input' then e.cached_input_tokens
            when 'output' then e.output_tokens - e.reasoning_tokens
            when 'reasoning' then e.reasoning_tokens
            else 1
        end::bigint as quantity
    ) as part
    where e.org_id = own.org_id and e.project_id = own.project_id and e.price_id = own.price_id and e.charge_class = 'charged'
        and e.started_at >= greatest(own.period_starts_at, after_at) and e.started_at < own.period_ends_at
        and e.recorded_xid >= own.rows_after_xid and e.recorded_xid < own.as_of_xid
        and (after_at is null or (e.started_at, e.request_id, e.attempt::integer) > (after_at, after_request, after_attempt))
    order by e.started_at, e.request_id, e.attempt
    limit rows_max;
end
$$;
revoke all on function billing.rows_of_line(text, timestamptz, uuid, integer, integer) from public;

-- What the query of a line comes to. The transform role writes the text, so it is run with the rights of a role that reads what
-- lines rest on and nothing else; and in a function that is stable, which refuses to write.
create or replace function billing.run_line_query(query text) returns numeric
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    summed numeric;
begin
    execute query into summed;
    return summed;
end
$$;
revoke all on function billing.run_line_query(text) from public;
grant create on schema billing to inferhouse_lines;
alter function billing.run_line_query(text) owner to inferhouse_lines;
revoke create on schema billing from inferhouse_lines;

-- The line computed again from the raw rows, beside what it says.
create or replace function billing.check_line(of_line text) returns table (
    usage_rows bigint, subtotal_picousd numeric, row_set_digest bytea
)
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    own billing.invoice_lines;
    summed numeric;
begin
    select * into own from billing.invoice_lines as l where l.public_id = of_line;
    perform control.check_reach(own.org_id, false);
    summed := billing.run_line_query(own.query);
    if own.price_id is null then
        return query select null::bigint, coalesce(summed, 0), sha256(string_agg(b.row_set_digest, ''::bytea order by b.line_key))
        from billing.invoice_lines as b
        where b.invoice_id = own.invoice_id and b.period_month = own.period_month and b.model_id = own.model_id
            and b.price_id is not null and b.row_set_digest is not null;
        return;
    end if;
    return query
    select count(*), coalesce(summed, 0),
        sha256(string_agg(raw.row_digest(e), ''::bytea order by e.started_at, e.request_id, e.attempt))
    from raw.usage_events as e
    where e.org_id = own.org_id and e.project_id = own.project_id and e.price_id = own.price_id and e.charge_class = 'charged'
        and e.started_at >= own.period_starts_at and e.started_at < own.period_ends_at
        and e.recorded_xid >= own.rows_after_xid and e.recorded_xid < own.as_of_xid;
end
$$;
revoke all on function billing.check_line(text) from public;

-- Who may what.
revoke all on all tables in schema billing from
inferhouse_router, inferhouse_management, inferhouse_transform, inferhouse_portal, inferhouse_platform, inferhouse_tenant,
inferhouse_lines;
grant usage on schema billing to inferhouse_management, inferhouse_transform;
grant usage on schema raw, billing to inferhouse_lines;
grant select on raw.usage_events to inferhouse_lines;
grant execute on function billing.lines_up_to(bigint) to inferhouse_lines;
grant select on billing.invoices, billing.invoice_lines, billing.tax_lines, billing.certificates, billing.tax_rates,
billing.tax_regions to inferhouse_management, inferhouse_transform;
grant insert on billing.tax_rates to inferhouse_management;
grant insert, update, delete on billing.tax_regions to inferhouse_management;
grant execute on function billing.draft_invoices(date, text, bigint), billing.finalize_invoice(text, text)
to inferhouse_management, inferhouse_transform;
grant execute on function billing.lines_up_to(bigint), billing.digest_of(bigint) to inferhouse_transform;
grant execute on function billing.certify(text, bytea, boolean, jsonb, text), billing.put_invoice_event(bigint, text, jsonb)
to inferhouse_transform;
grant execute on function billing.void_invoice(text, text, text), billing.credit_invoice(text, numeric, text, text),
billing.rows_of_line(text, timestamptz, uuid, integer, integer), billing.check_line(text) to inferhouse_management;

do $$
declare
    of_organization text;
begin
    foreach of_organization in array array['invoices', 'invoice_lines', 'tax_regions'] loop
        execute format('alter table billing.%I enable row level security', of_organization);
        execute format('drop policy if exists management_rows on billing.%I', of_organization);
        execute format(
            'create policy management_rows on billing.%I to inferhouse_management '
            'using ((select control.sees_platform()) or org_id = (select control.current_org_id())) '
            'with check ((select control.sees_platform()))',
            of_organization
        );
        execute format('drop policy if exists services_rows on billing.%I', of_organization);
        execute format('create policy services_rows on billing.%I for select to inferhouse_transform using (true)', of_organization);
    end loop;
    foreach of_organization in array array['tax_lines', 'certificates'] loop
        execute format('alter table billing.%I enable row level security', of_organization);
        execute format('drop policy if exists management_rows on billing.%I', of_organization);
        execute format(
            'create policy management_rows on billing.%I for select to inferhouse_management '
            'using (exists (select from billing.invoices as i where i.id = invoice_id))',
            of_organization
        );
        execute format('drop policy if exists services_rows on billing.%I', of_organization);
        execute format('create policy services_rows on billing.%I for select to inferhouse_transform using (true)', of_organization);
    end loop;
end
$$;
