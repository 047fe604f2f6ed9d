-- What all migrations add up to. Written by `make schema`, kept true by tests/integration/warehouse/test_migrations.py.
-- For reading and for reviews; a database is made by `python -m warehouse.migrations`.

CREATE EXTENSION IF NOT EXISTS timescaledb WITH SCHEMA public;

COMMENT ON EXTENSION timescaledb IS 'Enables scalable inserts and complex queries for time-series data (Apache 2 Edition)';

CREATE SCHEMA archive;
CREATE SCHEMA billing;
CREATE SCHEMA control;
CREATE SCHEMA dagster;
CREATE SCHEMA findings;
CREATE SCHEMA intermediate;
CREATE SCHEMA ledger;
CREATE SCHEMA marts;
CREATE SCHEMA migrations;
CREATE SCHEMA raw;
CREATE SCHEMA staging;
CREATE EXTENSION IF NOT EXISTS btree_gist WITH SCHEMA public;

COMMENT ON EXTENSION btree_gist IS 'support for indexing common datatypes in GiST';

CREATE TYPE raw.charge_class AS ENUM (
    'charged',
    'free_refused',
    'free_engine_failed',
    'free_timed_out',
    'free_router_lost',
    'free_replayed'
);

CREATE TYPE raw.endpoint AS ENUM (
    'chat.completions',
    'completions',
    'responses',
    'embeddings',
    'rerank',
    'score',
    'messages',
    'tokenize',
    'detokenize'
);

CREATE TYPE raw.finish_reason AS ENUM (
    'stop',
    'length',
    'tool_calls',
    'content_filter',
    'abort',
    'error',
    'other'
);

CREATE TYPE raw.request_status AS ENUM (
    'completed',
    'refused',
    'client_closed',
    'engine_failed',
    'timed_out',
    'router_lost'
);

CREATE TYPE raw.token_source AS ENUM (
    'engine',
    'running',
    'estimate',
    'none'
);

CREATE FUNCTION archive.add_daily_digest(for_day date, its_rows bigint, its_digest bytea, horizon xid8) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    last archive.daily_digests;
    entry bigint;
    before bytea;
begin
    lock table archive.daily_digests in share row exclusive mode;
    select * into last from archive.daily_digests as written order by written.sequence desc limit 1;
    entry := coalesce(last.sequence, 0) + 1;
    before := coalesce(last.chain_hash, decode(repeat('00', 32), 'hex'));
    insert into archive.daily_digests (sequence, day, usage_rows, row_set_digest, previous, chain_hash, as_of_xid)
    values (
        entry, for_day, its_rows, its_digest, before,
        sha256(before || convert_to(concat_ws('|', entry, for_day, its_rows, encode(its_digest, 'hex')), 'UTF8')), horizon
    );
    return entry;
end
$$;

CREATE FUNCTION archive.count_and_digest(for_day date, OUT usage_rows bigint, OUT row_set_digest bytea) RETURNS record
    LANGUAGE sql STABLE
    SET "TimeZone" TO 'UTC'
    AS $$
    select
        count(*),
        sha256(coalesce(
            string_agg(raw.row_digest(event), ''::bytea order by event.started_at, event.request_id, event.attempt), ''::bytea
        ))
    from raw.usage_events as event
    where event.started_at >= for_day::timestamptz and event.started_at < (for_day + 1)::timestamptz
$$;

CREATE FUNCTION archive.drop_day(for_day date, for_version integer) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET "TimeZone" TO 'UTC'
    SET lock_timeout TO '5s'
    AS $$
declare
    file archive.files;
    chunk regclass;
    held record;
    horizon record;
begin
    if current_setting('transaction_isolation') <> 'read committed' then
        raise exception 'a day is dropped by what is committed, not by an older snapshot' using errcode = 'IH001';
    end if;
    -- Rows may be up to 40 days late; 45 leaves time to archive them.
    if for_day + 45 > current_date then
        raise exception '% is not 45 days old: rows of it may still come', for_day using errcode = 'IH001';
    end if;
    -- The locks of whoever writes the marts: no model of a run sees one half of a day.
    perform pg_advisory_xact_lock(hashtextextended('inferhouse.marts', 0));
    perform pg_advisory_xact_lock(hashtextextended('inferhouse.marts.service', 0));
    select * into file from archive.files as written
    where written.day = for_day and written.superseded_at is null and written.verified_at is not null
    order by written.version desc limit 1
    for update;
    if file.version is distinct from for_version then
        raise exception '% has no verified file of version %', for_day, for_version using errcode = 'IH001';
    end if;
    if file.dropped_at is not null then
        raise exception '% was dropped already', for_day using errcode = 'IH001';
    end if;
    if file.verified_at < now() - interval '1 hour' then
        raise exception 'the file of % was verified more than an hour ago', for_day using errcode = 'IH001';
    end if;
    select format('%I.%I', part.chunk_schema, part.chunk_name)::regclass into chunk
    from timescaledb_information.chunks as part
    where
        part.hypertable_schema = 'raw' and part.hypertable_name = 'usage_events'
        and part.range_start = for_day::timestamptz and part.range_end = (for_day + 1)::timestamptz;
    if chunk is null then
        raise exception '% has no rows in the database', for_day using errcode = 'IH001';
    end if;
    -- From here nobody adds a row to the day, and whoever was about to has committed.
    execute format('lock table %s in share mode', chunk);
    select * into held from archive.count_and_digest(for_day);
    if held.usage_rows <> file.usage_rows or held.row_set_digest <> file.row_set_digest then
        raise exception '% has % rows that are not those of its file, which has %: archive it again',
        for_day, held.usage_rows, file.usage_rows using errcode = 'IH001';
    end if;
    select last.as_of_xid into horizon from intermediate.int_usage_horizon as last
    where exists (select from marts.completeness as done where done.computed_at = last.taken_at);
    if horizon.as_of_xid is null or exists (
        select from raw.usage_events as event
        where
            event.started_at >= for_day::timestamptz and event.started_at < (for_day + 1)::timestamptz
            and event.recorded_xid >= horizon.as_of_xid
    ) then
        raise exception 'the marts do not have all rows of %: refresh them first', for_day using errcode = 'IH001';
    end if;
    perform archive.require_service_marts(for_day);
    if not exists (
        select from archive.daily_digests as entry
        where
            entry.sequence = (select max(other.sequence) from archive.daily_digests as other where other.day = for_day)
            and entry.row_set_digest = file.row_set_digest
    ) then
        raise exception 'the chain of daily digests does not have % as it is', for_day using errcode = 'IH001';
    end if;
    perform archive.keep_for_budgets(for_day);
    perform public.drop_chunks(
        'raw.usage_events'::regclass,
        older_than => (for_day + 1)::timestamptz, newer_than => for_day::timestamptz
    );
    update archive.files as written set dropped_at = now() where written.day = for_day and written.version = for_version;
end
$$;

COMMENT ON FUNCTION archive.drop_day(for_day date, for_version integer) IS 'Drops the chunk of a day whose file was read back within the hour, if the chunk holds exactly the rows of the file, the marts
have them all, and the chain of daily digests has them. Anything else is refused with IH001.';

CREATE FUNCTION archive.keep_for_budgets(for_day date) RETURNS void
    LANGUAGE sql
    SET "TimeZone" TO 'UTC'
    AS $$
    insert into archive.budget_days (budget_id, day, router_life, spent_picousd)
    select b.id, for_day, e.router_life, sum(e.cost_picousd)
    from raw.usage_events as e
    cross join lateral (
        values
        ('organization', e.org_id), ('project', e.project_id), ('user', e.user_id),
        ('service account', e.service_account_id), ('key', e.api_key_id)
    ) as scope (kind, id)
    inner join control.budgets as b on b.org_id = e.org_id and e.started_at >= b.created_at
        and coalesce(b.project_id, b.user_id, b.service_account_id, b.api_key_id, b.org_id) = scope.id
        and case
            when b.project_id is not null then 'project'
            when b.user_id is not null then 'user'
            when b.service_account_id is not null then 'service account'
            when b.api_key_id is not null then 'key'
            else 'organization'
        end = scope.kind
        and (b.model_id is null or e.model_id = b.model_id)
    where b.period = 'lifetime' and e.started_at >= for_day::timestamptz and e.started_at < (for_day + 1)::timestamptz
    group by b.id, e.router_life
    having sum(e.cost_picousd) > 0
$$;

CREATE FUNCTION archive.refuse_change() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
begin
    raise exception 'the chain of daily digests is only added to';
end
$$;

CREATE FUNCTION archive.require_all_days() RETURNS void
    LANGUAGE plpgsql STABLE
    AS $$
declare
    absent record;
begin
    select count(*) as days, min(day) as first_day, max(day) as last_day into absent from archive.absent_days;
    if absent.days > 0 then
        raise exception '% days from % to % are only in the archive: a table built anew would lose them',
        absent.days, absent.first_day, absent.last_day
        using errcode = 'IH001', hint = 'Restore them first: inferhouse archive restore';
    end if;
end
$$;

CREATE FUNCTION archive.require_service_marts(for_day date) RETURNS void
    LANGUAGE plpgsql STABLE
    SET "TimeZone" TO 'UTC'
    AS $$
begin
    if to_regclass('intermediate.int_service_horizon') is null then
        return;
    end if;
    if exists (
        select from raw.usage_events as event
        where
            event.started_at >= for_day::timestamptz and event.started_at < (for_day + 1)::timestamptz
            and (
                event.recorded_xid >= (select last.as_of_xid from intermediate.int_service_horizon as last)
                or (
                    event.attempt > 0 and event.status = 'completed'
                    and event.recorded_xid >= (select coalesce(max(mart.as_of_xid), '0') from intermediate.int_latency_hours as mart)
                )
                or (
                    event.attempt > 0 and event.engine_id is not null
                    and event.recorded_xid
                    >= (select coalesce(max(mart.as_of_xid), '0') from intermediate.int_engine_usage_quarter_hours as mart)
                )
            )
    ) then
        raise exception 'the marts of service do not have all rows of %: refresh them first', for_day using errcode = 'IH001';
    end if;
end
$$;

CREATE FUNCTION archive.restore_day(for_day date) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET "TimeZone" TO 'UTC'
    SET lock_timeout TO '5s'
    AS $_$
declare
    file archive.files;
    held record;
    columns text;
begin
    perform pg_advisory_xact_lock(hashtextextended('inferhouse.marts', 0));
    perform pg_advisory_xact_lock(hashtextextended('inferhouse.marts.service', 0));
    select * into file from archive.files as written
    where written.day = for_day and written.dropped_at is not null
    for update;
    if not found then
        raise exception '% was not dropped: its rows are in the database', for_day using errcode = 'IH001';
    end if;
    -- Rows of the file keep their place in the order of commits: the marts have them, and lines of invoices name them by it.
    -- Those that came since get a new one, so that the marts compute what they touch again, from the whole day.
    select string_agg(quote_ident(attribute.attname), ', ' order by attribute.attnum) into columns
    from pg_attribute as attribute
    where
        attribute.attrelid = 'raw.usage_events'::regclass and attribute.attnum > 0 and not attribute.attisdropped
        and attribute.attname <> 'recorded_xid';
    create temporary table late_rows on commit drop as
    select * from raw.usage_events as event
    where event.started_at >= for_day::timestamptz and event.started_at < (for_day + 1)::timestamptz;
    delete from raw.usage_events as event
    where event.started_at >= for_day::timestamptz and event.started_at < (for_day + 1)::timestamptz;
    execute format(
        'insert into raw.usage_events (%1$s, recorded_xid) select %1$s,'
        -- A file of another server has an order that means nothing here.
        || ' case when recorded_xid < pg_snapshot_xmin(pg_current_snapshot()) then recorded_xid else pg_current_xact_id() end'
        || ' from archive.incoming_rows where started_at >= $1 and started_at < $2',
        columns
    ) using for_day::timestamptz, (for_day + 1)::timestamptz;
    select * into held from archive.count_and_digest(for_day);
    if held.usage_rows <> file.usage_rows or held.row_set_digest <> file.row_set_digest then
        raise exception 'these are not the rows that were dropped of %', for_day using errcode = 'IH001';
    end if;
    -- A row that came after the drop and is in the file too was sent twice.
    execute format(
        'insert into raw.usage_events (%1$s) select %1$s from late_rows on conflict do nothing', columns
    );
    drop table late_rows;
    delete from archive.incoming_rows;
    delete from archive.budget_days as kept where kept.day = for_day;
    update archive.files as written set dropped_at = null
    where written.day = for_day and written.version = file.version;
    return file.usage_rows;
end
$_$;

COMMENT ON FUNCTION archive.restore_day(for_day date) IS 'Puts the rows in archive.incoming_rows back, if they are exactly those that were dropped, beside rows of the day that came since.';

CREATE FUNCTION billing.add_adjustments(to_invoices bigint[]) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
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

CREATE FUNCTION billing.add_month(to_invoices bigint[]) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
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

CREATE FUNCTION billing.add_repricings(to_invoices bigint[]) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
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

CREATE TABLE billing.invoices (
    id bigint NOT NULL,
    public_id text NOT NULL,
    number text,
    org_id bigint NOT NULL,
    kind text NOT NULL,
    purpose text NOT NULL,
    corrects_invoice_id bigint,
    status text DEFAULT 'draft'::text NOT NULL,
    period_month date NOT NULL,
    period_starts_at timestamp with time zone NOT NULL,
    period_ends_at timestamp with time zone NOT NULL,
    currency text NOT NULL,
    rounding_rule text NOT NULL,
    subtotal_picousd numeric(38,0) DEFAULT 0 NOT NULL,
    amount numeric(20,2) DEFAULT 0 NOT NULL,
    tax_amount numeric(20,2) DEFAULT 0 NOT NULL,
    total numeric(20,2) DEFAULT 0 NOT NULL,
    credits_applied numeric(20,2) DEFAULT 0 NOT NULL,
    due numeric(20,2) DEFAULT 0 NOT NULL,
    digest bytea,
    certificate_id bigint,
    reason text,
    drafted_at timestamp with time zone DEFAULT now() NOT NULL,
    drafted_by text NOT NULL,
    finalized_at timestamp with time zone,
    finalized_by text,
    voided_at timestamp with time zone,
    voided_by text,
    void_reason text,
    CONSTRAINT invoices_check CHECK ((period_ends_at > period_starts_at)),
    CONSTRAINT invoices_check1 CHECK ((total = (amount + tax_amount))),
    CONSTRAINT invoices_check2 CHECK ((due = (total - credits_applied))),
    CONSTRAINT invoices_check3 CHECK (((number IS NULL) = (finalized_at IS NULL))),
    CONSTRAINT invoices_check4 CHECK (((status <> 'final'::text) OR ((digest IS NOT NULL) AND (finalized_at IS NOT NULL)))),
    CONSTRAINT invoices_check5 CHECK (((status = 'void'::text) = (voided_at IS NOT NULL))),
    CONSTRAINT invoices_check6 CHECK (((purpose = ANY (ARRAY['void'::text, 'credit'::text])) = (corrects_invoice_id IS NOT NULL))),
    CONSTRAINT invoices_currency_check CHECK ((currency = 'USD'::text)),
    CONSTRAINT invoices_digest_check CHECK ((length(digest) = 32)),
    CONSTRAINT invoices_kind_check CHECK ((kind = ANY (ARRAY['invoice'::text, 'credit_note'::text]))),
    CONSTRAINT invoices_period_month_check CHECK ((period_month = date_trunc('month'::text, (period_month)::timestamp with time zone))),
    CONSTRAINT invoices_public_id_check CHECK ((public_id ~ '^inv_[0-9a-z]{12,32}$'::text)),
    CONSTRAINT invoices_purpose_check CHECK ((purpose = ANY (ARRAY['month'::text, 'adjustments'::text, 'void'::text, 'credit'::text]))),
    CONSTRAINT invoices_reason_check CHECK (((length(reason) >= 1) AND (length(reason) <= 500))),
    CONSTRAINT invoices_rounding_rule_check CHECK ((rounding_rule = 'half_up_to_cent'::text)),
    CONSTRAINT invoices_status_check CHECK ((status = ANY (ARRAY['draft'::text, 'final'::text, 'void'::text]))),
    CONSTRAINT invoices_void_reason_check CHECK (((length(void_reason) >= 1) AND (length(void_reason) <= 500)))
);

COMMENT ON TABLE billing.invoices IS 'One per organization and month, and more for corrections. `draft` may be made again; `final` is never changed but to `void`.';
COMMENT ON COLUMN billing.invoices.purpose IS 'month: the invoice of a month. adjustments: what came for a month that was final. void, credit: against another invoice.';
COMMENT ON COLUMN billing.invoices.digest IS 'SHA-256 over what the invoice says, line by line: equal digests are equal invoices.';

CREATE FUNCTION billing.apply_credits(own billing.invoices, at_time timestamp with time zone) RETURNS numeric
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
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

CREATE FUNCTION billing.certify(of_invoice text, digest_checked bytea, has_passed boolean, found jsonb, by_whom text) RETURNS text
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
insert into billing.certificates (public_id, invoice_id, invoice_digest, passed, checks, made_by)
select 'cert_' || left(replace(gen_random_uuid()::text, '-', ''), 24), i.id, digest_checked, has_passed, found, by_whom
from billing.invoices as i where i.public_id = of_invoice and i.status = 'draft'
returning public_id
$$;

CREATE FUNCTION billing.check_line(of_line text) RETURNS TABLE(usage_rows bigint, subtotal_picousd numeric, row_set_digest bytea)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
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

CREATE FUNCTION billing.credit_invoice(of_invoice text, off numeric, why text, by_whom text) RETURNS text
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
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

CREATE FUNCTION billing.digest_of(of_invoice bigint) RETURNS bytea
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
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

CREATE FUNCTION billing.digest_rows(of_invoices bigint[]) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
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

CREATE FUNCTION billing.draft_invoices(month date, by_whom text, only_org_id bigint DEFAULT NULL::bigint) RETURNS TABLE(invoice text, organization text)
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
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

CREATE FUNCTION billing.finalize_invoice(of_invoice text, by_whom text) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
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

CREATE FUNCTION billing.finish_correction(made_id bigint, by_whom text) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    at_time timestamptz := clock_timestamp();
begin
    update billing.invoices as i set digest = billing.digest_of(i.id) where i.id = made_id;
    update billing.invoices as i set
        status = 'final', number = billing.next_number(i.kind, at_time), finalized_at = at_time, finalized_by = by_whom
    where i.id = made_id;
end
$$;

CREATE FUNCTION billing.frozen_query(of_invoice bigint, kind text, query text, after_xid xid8, to_xid xid8) RETURNS text
    LANGUAGE sql IMMUTABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
select case
    when kind = 'usage' then query || format(' and recorded_xid >= %L and recorded_xid < %L', after_xid, to_xid)
    else regexp_replace(
        query, 'from marts\.invoice_lines where org_id = \d+ and status = ''draft''',
        format('from billing.lines_up_to(%s) where true', of_invoice)
    )
end
$$;

CREATE FUNCTION billing.lines_up_to(of_invoice bigint) RETURNS TABLE(invoice_id bigint, line_key text, period_month date, model_id integer, kind text, token_class text, quantity numeric, subtotal_picousd numeric)
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
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

CREATE FUNCTION billing.lock_invoice(of_invoice text) RETURNS billing.invoices
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
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

CREATE FUNCTION billing.months_frozen(for_org_id bigint) RETURNS TABLE(org_id bigint, period_month date, frozen_to_xid xid8)
    LANGUAGE sql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
select l.org_id, l.period_month, max(l.as_of_xid)
from billing.billed_lines as l
where (for_org_id is null or l.org_id = for_org_id)
    and exists (
        select from billing.invoices as m
        where m.org_id = l.org_id and m.period_month = l.period_month and m.status = 'final' and m.purpose = 'month'
    )
group by l.org_id, l.period_month
$$;

CREATE FUNCTION billing.next_number(of_kind text, at_time timestamp with time zone) RETURNS text
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    given bigint;
begin
    update billing.numbers as n set last = n.last + 1 where n.kind = of_kind returning n.last into given;
    return case of_kind when 'invoice' then 'INV' else 'CN' end
        || to_char(at_time at time zone 'UTC', '-YYYY-') || lpad(given::text, greatest(6, length(given::text)), '0');
end
$$;

CREATE FUNCTION billing.obstacle(own billing.invoices) RETURNS text
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
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

CREATE FUNCTION billing.put_invoice_event(of_invoice bigint, event_type text, more jsonb) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
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

CREATE FUNCTION billing.refuse_invoice_change() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
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

CREATE FUNCTION billing.refuse_line_change() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
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

CREATE FUNCTION billing.rows_of_line(of_line text, after_at timestamp with time zone, after_request uuid, after_attempt integer, rows_max integer) RETURNS TABLE(started_at timestamp with time zone, request_id uuid, attempt smallint, input_tokens integer, cached_input_tokens integer, output_tokens integer, reasoning_tokens integer, cost_picousd bigint, quantity bigint, subtotal_picousd numeric)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
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

CREATE FUNCTION billing.run_line_query(query text) RETURNS numeric
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    summed numeric;
begin
    execute query into summed;
    return summed;
end
$$;

CREATE FUNCTION billing.total_up(of_invoices bigint[]) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
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

CREATE FUNCTION billing.void_invoice(of_invoice text, why text, by_whom text) RETURNS text
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
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

CREATE FUNCTION control.add_sql_access(login name, for_org_id bigint, label text, verifier text, made_by text) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET createrole_self_grant TO 'set, inherit'
    AS $_$
begin
    if for_org_id is distinct from control.current_org_id() then
        raise exception 'this transaction was not opened for organization %', for_org_id using errcode = 'insufficient_privilege';
    end if;
    if login !~ '^inferhouse_sql_[0-9a-z_]{8,48}$' or verifier !~ '^SCRAM-SHA-256\$' then
        raise exception '% is no name of a SQL login, or there is no SCRAM verifier', login
            using errcode = 'invalid_role_specification';
    end if;
    if exists (select from pg_roles where rolname = login) then
        raise exception 'there is a role % already', login using errcode = 'duplicate_object';
    end if;
    perform control.create_sql_login(login, for_org_id, verifier);
    update control.sql_logins set name = label, created_by = made_by where role_name = login;
end
$_$;

CREATE FUNCTION control.announce_budget_alert() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    made text;
begin
    -- Multiplied and not divided: exact to the pico-dollar.
    select control.put_event(
        new.org_id,
        case when new.percent >= 100 then 'budget.exhausted' else 'budget.threshold_reached' end,
        jsonb_build_object(
            'budget_id', b.public_id, 'period', b.period, 'mode', b.mode, 'project_id', p.public_id,
            'window_start', to_char(new.window_start at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
            'percent', new.percent,
            'spent_usd', trim_scale(new.spent_picousd * 0.000000000001)::text,
            'limit_usd', trim_scale(new.limit_picousd * 0.000000000001)::text
        ),
        'budget ' || new.budget_id || ' ' || extract(epoch from new.window_start)::bigint || ' ' || new.percent
    ) into made
    from control.budgets as b
    left join control.projects as p on p.id = b.project_id
    where b.id = new.budget_id;
    return null;
end
$$;

CREATE FUNCTION control.announce_change() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
begin
    perform pg_notify('control_changed', tg_table_name);
    return null;
end
$$;

CREATE FUNCTION control.announce_row() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
declare
    changed jsonb := to_jsonb(case when tg_op = 'DELETE' then old else new end);
begin
    perform pg_notify('control_changed', tg_table_name || ':' || (changed ->> tg_argv[0]));
    return null;
end
$$;

CREATE FUNCTION control.check_reach(for_org_id bigint, platform_only boolean) RETURNS void
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    if session_user = 'inferhouse_management' and not control.sees_platform()
        and (platform_only or for_org_id is distinct from control.current_org_id()) then
        raise exception 'this transaction was not opened for that' using errcode = 'insufficient_privilege';
    end if;
end
$$;

CREATE FUNCTION control.check_sql_access(login name, for_org_id bigint) RETURNS void
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    if for_org_id is distinct from control.current_org_id() then
        raise exception 'this transaction was not opened for organization %', for_org_id using errcode = 'insufficient_privilege';
    end if;
    if not exists (
        select from control.sql_logins as l
        inner join pg_roles as r on r.rolname = l.role_name
        where l.role_name = login and l.org_id = for_org_id and not r.rolsuper and not r.rolcreaterole
            and pg_has_role(r.oid, 'inferhouse_tenant', 'member')
    ) then
        raise exception '% is no SQL login of this organization', login using errcode = 'invalid_role_specification';
    end if;
end
$$;

CREATE FUNCTION control.create_sql_login(login name, for_org_id bigint, login_password text) RETURNS void
    LANGUAGE plpgsql
    AS $$
begin
    if not exists (select from pg_roles where rolname = login) then
        execute format('create role %I login in role inferhouse_tenant connection limit 10', login);
    elsif login = current_user or not pg_has_role(login, 'inferhouse_tenant', 'member') then
        -- Its password would be replaced below: a service would be locked out, or an organization let in as one.
        raise exception '% is no SQL login of an organization', login using errcode = 'invalid_role_specification';
    end if;
    execute format('alter role %I password %L', login, login_password);
    execute format('alter role %I set statement_timeout = ''60s''', login);
    execute format('alter role %I set default_transaction_read_only = on', login);
    execute format('alter role %I set search_path = marts', login);
    insert into control.sql_logins (role_name, org_id) values (login, for_org_id)
    on conflict (role_name) do update set org_id = excluded.org_id;
end
$$;

CREATE FUNCTION control.current_org_id() RETURNS bigint
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    -- Only the portal and the management API may choose by a setting; they check the caller's membership first. A SQL
    -- login is bound to its organization by name, whatever it sets.
    if session_user in ('inferhouse_portal', 'inferhouse_management') then
        return nullif(current_setting('inferhouse.org_id', true), '')::bigint;
    end if;
    return (
        select l.org_id
        from control.sql_logins as l
        inner join control.organizations as o on o.id = l.org_id
        where l.role_name = session_user and o.suspended_at is null and o.deleted_at is null
    );
end
$$;

CREATE FUNCTION control.drop_sql_access(login name, for_org_id bigint) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    perform control.check_sql_access(login, for_org_id);
    delete from control.sql_logins where role_name = login;
    perform pg_terminate_backend(a.pid, 5000) from pg_stat_activity as a where a.usename = login;
    execute format('drop owned by %I', login);
    execute format('drop role %I', login);
end
$$;

CREATE FUNCTION control.first_instant(day timestamp without time zone, zone text) RETURNS timestamp with time zone
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
select case
    when ((day at time zone zone) - interval '1 hour') at time zone zone >= day then (day at time zone zone) - interval '1 hour'
    else day at time zone zone
end
$$;

CREATE FUNCTION control.health() RETURNS TABLE(applied jsonb, raw_rows bigint, mart_rows bigint, complete_to timestamp with time zone, marts_built boolean, last_request timestamp with time zone)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
declare
    today timestamptz := date_trunc('day', now(), 'UTC');
begin
    select coalesce(jsonb_object_agg(a.name, a.sha256), '{}') into applied from migrations.applied as a;
    select count(*) into raw_rows from raw.usage_events as e
    where e.started_at >= today - interval '1 day' and e.started_at < today;
    select max(e.started_at) into last_request from raw.usage_events as e where e.started_at >= today - interval '1 day';
    marts_built := to_regclass('marts.usage_daily') is not null and to_regclass('marts.completeness') is not null;
    if marts_built then
        execute 'select coalesce(sum(usage_rows), 0)::bigint from marts.usage_daily where day_utc = $1'
        into mart_rows using ((today - interval '1 day') at time zone 'UTC')::date;
        execute 'select min(complete_to) from marts.completeness' into complete_to;
    end if;
    return next;
end
$_$;

CREATE FUNCTION control.hold_budget_anew() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
begin
    if (old.mode = 'soft' or old.deleted_at is not null) and new.mode <> 'soft' and new.deleted_at is null then
        new.hold_version := old.hold_version + 1;
    end if;
    return new;
end
$$;

CREATE FUNCTION control.note_budget_alerts() RETURNS integer
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
select control.note_budget_alerts_as_of(now())
$$;

CREATE FUNCTION control.note_budget_alerts_as_of(as_of timestamp with time zone) RETURNS integer
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
with windows as (
    select distinct on (b.id, w.window_start) b.*, w.window_start, w.window_end,
        case when b.raised_until > looked.at then greatest(b.limit_picousd, b.raised_limit_picousd) else b.limit_picousd end as in_force_picousd
    from control.budgets as b
    inner join control.organizations as o on o.id = b.org_id
    cross join (values (as_of), (as_of - interval '1 hour')) as looked (at)
    cross join lateral (
        select
            case when b.period = 'lifetime' then b.created_at
                else control.first_instant(date_trunc(b.period, looked.at at time zone o.time_zone), o.time_zone)
            end as window_start,
            case when b.period = 'lifetime' then 'infinity'
                else control.first_instant(
                    date_trunc(b.period, looked.at at time zone o.time_zone) + ('1 ' || b.period)::interval, o.time_zone
                )
            end as window_end
    ) as w
    where b.deleted_at is null and o.deleted_at is null and cardinality(b.alert_percents) > 0 and b.created_at < w.window_end
    order by b.id, w.window_start, looked.at desc
),
spends as (
    select w.id, w.org_id, w.window_start, w.in_force_picousd as limit_picousd, w.alert_percents,
        coalesce(spend.picousd, 0) + coalesce(dropped.picousd, 0) as picousd
    from windows as w
    cross join lateral (
        select sum(e.cost_picousd) as picousd
        from raw.usage_events as e
        where e.org_id = w.org_id and e.started_at >= w.window_start and e.started_at < w.window_end
            and (w.project_id is null or e.project_id = w.project_id)
            and (w.user_id is null or e.user_id = w.user_id)
            and (w.service_account_id is null or e.service_account_id = w.service_account_id)
            and (w.api_key_id is null or e.api_key_id = w.api_key_id)
            and (w.model_id is null or e.model_id = w.model_id)
    ) as spend
    cross join lateral (
        select sum(d.spent_picousd) as picousd from archive.budget_days as d where d.budget_id = w.id
    ) as dropped
),
noted as (
    insert into control.budget_alerts (org_id, budget_id, window_start, percent, spent_picousd, limit_picousd)
    select s.org_id, s.id, s.window_start, reached.percent, s.picousd, s.limit_picousd
    from spends as s
    cross join lateral unnest(s.alert_percents) as reached (percent)
    -- Multiplied and not divided: exact to the pico-dollar. A budget of nothing is reached by the first cost.
    where s.picousd > 0 and s.picousd * 100 >= s.limit_picousd * reached.percent
    on conflict (budget_id, window_start, percent) do nothing
    returning 1
)

select count(*)::integer from noted
$$;

CREATE TABLE control.prices (
    id integer NOT NULL,
    model_id integer NOT NULL,
    org_id bigint,
    input_picousd bigint NOT NULL,
    cached_input_picousd bigint NOT NULL,
    output_picousd bigint NOT NULL,
    effective tstzrange NOT NULL,
    reason text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    request_picousd bigint DEFAULT 0 NOT NULL,
    reasoning_picousd bigint,
    priority smallint DEFAULT 0 NOT NULL,
    endpoint raw.endpoint,
    input_tokens_range int4range DEFAULT '[0,)'::int4range NOT NULL,
    tags jsonb DEFAULT '{}'::jsonb NOT NULL,
    CONSTRAINT prices_cached_input_picousd_check CHECK (((cached_input_picousd >= 0) AND (cached_input_picousd <= '1000000000000'::bigint))),
    CONSTRAINT prices_conditions_have_priority CHECK (((priority = 0) = ((endpoint IS NULL) AND (input_tokens_range = '[0,)'::int4range) AND (tags = '{}'::jsonb)))),
    CONSTRAINT prices_effective_check CHECK (((NOT isempty(effective)) AND lower_inc(effective) AND (NOT upper_inc(effective)))),
    CONSTRAINT prices_input_picousd_check CHECK (((input_picousd >= 0) AND (input_picousd <= '1000000000000'::bigint))),
    CONSTRAINT prices_input_tokens_range_check CHECK (((NOT isempty(input_tokens_range)) AND (lower(input_tokens_range) >= 0))),
    CONSTRAINT prices_output_picousd_check CHECK (((output_picousd >= 0) AND (output_picousd <= '1000000000000'::bigint))),
    CONSTRAINT prices_priority_check CHECK (((priority >= 0) AND (priority <= 1000))),
    CONSTRAINT prices_reason_check CHECK (((length(reason) >= 1) AND (length(reason) <= 500))),
    CONSTRAINT prices_reasoning_picousd_check CHECK (((reasoning_picousd >= 0) AND (reasoning_picousd <= '1000000000000'::bigint))),
    CONSTRAINT prices_request_picousd_check CHECK (((request_picousd >= 0) AND (request_picousd <= '1000000000000000'::bigint))),
    CONSTRAINT prices_tags_check CHECK (((jsonb_typeof(tags) = 'object'::text) AND (pg_column_size(tags) <= 2048) AND (NOT jsonb_path_exists(tags, '$.*?(@.type() != "string")'::jsonpath))))
);

COMMENT ON TABLE control.prices IS 'Price book. Pico-dollars (1e-12 USD). Of the versions in force whose conditions a row meets, the one of its organization comes
before the list price, then the highest priority; priority 0 has no condition.';

COMMENT ON COLUMN control.prices.request_picousd IS 'For each attempt that is charged, beside its tokens.';
COMMENT ON COLUMN control.prices.reasoning_picousd IS 'Per reasoning token; null: as any other output token.';
COMMENT ON COLUMN control.prices.endpoint IS 'Only requests of this endpoint; null: of any.';
COMMENT ON COLUMN control.prices.input_tokens_range IS 'Only requests with so many input tokens: tiers by length of context.';
COMMENT ON COLUMN control.prices.tags IS 'Only requests that carry all of these tags.';

CREATE FUNCTION control.preview_price(version control.prices, since timestamp with time zone) RETURNS TABLE(usage_rows bigint, cost_picousd numeric, cost_picousd_then numeric)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
declare
    charged text;
begin
    if not control.sees_platform() then
        raise exception 'prices are the platform''s' using errcode = 'insufficient_privilege';
    end if;
    if version.tags = '{}' and version.input_tokens_range = '[0,)'
        and to_regclass('intermediate.int_usage_quarter_hours') is not null
    then
        charged := 'select org_id, endpoint, price_id, input_tokens, cached_input_tokens, output_tokens, reasoning_tokens,'
            ' cost_picousd, usage_rows from control.organizations as o'
            -- By organization, as the index has it.
            ' inner join intermediate.int_usage_quarter_hours as q on o.id = q.org_id'
            ' where quarter_hour_at >= $2 and model_id = ($1).model_id and charge_class = ''charged''';
    else
        -- Only single rows have tags and lengths.
        charged := 'select org_id, endpoint::text, price_id, input_tokens, cached_input_tokens, output_tokens, reasoning_tokens,'
            ' cost_picousd, 1 as usage_rows from raw.usage_events'
            ' where started_at >= $2 and model_id = ($1).model_id and charge_class = ''charged'' and price_id is not null'
            ' and ($1).input_tokens_range @> input_tokens and coalesce(tags, ''{}'') @> ($1).tags';
    end if;
    return query execute
        'select coalesce(sum(u.usage_rows), 0)::bigint, coalesce(sum(u.cost_picousd), 0)::numeric, coalesce(sum('
        '(u.input_tokens - u.cached_input_tokens)::numeric * ($1).input_picousd'
        ' + u.cached_input_tokens::numeric * ($1).cached_input_picousd'
        ' + (u.output_tokens - u.reasoning_tokens)::numeric * ($1).output_picousd'
        ' + u.reasoning_tokens::numeric * coalesce(($1).reasoning_picousd, ($1).output_picousd)'
        ' + u.usage_rows::numeric * ($1).request_picousd), 0)::numeric'
        ' from (' || charged || ') as u inner join control.prices as v on v.id = u.price_id'
        ' where (($1).org_id is null or u.org_id = ($1).org_id)'
        ' and (($1).endpoint is null or u.endpoint = ($1).endpoint::text)'
        -- Not those of a version that would have come before it.
        ' and (($1).org_id is not null, ($1).priority::integer) >= (v.org_id is not null, v.priority::integer)'
        using version, since;
end
$_$;

CREATE FUNCTION control.put_event(for_org_id bigint, type_of text, about jsonb, once text, only_webhook_id bigint DEFAULT NULL::bigint) RETURNS text
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    made bigint;
    named text;
begin
    -- The management API speaks for one organization a transaction; the other callers work for all.
    if session_user = 'inferhouse_management' and for_org_id is distinct from control.current_org_id() then
        raise exception 'this transaction was not opened for organization %', for_org_id using errcode = 'insufficient_privilege';
    end if;
    insert into control.outbox_events (public_id, org_id, event_type, data, happened_once)
    values ('event_' || replace(gen_random_uuid()::text, '-', ''), for_org_id, type_of, about, once)
    on conflict (org_id, happened_once) do nothing
    returning id, public_id into made, named;
    if made is null then
        return null;
    end if;
    insert into control.outbox_deliveries (public_id, org_id, event_id, webhook_id)
    select 'delivery_' || replace(gen_random_uuid()::text, '-', ''), for_org_id, made, w.id
    from control.webhooks as w
    where w.org_id = for_org_id and w.deleted_at is null
        and case
            when only_webhook_id is null then w.enabled and (w.event_types is null or type_of = any (w.event_types))
            else w.id = only_webhook_id
        end;
    if only_webhook_id is null then
        insert into control.outbox_deliveries (public_id, org_id, event_id, email)
        select 'delivery_' || replace(gen_random_uuid()::text, '-', ''), for_org_id, made, told.email
        from (
            select lower(u.email) as email
            from control.org_members as m
            inner join control.users as u on u.id = m.user_id
            where m.org_id = for_org_id and u.disabled_at is null
                and m.role = any (coalesce(
                    (select r.roles from control.alert_recipients as r where r.org_id = for_org_id), '{owner,billing}'
                ))
            union
            select lower(unnest(r.emails)) from control.alert_recipients as r where r.org_id = for_org_id
            order by 1
            limit 100
        ) as told;
    end if;
    return named;
end
$$;

CREATE FUNCTION control.refuse_price_gap() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
declare
    gap record;
begin
    select model_id, previous_end, effective into gap
    from (
        select model_id, effective, lag(upper(effective)) over (partition by model_id order by lower(effective)) as previous_end
        from control.prices
        where model_id in (new.model_id, old.model_id) and org_id is null and priority = 0
    ) as versions
    where previous_end is distinct from lower(effective) and previous_end is not null
    limit 1;
    if found then
        raise exception 'price gap for model %: nothing is in force from % until %',
            gap.model_id, gap.previous_end, lower(gap.effective)
            using errcode = 'exclusion_violation', constraint = 'prices_no_gap';
    end if;
    return null;
end
$$;

CREATE FUNCTION control.rotate_sql_access(login name, for_org_id bigint, verifier text) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
begin
    perform control.check_sql_access(login, for_org_id);
    if verifier !~ '^SCRAM-SHA-256\$' then
        raise exception 'there is no SCRAM verifier' using errcode = 'invalid_password';
    end if;
    perform control.create_sql_login(login, for_org_id, verifier);
    update control.sql_logins set rotated_at = now() where role_name = login;
    perform pg_terminate_backend(a.pid, 5000) from pg_stat_activity as a where a.usename = login;
end
$_$;

CREATE FUNCTION control.sees_platform() RETURNS boolean
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
-- Never null, which is what a setting is that nobody made: `not null` would let a check of it pass.
select session_user = 'inferhouse_management' and coalesce(current_setting('inferhouse.platform', true), '') = 'on'
$$;

CREATE FUNCTION findings.refuse_change() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    raise exception 'rows of findings.% are never changed: compensate them with new ones', tg_table_name
        using errcode = 'restrict_violation';
end
$$;

CREATE FUNCTION ledger.account(for_org_id bigint, kind_of text) RETURNS bigint
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
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

CREATE FUNCTION ledger.add_to_account() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
begin
    update ledger.accounts as a set balance_picousd = a.balance_picousd + new.amount_picousd where a.id = new.account_id;
    return null;
end
$$;

CREATE FUNCTION ledger.check_transaction() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
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

CREATE FUNCTION ledger.draw(for_org_id bigint, up_to_picousd numeric, reference text, at timestamp with time zone, why text DEFAULT 'applied to an invoice'::text, author_of text DEFAULT (SESSION_USER)::text) RETURNS numeric
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
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

CREATE FUNCTION ledger.expire_credits(as_of timestamp with time zone DEFAULT now(), credits_max integer DEFAULT 100000) RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
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

CREATE FUNCTION ledger.give_back(reference text, why text DEFAULT 'the invoice was voided'::text, author_of text DEFAULT (SESSION_USER)::text) RETURNS numeric
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
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

CREATE FUNCTION ledger.grant_credit(for_org_id bigint, amount numeric, kind_of text, expires timestamp with time zone, why text, author_of text, of_reference text, at timestamp with time zone DEFAULT now()) RETURNS text
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
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

CREATE FUNCTION ledger.known(for_org_id bigint, kind_of text, of_reference text) RETURNS bigint
    LANGUAGE plpgsql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
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

CREATE FUNCTION ledger.lock_wallet(for_org_id bigint) RETURNS bigint
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    wallet bigint := ledger.account(for_org_id, 'wallet');
begin
    perform from ledger.accounts as a where a.id = wallet for update;
    return wallet;
end
$$;

CREATE FUNCTION ledger.move_out(for_org_id bigint, kind_of text, into_account text, of_reference text, why text, author_of text, at timestamp with time zone, credit_ids bigint[], amounts numeric[]) RETURNS bigint
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
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

CREATE FUNCTION ledger.refuse_change() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
begin
    raise exception 'the ledger is append-only: put a compensating transaction into it'
        using errcode = 'restrict_violation', table = tg_table_name;
end
$$;

CREATE FUNCTION ledger.refuse_other_change() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
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

CREATE FUNCTION ledger.take_from_credit() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
begin
    update ledger.credits as c set remaining_picousd = c.remaining_picousd - new.amount_picousd where c.id = new.credit_id;
    return null;
end
$$;

CREATE FUNCTION ledger.void_credit(for_org_id bigint, credit text, why text, author_of text, at timestamp with time zone DEFAULT now()) RETURNS numeric
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
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

CREATE FUNCTION marts.add_buckets(histogram bigint[], buckets smallint[], bucket_requests bigint[]) RETURNS bigint[]
    LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    for i in 1 .. coalesce(cardinality(buckets), 0) loop
        histogram[buckets[i] + 1] := coalesce(histogram[buckets[i] + 1], 0) + bucket_requests[i];
    end loop;
    return histogram;
end
$$;

CREATE FUNCTION marts.add_histograms(one bigint[], other bigint[]) RETURNS bigint[]
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
select array_agg(coalesce(a.requests, 0) + coalesce(b.requests, 0) order by place)
from unnest(one) with ordinality as a (requests, place)
full join unnest(other) with ordinality as b (requests, place) using (place)
$$;

CREATE FUNCTION marts.latency_us_at(histogram bigint[], share double precision) RETURNS double precision
    LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    passed numeric := 0;
    rank numeric := greatest(ceil(share::numeric * (select sum(requests) from unnest(histogram) as requests)), 1);
begin
    if share not between 0 and 1 then
        raise exception 'a share is between 0 and 1' using errcode = 'invalid_parameter_value';
    end if;
    for place in 1 .. cardinality(histogram) loop
        passed := passed + coalesce(histogram[place], 0);
        if passed >= rank then
            return case when place = 1 then 1 else power(2, (place - 1) / 8.0::float8) * 2 / (power(2, 0.125::float8) + 1) end;
        end if;
    end loop;
    return null;
end
$$;

CREATE FUNCTION raw.drop_engine_samples(kept_days integer) RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    if kept_days < 7 then
        raise exception 'samples are kept for at least 7 days' using errcode = 'invalid_parameter_value';
    end if;
    return (select count(*) from public.drop_chunks('raw.engine_samples', older_than => make_interval(days => kept_days)));
end
$$;

CREATE TABLE raw.usage_events (
    request_id uuid NOT NULL,
    trace_id uuid,
    started_at timestamp with time zone NOT NULL,
    finished_at timestamp with time zone NOT NULL,
    recorded_at timestamp with time zone DEFAULT now() NOT NULL,
    recorded_xid xid8 DEFAULT pg_current_xact_id() NOT NULL,
    org_id bigint NOT NULL,
    project_id bigint NOT NULL,
    api_key_id bigint NOT NULL,
    user_id bigint,
    service_account_id bigint,
    cost_picousd bigint,
    endpoint raw.endpoint NOT NULL,
    status raw.request_status NOT NULL,
    finish_reason raw.finish_reason,
    token_source raw.token_source NOT NULL,
    charge_class raw.charge_class NOT NULL,
    model_id integer,
    engine_id integer,
    price_id integer,
    input_tokens integer NOT NULL,
    cached_input_tokens integer NOT NULL,
    output_tokens integer NOT NULL,
    reasoning_tokens integer NOT NULL,
    queue_us integer,
    ttft_us integer,
    duration_us integer NOT NULL,
    overhead_us integer,
    attempt smallint NOT NULL,
    http_status smallint NOT NULL,
    stream boolean NOT NULL,
    model_asked text,
    error_code text,
    end_user text,
    tags jsonb,
    router_life integer,
    CONSTRAINT usage_events_attempt_check CHECK ((attempt >= 0)),
    CONSTRAINT usage_events_check CHECK (((cached_input_tokens >= 0) AND (cached_input_tokens <= input_tokens))),
    CONSTRAINT usage_events_check1 CHECK (((reasoning_tokens >= 0) AND (reasoning_tokens <= output_tokens))),
    CONSTRAINT usage_events_check2 CHECK (((cost_picousd IS NULL) OR (price_id IS NOT NULL) OR (cost_picousd = 0))),
    CONSTRAINT usage_events_check3 CHECK ((finished_at >= started_at)),
    CONSTRAINT usage_events_cost_picousd_check CHECK ((cost_picousd >= 0)),
    CONSTRAINT usage_events_duration_us_check CHECK ((duration_us >= 0)),
    CONSTRAINT usage_events_end_user_check CHECK ((length(end_user) <= 128)),
    CONSTRAINT usage_events_error_code_check CHECK ((length(error_code) <= 64)),
    CONSTRAINT usage_events_input_tokens_check CHECK ((input_tokens >= 0)),
    CONSTRAINT usage_events_model_asked_check CHECK ((length(model_asked) <= 128)),
    CONSTRAINT usage_events_output_tokens_check CHECK ((output_tokens >= 0)),
    CONSTRAINT usage_events_overhead_us_check CHECK ((overhead_us >= 0)),
    CONSTRAINT usage_events_queue_us_check CHECK ((queue_us >= 0)),
    CONSTRAINT usage_events_tags_check CHECK ((pg_column_size(tags) <= 2048)),
    CONSTRAINT usage_events_ttft_us_check CHECK ((ttft_us >= 0))
);

COMMENT ON TABLE raw.usage_events IS 'One row per attempt on an engine (attempt >= 1), plus one per request refused before any (attempt 0).';
COMMENT ON COLUMN raw.usage_events.recorded_xid IS 'Commit order: readers take rows below pg_snapshot_xmin of their own snapshot, so a row committed late is never missed.';
COMMENT ON COLUMN raw.usage_events.model_asked IS 'Only where it differs from the model that served, or where none served.';
COMMENT ON COLUMN raw.usage_events.router_life IS 'The account that the router had the row in: a random number, new at its start and whenever an account is opened anew.
A sum over rows leaves out those of the accounts that routers hold now, which Redis counts.';

CREATE FUNCTION raw.row_digest(event raw.usage_events) RETURNS bytea
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN sha256(convert_to(concat_ws('|'::text, (event).request_id, (event).attempt, COALESCE(((event).trace_id)::text, ''::text), ((EXTRACT(epoch FROM (event).started_at) * (1000000)::numeric))::bigint, ((EXTRACT(epoch FROM (event).finished_at) * (1000000)::numeric))::bigint, (event).org_id, (event).project_id, (event).api_key_id, COALESCE(((event).user_id)::text, ''::text), COALESCE(((event).service_account_id)::text, ''::text), (event).endpoint, ((event).stream)::integer, (event).status, (event).http_status, COALESCE(((event).finish_reason)::text, ''::text), COALESCE(((event).model_id)::text, ''::text), COALESCE(((event).engine_id)::text, ''::text), (event).input_tokens, (event).cached_input_tokens, (event).output_tokens, (event).reasoning_tokens, (event).token_source, COALESCE(((event).queue_us)::text, ''::text), COALESCE(((event).ttft_us)::text, ''::text), (event).duration_us, COALESCE(((event).overhead_us)::text, ''::text), COALESCE(((event).price_id)::text, ''::text), COALESCE(((event).cost_picousd)::text, ''::text), (event).charge_class, COALESCE((to_json((event).model_asked))::text, ''::text), COALESCE((to_json((event).error_code))::text, ''::text), COALESCE((to_json((event).end_user))::text, ''::text), COALESCE(((event).tags)::text, ''::text)), 'UTF8'::name));

COMMENT ON FUNCTION raw.row_digest(event raw.usage_events) IS 'SHA-256 over the columns of a row, in the order of the function. When and by whom it was recorded is left out: a row that is
replayed or restored has the same digest. Free text is quoted as JSON, so that no two rows have the same bytes.';

CREATE FUNCTION raw.touched_from() RETURNS timestamp with time zone
    LANGUAGE plpgsql IMMUTABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    return coalesce(nullif(current_setting('inferhouse.touched_from', true), ''), '-infinity')::timestamptz;
end
$$;

CREATE AGGREGATE marts.merge_buckets(buckets smallint[], bucket_requests bigint[]) (
    SFUNC = marts.add_buckets,
    STYPE = bigint[],
    INITCOND = '{0}',
    COMBINEFUNC = marts.add_histograms,
    PARALLEL = safe
);

CREATE TABLE archive.files (
    day date NOT NULL,
    version integer NOT NULL,
    path text NOT NULL,
    usage_rows bigint NOT NULL,
    bytes bigint NOT NULL,
    sha256 bytea NOT NULL,
    row_set_digest bytea NOT NULL,
    written_at timestamp with time zone DEFAULT now() NOT NULL,
    verified_at timestamp with time zone,
    superseded_at timestamp with time zone,
    dropped_at timestamp with time zone,
    CONSTRAINT files_bytes_check CHECK ((bytes > 0)),
    CONSTRAINT files_check CHECK (((dropped_at IS NULL) OR ((verified_at IS NOT NULL) AND (superseded_at IS NULL)))),
    CONSTRAINT files_path_check CHECK ((length(path) <= 200)),
    CONSTRAINT files_row_set_digest_check CHECK ((length(row_set_digest) = 32)),
    CONSTRAINT files_sha256_check CHECK ((length(sha256) = 32)),
    CONSTRAINT files_usage_rows_check CHECK ((usage_rows > 0)),
    CONSTRAINT files_version_check CHECK ((version > 0))
);

COMMENT ON TABLE archive.files IS 'One row per file written: a UTC day, and a version each time rows of it came late. The one in force is the last verified one.';
COMMENT ON COLUMN archive.files.row_set_digest IS 'Of its rows, as raw.row_digest has it: equal digests are equal rows.';
COMMENT ON COLUMN archive.files.superseded_at IS 'A later version has taken its place and the file was removed.';
COMMENT ON COLUMN archive.files.dropped_at IS 'Since when the day''s rows are only here. Rows that come for such a day wait in raw.usage_events until the day is restored.';

CREATE VIEW archive.absent_days WITH (security_barrier='true') AS
 SELECT day
   FROM archive.files
  WHERE (dropped_at IS NOT NULL);

CREATE TABLE archive.budget_days (
    budget_id bigint NOT NULL,
    day date NOT NULL,
    router_life integer,
    spent_picousd numeric(38,0) NOT NULL,
    CONSTRAINT budget_days_spent_picousd_check CHECK ((spent_picousd > (0)::numeric))
);

COMMENT ON TABLE archive.budget_days IS 'What each lifetime budget counts of a UTC day that is only in the archive, by the account that the router had the rows in.';

CREATE TABLE archive.daily_digests (
    sequence bigint NOT NULL,
    day date NOT NULL,
    usage_rows bigint NOT NULL,
    row_set_digest bytea NOT NULL,
    previous bytea NOT NULL,
    chain_hash bytea NOT NULL,
    as_of_xid xid8 NOT NULL,
    made_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT daily_digests_chain_hash_check CHECK ((length(chain_hash) = 32)),
    CONSTRAINT daily_digests_previous_check CHECK ((length(previous) = 32)),
    CONSTRAINT daily_digests_row_set_digest_check CHECK ((length(row_set_digest) = 32)),
    CONSTRAINT daily_digests_sequence_check CHECK ((sequence > 0)),
    CONSTRAINT daily_digests_usage_rows_check CHECK ((usage_rows >= 0))
);

COMMENT ON TABLE archive.daily_digests IS 'A chain of what the raw rows of each UTC day were. The last entry of a day is in force; an earlier one was before rows came late.';
COMMENT ON COLUMN archive.daily_digests.chain_hash IS 'SHA-256 of previous, then ''sequence|day|usage_rows|row_set_digest in hex'' as text.';

CREATE UNLOGGED TABLE archive.incoming_rows (
    request_id uuid NOT NULL,
    trace_id uuid,
    started_at timestamp with time zone NOT NULL,
    finished_at timestamp with time zone NOT NULL,
    recorded_at timestamp with time zone NOT NULL,
    recorded_xid xid8 NOT NULL,
    org_id bigint NOT NULL,
    project_id bigint NOT NULL,
    api_key_id bigint NOT NULL,
    user_id bigint,
    service_account_id bigint,
    cost_picousd bigint,
    endpoint raw.endpoint NOT NULL,
    status raw.request_status NOT NULL,
    finish_reason raw.finish_reason,
    token_source raw.token_source NOT NULL,
    charge_class raw.charge_class NOT NULL,
    model_id integer,
    engine_id integer,
    price_id integer,
    input_tokens integer NOT NULL,
    cached_input_tokens integer NOT NULL,
    output_tokens integer NOT NULL,
    reasoning_tokens integer NOT NULL,
    queue_us integer,
    ttft_us integer,
    duration_us integer NOT NULL,
    overhead_us integer,
    attempt smallint NOT NULL,
    http_status smallint NOT NULL,
    stream boolean NOT NULL,
    model_asked text,
    error_code text,
    end_user text,
    tags jsonb,
    router_life integer
);

CREATE TABLE billing.invoice_lines (
    id bigint NOT NULL,
    public_id text NOT NULL,
    invoice_id bigint NOT NULL,
    line_key text NOT NULL,
    kind text NOT NULL,
    adjusts text,
    org_id bigint NOT NULL,
    period_month date NOT NULL,
    period_starts_at timestamp with time zone NOT NULL,
    period_ends_at timestamp with time zone NOT NULL,
    project_id bigint,
    model_id integer,
    price_id integer,
    token_class text,
    above_quantity bigint,
    basis_points integer,
    usage_rows bigint NOT NULL,
    quantity numeric(38,0) NOT NULL,
    unit_price_picousd bigint,
    subtotal_picousd numeric(38,0) NOT NULL,
    amount numeric(20,2) NOT NULL,
    row_set_digest bytea,
    rows_after_xid xid8 NOT NULL,
    as_of_xid xid8 NOT NULL,
    query text NOT NULL,
    CONSTRAINT invoice_lines_adjusts_check CHECK ((adjusts = ANY (ARRAY['usage'::text, 'volume_discount'::text, 'discount'::text, 'price'::text]))),
    CONSTRAINT invoice_lines_check CHECK ((amount = round((subtotal_picousd * 0.000000000001), 2))),
    CONSTRAINT invoice_lines_check1 CHECK (((kind <> 'usage'::text) OR (subtotal_picousd = (quantity * (unit_price_picousd)::numeric)))),
    CONSTRAINT invoice_lines_check2 CHECK (((kind = 'adjustment'::text) = (adjusts IS NOT NULL))),
    CONSTRAINT invoice_lines_kind_check CHECK ((kind = ANY (ARRAY['usage'::text, 'volume_discount'::text, 'discount'::text, 'adjustment'::text, 'credit'::text]))),
    CONSTRAINT invoice_lines_public_id_check CHECK ((public_id ~ '^il_[0-9a-f]{24}$'::text)),
    CONSTRAINT invoice_lines_row_set_digest_check CHECK ((length(row_set_digest) = 32)),
    CONSTRAINT invoice_lines_token_class_check CHECK ((token_class = ANY (ARRAY['input'::text, 'cached_input'::text, 'output'::text, 'reasoning'::text, 'request'::text])))
);

COMMENT ON TABLE billing.invoice_lines IS 'Frozen with their invoice. `period_month` is the month of the usage: for an adjustment not that of the invoice.';
COMMENT ON COLUMN billing.invoice_lines.line_key IS 'What the line is for: the same in every month''s computation and adjustment.';
COMMENT ON COLUMN billing.invoice_lines.rows_after_xid IS 'The rows of the line were recorded at or after it and before as_of_xid: rows that come later are a later line''s.';

CREATE VIEW billing.billed_lines AS
 SELECT ( SELECT i.finalized_at
           FROM billing.invoices i
          WHERE (i.id = l.invoice_id)) AS finalized_at,
    id,
    public_id,
    invoice_id,
    line_key,
    kind,
    adjusts,
    org_id,
    period_month,
    period_starts_at,
    period_ends_at,
    project_id,
    model_id,
    price_id,
    token_class,
    above_quantity,
    basis_points,
    usage_rows,
    quantity,
    unit_price_picousd,
    subtotal_picousd,
    amount,
    row_set_digest,
    rows_after_xid,
    as_of_xid,
    query
   FROM billing.invoice_lines l
  WHERE (invoice_id IN ( SELECT i.id
           FROM billing.invoices i
          WHERE ((i.status = 'final'::text) AND (i.purpose = ANY (ARRAY['month'::text, 'adjustments'::text])))));

CREATE TABLE billing.certificates (
    id bigint NOT NULL,
    public_id text NOT NULL,
    invoice_id bigint NOT NULL,
    invoice_digest bytea NOT NULL,
    passed boolean NOT NULL,
    checks jsonb NOT NULL,
    made_at timestamp with time zone DEFAULT now() NOT NULL,
    made_by text NOT NULL,
    CONSTRAINT certificates_checks_check CHECK (((jsonb_typeof(checks) = 'array'::text) AND (jsonb_array_length(checks) > 0))),
    CONSTRAINT certificates_invoice_digest_check CHECK ((length(invoice_digest) = 32)),
    CONSTRAINT certificates_public_id_check CHECK ((public_id ~ '^cert_[0-9a-z]{12,32}$'::text))
);

COMMENT ON TABLE billing.certificates IS 'What the gate found about one draft: each check with its verdict, its figures and what to do. Good for that digest only.';

ALTER TABLE billing.certificates ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME billing.certificates_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

ALTER TABLE billing.invoice_lines ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME billing.invoice_lines_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

ALTER TABLE billing.invoices ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME billing.invoices_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE billing.numbers (
    kind text NOT NULL,
    last bigint NOT NULL,
    CONSTRAINT numbers_kind_check CHECK ((kind = ANY (ARRAY['invoice'::text, 'credit_note'::text]))),
    CONSTRAINT numbers_last_check CHECK ((last >= 0))
);

COMMENT ON TABLE billing.numbers IS 'Numbers of final invoices have no gap, so they come from rows that are locked, not from sequences.';

CREATE TABLE billing.tax_lines (
    id bigint NOT NULL,
    invoice_id bigint NOT NULL,
    period_month date NOT NULL,
    region text NOT NULL,
    name text NOT NULL,
    basis_points integer NOT NULL,
    taxable numeric(20,2) NOT NULL,
    amount numeric(20,2) NOT NULL,
    CONSTRAINT tax_lines_check CHECK ((amount = round(((taxable * (basis_points)::numeric) * 0.0001), 2)))
);

ALTER TABLE billing.tax_lines ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME billing.tax_lines_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE billing.tax_rates (
    id integer NOT NULL,
    region text NOT NULL,
    name text NOT NULL,
    basis_points integer NOT NULL,
    months daterange NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT tax_rates_basis_points_check CHECK (((basis_points >= 0) AND (basis_points <= 10000))),
    CONSTRAINT tax_rates_months_check CHECK (((NOT isempty(months)) AND lower_inc(months) AND (NOT upper_inc(months)) AND (lower(months) = date_trunc('month'::text, (lower(months))::timestamp with time zone)) AND (upper_inf(months) OR (upper(months) = date_trunc('month'::text, (upper(months))::timestamp with time zone))))),
    CONSTRAINT tax_rates_name_check CHECK (((length(name) >= 1) AND (length(name) <= 100))),
    CONSTRAINT tax_rates_region_check CHECK ((region ~ '^[A-Z]{2}(-[A-Z0-9]{1,10})?$'::text))
);

COMMENT ON TABLE billing.tax_rates IS 'Taxes of a region by whole months: what a month was taxed by is not changed by a later rate. Several names: several taxes.';

ALTER TABLE billing.tax_rates ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME billing.tax_rates_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE billing.tax_regions (
    org_id bigint NOT NULL,
    region text NOT NULL,
    CONSTRAINT tax_regions_region_check CHECK ((region ~ '^[A-Z]{2}(-[A-Z0-9]{1,10})?$'::text))
);

COMMENT ON TABLE billing.tax_regions IS 'Where an organization pays taxes; one that is not here pays none.';

CREATE TABLE control.alert_recipients (
    org_id bigint NOT NULL,
    roles text[] NOT NULL,
    emails text[] DEFAULT '{}'::text[] NOT NULL,
    version integer DEFAULT 1 NOT NULL,
    CONSTRAINT alert_recipients_roles_check CHECK ((roles <@ '{owner,admin,billing,member,auditor}'::text[]))
);

COMMENT ON TABLE control.alert_recipients IS 'Who gets mail. An organization without a row has its owners and billing users told.';

CREATE TABLE control.api_keys (
    id bigint NOT NULL,
    public_id text NOT NULL,
    secret_hash bytea NOT NULL,
    kind text NOT NULL,
    name text NOT NULL,
    org_id bigint,
    project_id bigint,
    user_id bigint,
    service_account_id bigint,
    models text[],
    expires_at timestamp with time zone,
    revoked_at timestamp with time zone,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    scopes text[] DEFAULT '{inference}'::text[] NOT NULL,
    cidrs cidr[],
    previous_secret_hash bytea,
    previous_secret_until timestamp with time zone,
    rotated_at timestamp with time zone,
    last_used_at timestamp with time zone,
    created_by text,
    version integer DEFAULT 1 NOT NULL,
    choices_max integer,
    output_tokens_max integer,
    CONSTRAINT api_keys_check1 CHECK (((user_id IS NULL) OR (service_account_id IS NULL))),
    CONSTRAINT api_keys_choices_max_check CHECK ((choices_max >= 1)),
    CONSTRAINT api_keys_kind_check CHECK ((kind = ANY (ARRAY['inference'::text, 'admin'::text, 'platform'::text]))),
    CONSTRAINT api_keys_name_check CHECK (((length(name) >= 1) AND (length(name) <= 200))),
    CONSTRAINT api_keys_output_tokens_max_check CHECK ((output_tokens_max >= 1)),
    CONSTRAINT api_keys_previous_secret_hash_check CHECK ((length(previous_secret_hash) = 32)),
    CONSTRAINT api_keys_public_id_check CHECK ((public_id ~ '^[0-9A-Za-z]{16}$'::text)),
    CONSTRAINT api_keys_scopes_check CHECK (((scopes <@ '{inference,usage.read,admin}'::text[]) AND ((cardinality(scopes) >= 1) AND (cardinality(scopes) <= 3)))),
    CONSTRAINT api_keys_secret_hash_check CHECK ((length(secret_hash) = 32))
);

COMMENT ON COLUMN control.api_keys.secret_hash IS 'HMAC-SHA256 of the secret under the pepper that only processes know.';
COMMENT ON COLUMN control.api_keys.models IS 'Names this key may use; null means every model.';
COMMENT ON COLUMN control.api_keys.cidrs IS 'Networks that the key works from; null means from everywhere.';
COMMENT ON COLUMN control.api_keys.previous_secret_hash IS 'The secret before the last rotation; works until previous_secret_until.';
COMMENT ON COLUMN control.api_keys.choices_max IS 'The largest `n` that a request of this key may ask for; null is no cap.';
COMMENT ON COLUMN control.api_keys.output_tokens_max IS 'The largest `max_tokens` that a request of this key may ask for.';

ALTER TABLE control.api_keys ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME control.api_keys_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE control.audit_head (
    is_head boolean DEFAULT true NOT NULL,
    sequence bigint NOT NULL,
    mac bytea NOT NULL,
    head_mac bytea NOT NULL,
    CONSTRAINT audit_head_is_head_check CHECK (is_head),
    CONSTRAINT audit_head_mac_check CHECK ((length(mac) = 32))
);

COMMENT ON TABLE control.audit_head IS 'The newest entry. head_mac covers its sequence and mac, so that an end that was cut off is noticed.';

CREATE TABLE control.audit_log (
    sequence bigint NOT NULL,
    public_id text NOT NULL,
    org_id bigint,
    project_id bigint,
    effective_at timestamp with time zone NOT NULL,
    event_type text NOT NULL,
    actor_type text NOT NULL,
    actor_id text NOT NULL,
    actor_email text,
    ip inet,
    request_id uuid,
    target_id text NOT NULL,
    before jsonb,
    after jsonb,
    previous_mac bytea NOT NULL,
    mac bytea NOT NULL,
    CONSTRAINT audit_log_actor_type_check CHECK ((actor_type = ANY (ARRAY['user'::text, 'api_key'::text, 'system'::text]))),
    CONSTRAINT audit_log_event_type_check CHECK ((event_type ~ '^[a-z_]+(\.[a-z_]+)+$'::text)),
    CONSTRAINT audit_log_mac_check CHECK ((length(mac) = 32)),
    CONSTRAINT audit_log_previous_mac_check CHECK ((length(previous_mac) = 32)),
    CONSTRAINT audit_log_public_id_check CHECK ((public_id ~ '^audit_[0-9a-z]{12,32}$'::text)),
    CONSTRAINT audit_log_sequence_check CHECK ((sequence > 0))
);

COMMENT ON TABLE control.audit_log IS 'Every change, by whom, from where, what was and what is. Added to, never changed.';

CREATE TABLE control.budget_alerts (
    id bigint NOT NULL,
    org_id bigint NOT NULL,
    budget_id bigint NOT NULL,
    window_start timestamp with time zone NOT NULL,
    percent integer NOT NULL,
    spent_picousd numeric(38,0) NOT NULL,
    limit_picousd numeric(38,0) NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL
);

ALTER TABLE control.budget_alerts ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME control.budget_alerts_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE control.budgets (
    id bigint NOT NULL,
    public_id text NOT NULL,
    org_id bigint NOT NULL,
    project_id bigint,
    user_id bigint,
    service_account_id bigint,
    api_key_id bigint,
    model_id integer,
    period text NOT NULL,
    limit_picousd numeric(38,0) NOT NULL,
    mode text DEFAULT 'hard'::text NOT NULL,
    alert_percents integer[] DEFAULT '{}'::integer[] NOT NULL,
    version integer DEFAULT 1 NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    deleted_at timestamp with time zone,
    raised_limit_picousd numeric(38,0),
    raised_until timestamp with time zone,
    hold_version integer DEFAULT 1 NOT NULL,
    CONSTRAINT budgets_check CHECK ((num_nonnulls(project_id, user_id, service_account_id, api_key_id) <= 1)),
    CONSTRAINT budgets_limit_picousd_check CHECK ((limit_picousd >= (0)::numeric)),
    CONSTRAINT budgets_mode_check CHECK ((mode = ANY (ARRAY['hard'::text, 'soft'::text, 'shadow'::text]))),
    CONSTRAINT budgets_period_check CHECK ((period = ANY (ARRAY['day'::text, 'week'::text, 'month'::text, 'lifetime'::text]))),
    CONSTRAINT budgets_public_id_check CHECK ((public_id ~ '^budget_[0-9a-z]{12,32}$'::text)),
    CONSTRAINT budgets_raise_check CHECK (((raised_limit_picousd IS NULL) = (raised_until IS NULL))),
    CONSTRAINT budgets_raised_limit_check CHECK ((raised_limit_picousd >= (0)::numeric))
);

COMMENT ON TABLE control.budgets IS 'What may be spent in a window of the organization''s time zone, by the whole organization or a part of it.';
COMMENT ON COLUMN control.budgets.raised_until IS 'Until then raised_limit_picousd is the limit, where it is the higher one.';
COMMENT ON COLUMN control.budgets.hold_version IS 'Another one whenever it begins to be held again, after it was soft or deleted: its windows are then summed up anew.';

ALTER TABLE control.budgets ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME control.budgets_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE control.device_logins (
    id bigint NOT NULL,
    device_code_hash bytea NOT NULL,
    user_code text NOT NULL,
    user_id bigint,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    expires_at timestamp with time zone NOT NULL,
    polled_at timestamp with time zone,
    second_factor boolean DEFAULT false NOT NULL,
    approved_at timestamp with time zone,
    denied_at timestamp with time zone,
    ip inet,
    user_agent text,
    CONSTRAINT device_logins_device_code_hash_check CHECK ((length(device_code_hash) = 32)),
    CONSTRAINT device_logins_user_agent_check CHECK ((length(user_agent) <= 300))
);

COMMENT ON TABLE control.device_logins IS 'Sign-ins of devices without a browser (RFC 8628); each row is used once.';

ALTER TABLE control.device_logins ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME control.device_logins_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE control.discounts (
    id integer NOT NULL,
    org_id bigint NOT NULL,
    model_id integer,
    basis_points integer NOT NULL,
    months daterange NOT NULL,
    reason text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT discounts_basis_points_check CHECK (((basis_points >= 1) AND (basis_points <= 10000))),
    CONSTRAINT discounts_months_check CHECK (((NOT isempty(months)) AND lower_inc(months) AND (NOT upper_inc(months)) AND (lower(months) = date_trunc('month'::text, (lower(months))::timestamp with time zone)) AND (upper_inf(months) OR (upper(months) = date_trunc('month'::text, (upper(months))::timestamp with time zone))))),
    CONSTRAINT discounts_reason_check CHECK (((length(reason) >= 1) AND (length(reason) <= 500)))
);

COMMENT ON TABLE control.discounts IS 'Taken from the lines of whole months of an organization; the one of the model comes before the one of all models.';

ALTER TABLE control.discounts ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME control.discounts_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE control.engines (
    id integer NOT NULL,
    name text NOT NULL,
    kind text NOT NULL,
    base_url text NOT NULL,
    model_id integer NOT NULL,
    enabled boolean DEFAULT true NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    version integer DEFAULT 1 NOT NULL,
    weight integer DEFAULT 100 NOT NULL,
    requests_at_once integer,
    served_model text,
    sealed_key bytea,
    canary_stopped_at timestamp with time zone,
    canary_stopped_why text,
    canary_percent integer,
    gpus smallint DEFAULT 0 NOT NULL,
    gpu_hour_picousd bigint DEFAULT 0 NOT NULL,
    CONSTRAINT engines_base_url_check CHECK ((base_url ~ '^https?://[^/]+(/[^/]+)*$'::text)),
    CONSTRAINT engines_canary_percent_check CHECK (((canary_percent >= 1) AND (canary_percent <= 50))),
    CONSTRAINT engines_canary_stopped_why_check CHECK ((length(canary_stopped_why) <= 300)),
    CONSTRAINT engines_gpu_hour_picousd_check CHECK (((gpu_hour_picousd >= 0) AND (gpu_hour_picousd <= '1000000000000000'::bigint))),
    CONSTRAINT engines_gpus_check CHECK (((gpus >= 0) AND (gpus <= 1024))),
    CONSTRAINT engines_kind_check CHECK ((kind = ANY (ARRAY['vllm'::text, 'simulated'::text, 'sglang'::text, 'openai'::text]))),
    CONSTRAINT engines_name_check CHECK ((name ~ '^[a-z0-9][a-z0-9-]{0,62}$'::text)),
    CONSTRAINT engines_requests_at_once_check CHECK ((requests_at_once > 0)),
    CONSTRAINT engines_served_model_check CHECK (((length(served_model) >= 1) AND (length(served_model) <= 200))),
    CONSTRAINT engines_weight_check CHECK (((weight >= 0) AND (weight <= 1000)))
);

COMMENT ON COLUMN control.engines.base_url IS 'Scheme, host, port and what stands before /v1; paths such as /v1/chat/completions are added by the router.';
COMMENT ON COLUMN control.engines.weight IS 'Share of the load, relative to the other engines of the model; 0 takes no new requests.';
COMMENT ON COLUMN control.engines.requests_at_once IS 'For each worker of a router; null: as many as there may be connections.';
COMMENT ON COLUMN control.engines.served_model IS 'What the engine itself calls the model; null: as it is called here.';
COMMENT ON COLUMN control.engines.sealed_key IS 'Key of a hosted provider, encrypted under a key that only processes know.';
COMMENT ON COLUMN control.engines.canary_stopped_at IS 'A router found it worse than the others; nothing goes to it until a change.';
COMMENT ON COLUMN control.engines.canary_percent IS 'Share of its model''s requests that it gets on trial; null: it is no canary.';
COMMENT ON COLUMN control.engines.gpu_hour_picousd IS 'Cost of one GPU for an hour, in pico-dollars.';

ALTER TABLE control.engines ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME control.engines_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE control.idempotent_answers (
    actor text NOT NULL,
    idempotency_key text NOT NULL,
    request_hash bytea NOT NULL,
    status integer NOT NULL,
    answer jsonb NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT idempotent_answers_idempotency_key_check CHECK (((length(idempotency_key) >= 1) AND (length(idempotency_key) <= 255))),
    CONSTRAINT idempotent_answers_request_hash_check CHECK ((length(request_hash) = 32))
);

COMMENT ON TABLE control.idempotent_answers IS 'What a create answered, without secrets, so that its repetition changes nothing.';

CREATE TABLE control.invites (
    id bigint NOT NULL,
    public_id text NOT NULL,
    org_id bigint NOT NULL,
    email text NOT NULL,
    role text NOT NULL,
    projects jsonb DEFAULT '[]'::jsonb NOT NULL,
    token_hash bytea NOT NULL,
    invited_by text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    expires_at timestamp with time zone NOT NULL,
    accepted_at timestamp with time zone,
    revoked_at timestamp with time zone,
    version integer DEFAULT 1 NOT NULL,
    CONSTRAINT invites_email_check CHECK (((email ~ '^[^@\s]+@[^@\s]+$'::text) AND (length(email) <= 320))),
    CONSTRAINT invites_public_id_check CHECK ((public_id ~ '^invite_[0-9a-z]{12,32}$'::text)),
    CONSTRAINT invites_role_check CHECK ((role = ANY (ARRAY['owner'::text, 'admin'::text, 'billing'::text, 'member'::text, 'auditor'::text]))),
    CONSTRAINT invites_token_hash_check CHECK ((length(token_hash) = 32))
);

COMMENT ON COLUMN control.invites.projects IS '[{"id": "proj_…", "role": "member"}]: what the invited person gets beside the role.';

ALTER TABLE control.invites ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME control.invites_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE control.limits (
    id bigint NOT NULL,
    public_id text NOT NULL,
    org_id bigint NOT NULL,
    project_id bigint,
    api_key_id bigint,
    model_id integer,
    requests_per_minute bigint,
    input_tokens_per_minute bigint,
    output_tokens_per_minute bigint,
    requests_at_once bigint,
    version integer DEFAULT 1 NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    deleted_at timestamp with time zone,
    mode text DEFAULT 'hard'::text NOT NULL,
    CONSTRAINT limits_check CHECK ((num_nonnulls(project_id, api_key_id) <= 1)),
    CONSTRAINT limits_check1 CHECK ((num_nonnulls(requests_per_minute, input_tokens_per_minute, output_tokens_per_minute, requests_at_once) >= 1)),
    CONSTRAINT limits_input_tokens_per_minute_check CHECK ((input_tokens_per_minute >= 0)),
    CONSTRAINT limits_mode_check CHECK ((mode = ANY (ARRAY['hard'::text, 'shadow'::text]))),
    CONSTRAINT limits_output_tokens_per_minute_check CHECK ((output_tokens_per_minute >= 0)),
    CONSTRAINT limits_public_id_check CHECK ((public_id ~ '^limit_[0-9a-z]{12,32}$'::text)),
    CONSTRAINT limits_requests_at_once_check CHECK ((requests_at_once >= 0)),
    CONSTRAINT limits_requests_per_minute_check CHECK ((requests_per_minute >= 0))
);

COMMENT ON COLUMN control.limits.mode IS 'A shadow limit refuses nobody; control.shadow_refusals counts whom it would have refused.';

ALTER TABLE control.limits ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME control.limits_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE control.login_failures (
    subject bytea NOT NULL,
    failures integer NOT NULL,
    last_at timestamp with time zone NOT NULL,
    blocked_until timestamp with time zone,
    CONSTRAINT login_failures_subject_check CHECK ((length(subject) = 32))
);

COMMENT ON COLUMN control.login_failures.subject IS 'Keyed hash of an e-mail address or of a network address: neither is stored for somebody who only tried.';

CREATE TABLE control.model_aliases (
    id bigint NOT NULL,
    public_id text NOT NULL,
    org_id bigint,
    name text NOT NULL,
    stages jsonb NOT NULL,
    version integer DEFAULT 1 NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    deleted_at timestamp with time zone,
    CONSTRAINT model_aliases_name_check CHECK ((name ~ '^[A-Za-z0-9][A-Za-z0-9._:/-]{0,127}$'::text)),
    CONSTRAINT model_aliases_public_id_check CHECK ((public_id ~ '^alias_[0-9a-z]{12,32}$'::text)),
    CONSTRAINT model_aliases_stages_check CHECK ((jsonb_typeof(stages) = 'array'::text))
);

COMMENT ON TABLE control.model_aliases IS 'A name that stands for models; org_id null is for everybody, otherwise one organization''s own.';
COMMENT ON COLUMN control.model_aliases.stages IS '[[{"model": "name", "weight": 3}, …], …]: a model of the first stage by weight; what follows is for when it cannot answer.';

ALTER TABLE control.model_aliases ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME control.model_aliases_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE control.models (
    id integer NOT NULL,
    name text NOT NULL,
    context_tokens_max integer NOT NULL,
    output_tokens_max integer NOT NULL,
    retired_at timestamp with time zone,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    version integer DEFAULT 1 NOT NULL,
    template_tokens_per_call integer DEFAULT 256 NOT NULL,
    template_tokens_per_message integer DEFAULT 16 NOT NULL,
    template_tokens_for_tools integer DEFAULT 512 NOT NULL,
    media_tokens_max integer,
    CONSTRAINT models_context_tokens_max_check CHECK ((context_tokens_max > 0)),
    CONSTRAINT models_media_tokens_max_check CHECK ((media_tokens_max >= 0)),
    CONSTRAINT models_name_check CHECK ((name ~ '^[A-Za-z0-9][A-Za-z0-9._:/-]{0,127}$'::text)),
    CONSTRAINT models_output_tokens_max_check CHECK ((output_tokens_max > 0)),
    CONSTRAINT models_template_tokens_for_tools_check CHECK ((template_tokens_for_tools >= 0)),
    CONSTRAINT models_template_tokens_per_call_check CHECK ((template_tokens_per_call >= 0)),
    CONSTRAINT models_template_tokens_per_message_check CHECK ((template_tokens_per_message >= 0))
);

COMMENT ON COLUMN control.models.template_tokens_per_call IS 'Tokens that the chat template adds to a call at most; with the ones below, the bound of a call''s input before it is tokenized.';
COMMENT ON COLUMN control.models.media_tokens_max IS 'Tokens of an image, a sound or a film at most; null: as many as the context has.';

ALTER TABLE control.models ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME control.models_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE control.oidc_logins (
    state_hash bytea NOT NULL,
    nonce text NOT NULL,
    code_verifier text NOT NULL,
    redirect_uri text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    expires_at timestamp with time zone NOT NULL,
    CONSTRAINT oidc_logins_state_hash_check CHECK ((length(state_hash) = 32))
);

COMMENT ON TABLE control.oidc_logins IS 'Sign-ins under way at an identity provider; each row is used once.';

CREATE TABLE control.org_members (
    org_id bigint NOT NULL,
    user_id bigint NOT NULL,
    role text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    version integer DEFAULT 1 NOT NULL,
    by_group boolean DEFAULT false NOT NULL,
    CONSTRAINT org_members_role_check CHECK ((role = ANY (ARRAY['owner'::text, 'admin'::text, 'billing'::text, 'member'::text, 'auditor'::text])))
);

COMMENT ON COLUMN control.org_members.by_group IS 'Made by a group of the identity provider: the next sign-in changes or ends it by the groups of then.';

CREATE TABLE control.organizations (
    id bigint NOT NULL,
    public_id text NOT NULL,
    name text NOT NULL,
    time_zone text DEFAULT 'UTC'::text NOT NULL,
    currency text DEFAULT 'USD'::text NOT NULL,
    suspended_at timestamp with time zone,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    deleted_at timestamp with time zone,
    version integer DEFAULT 1 NOT NULL,
    key_days_max integer,
    keys_per_member_max integer,
    key_models text[],
    key_cidrs cidr[],
    totp_required boolean DEFAULT false NOT NULL,
    answers_kept_s integer DEFAULT 0 NOT NULL,
    when_redis_is_down text DEFAULT 'refuse'::text NOT NULL,
    queue_weight integer DEFAULT 1 NOT NULL,
    CONSTRAINT organizations_answers_kept_s_check CHECK (((answers_kept_s >= 0) AND (answers_kept_s <= 604800))),
    CONSTRAINT organizations_currency_check CHECK ((currency = 'USD'::text)),
    CONSTRAINT organizations_key_days_max_check CHECK (((key_days_max >= 1) AND (key_days_max <= 3650))),
    CONSTRAINT organizations_keys_per_member_max_check CHECK (((keys_per_member_max >= 0) AND (keys_per_member_max <= 10000))),
    CONSTRAINT organizations_name_check CHECK (((length(name) >= 1) AND (length(name) <= 200))),
    CONSTRAINT organizations_public_id_check CHECK ((public_id ~ '^org_[0-9a-z]{12,32}$'::text)),
    CONSTRAINT organizations_queue_weight_check CHECK (((queue_weight >= 1) AND (queue_weight <= 100))),
    CONSTRAINT organizations_when_redis_is_down_check CHECK ((when_redis_is_down = ANY (ARRAY['refuse'::text, 'share'::text])))
);

COMMENT ON TABLE control.organizations IS 'A tenant. Everything below carries its id.';
COMMENT ON COLUMN control.organizations.key_days_max IS 'Caps on the keys that members make, with keys_per_member_max, key_models and key_cidrs; null means no cap.';
COMMENT ON COLUMN control.organizations.answers_kept_s IS 'For how long the answers of requests with an Idempotency-Key are kept to be sent again; 0 keeps none.';
COMMENT ON COLUMN control.organizations.when_redis_is_down IS 'refuse: requests under a budget or a limit get 503. share: each router goes on within its share of what was left.';
COMMENT ON COLUMN control.organizations.queue_weight IS 'Share of full engines that its requests get, relative to the other organizations that wait for them.';

ALTER TABLE control.organizations ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME control.organizations_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE control.outbox_deliveries (
    id bigint NOT NULL,
    public_id text NOT NULL,
    org_id bigint NOT NULL,
    event_id bigint NOT NULL,
    webhook_id bigint,
    email text,
    status text DEFAULT 'waiting'::text NOT NULL,
    tries integer DEFAULT 0 NOT NULL,
    next_try_at timestamp with time zone DEFAULT now() NOT NULL,
    tried_at timestamp with time zone,
    delivered_at timestamp with time zone,
    http_status integer,
    error text,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT outbox_deliveries_check CHECK ((num_nonnulls(webhook_id, email) = 1)),
    CONSTRAINT outbox_deliveries_email_check CHECK ((length(email) <= 320)),
    CONSTRAINT outbox_deliveries_error_check CHECK ((length(error) <= 300)),
    CONSTRAINT outbox_deliveries_public_id_check CHECK ((public_id ~ '^delivery_[0-9a-z]{12,32}$'::text)),
    CONSTRAINT outbox_deliveries_status_check CHECK ((status = ANY (ARRAY['waiting'::text, 'delivered'::text, 'failed'::text]))),
    CONSTRAINT outbox_deliveries_tries_check CHECK ((tries >= 0))
);

COMMENT ON COLUMN control.outbox_deliveries.next_try_at IS 'While a try is under way: when it counts as lost and is made again, so that a killed deliverer loses nothing.';

ALTER TABLE control.outbox_deliveries ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME control.outbox_deliveries_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE control.outbox_events (
    id bigint NOT NULL,
    public_id text NOT NULL,
    org_id bigint NOT NULL,
    event_type text NOT NULL,
    data jsonb NOT NULL,
    happened_once text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT outbox_events_event_type_check CHECK ((event_type ~ '^[a-z_]+(\.[a-z_]+)+$'::text)),
    CONSTRAINT outbox_events_happened_once_check CHECK (((length(happened_once) >= 1) AND (length(happened_once) <= 200))),
    CONSTRAINT outbox_events_public_id_check CHECK ((public_id ~ '^event_[0-9a-z]{12,32}$'::text))
);

COMMENT ON COLUMN control.outbox_events.happened_once IS 'What the event is about, in a word: a second event of the same word is none.';

ALTER TABLE control.outbox_events ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME control.outbox_events_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

ALTER TABLE control.prices ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME control.prices_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE control.project_members (
    org_id bigint NOT NULL,
    project_id bigint NOT NULL,
    user_id bigint NOT NULL,
    role text NOT NULL,
    version integer DEFAULT 1 NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT project_members_role_check CHECK ((role = ANY (ARRAY['admin'::text, 'member'::text, 'viewer'::text])))
);

CREATE TABLE control.projects (
    id bigint NOT NULL,
    public_id text NOT NULL,
    org_id bigint NOT NULL,
    name text NOT NULL,
    archived_at timestamp with time zone,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    version integer DEFAULT 1 NOT NULL,
    CONSTRAINT projects_name_check CHECK (((length(name) >= 1) AND (length(name) <= 200))),
    CONSTRAINT projects_public_id_check CHECK ((public_id ~ '^proj_[0-9a-z]{12,32}$'::text))
);

ALTER TABLE control.projects ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME control.projects_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE control.service_accounts (
    id bigint NOT NULL,
    public_id text NOT NULL,
    org_id bigint NOT NULL,
    project_id bigint NOT NULL,
    name text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    role text DEFAULT 'member'::text NOT NULL,
    created_by text,
    deleted_at timestamp with time zone,
    version integer DEFAULT 1 NOT NULL,
    CONSTRAINT service_accounts_name_check CHECK (((length(name) >= 1) AND (length(name) <= 200))),
    CONSTRAINT service_accounts_public_id_check CHECK ((public_id ~ '^svc_[0-9a-z]{12,32}$'::text)),
    CONSTRAINT service_accounts_role_check CHECK ((role = ANY (ARRAY['member'::text, 'viewer'::text])))
);

ALTER TABLE control.service_accounts ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME control.service_accounts_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE control.sessions (
    id bigint NOT NULL,
    public_id text NOT NULL,
    user_id bigint NOT NULL,
    serial integer DEFAULT 1 NOT NULL,
    rotated_at timestamp with time zone DEFAULT now() NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    expires_at timestamp with time zone NOT NULL,
    revoked_at timestamp with time zone,
    method text NOT NULL,
    second_factor boolean NOT NULL,
    ip inet,
    user_agent text,
    CONSTRAINT sessions_method_check CHECK ((method = ANY (ARRAY['password'::text, 'oidc'::text, 'device'::text]))),
    CONSTRAINT sessions_public_id_check CHECK ((public_id ~ '^sess_[0-9a-z]{12,32}$'::text)),
    CONSTRAINT sessions_user_agent_check CHECK ((length(user_agent) <= 300))
);

COMMENT ON COLUMN control.sessions.serial IS 'Which token of this session is the newest. One that was replaced before the last rotation ends the session: it was copied.';

ALTER TABLE control.sessions ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME control.sessions_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE control.shadow_refusals (
    org_id bigint NOT NULL,
    budget_id bigint,
    limit_id bigint,
    day date NOT NULL,
    requests bigint NOT NULL,
    CONSTRAINT shadow_refusals_check CHECK ((num_nonnulls(budget_id, limit_id) = 1)),
    CONSTRAINT shadow_refusals_requests_check CHECK ((requests > 0))
);

COMMENT ON TABLE control.shadow_refusals IS 'How many requests a budget or limit in shadow mode would have refused, by the day (UTC) of the request.';

CREATE TABLE control.sql_logins (
    role_name name NOT NULL,
    org_id bigint NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    name text DEFAULT 'SQL access'::text NOT NULL,
    created_by text,
    rotated_at timestamp with time zone,
    CONSTRAINT sql_logins_name_check CHECK (((length(name) >= 1) AND (length(name) <= 200)))
);

COMMENT ON TABLE control.sql_logins IS 'Which organization a read-only SQL login belongs to; read by control.current_org_id().';

CREATE TABLE control.users (
    id bigint NOT NULL,
    public_id text NOT NULL,
    email text NOT NULL,
    name text NOT NULL,
    password_hash text,
    platform_admin boolean DEFAULT false NOT NULL,
    disabled_at timestamp with time zone,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    version integer DEFAULT 1 NOT NULL,
    totp_secret bytea,
    totp_enabled_at timestamp with time zone,
    totp_step_last bigint,
    recovery_hashes bytea[] DEFAULT '{}'::bytea[] NOT NULL,
    oidc_issuer text,
    oidc_subject text,
    CONSTRAINT users_email_check CHECK (((email ~ '^[^@\s]+@[^@\s]+$'::text) AND (length(email) <= 320))),
    CONSTRAINT users_oidc_check CHECK (((oidc_issuer IS NULL) = (oidc_subject IS NULL))),
    CONSTRAINT users_public_id_check CHECK ((public_id ~ '^user_[0-9a-z]{12,32}$'::text))
);

COMMENT ON COLUMN control.users.password_hash IS 'argon2id; null for users who sign in elsewhere.';
COMMENT ON COLUMN control.users.totp_secret IS 'Encrypted with a key that only processes know.';
COMMENT ON COLUMN control.users.recovery_hashes IS 'Keyed hashes of the codes that stand in for a lost second factor, each once.';

ALTER TABLE control.users ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME control.users_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE control.volume_tiers (
    id integer NOT NULL,
    model_id integer NOT NULL,
    org_id bigint,
    token_class text NOT NULL,
    above_quantity bigint NOT NULL,
    basis_points integer NOT NULL,
    months daterange NOT NULL,
    reason text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT volume_tiers_above_quantity_check CHECK ((above_quantity > 0)),
    CONSTRAINT volume_tiers_basis_points_check CHECK (((basis_points >= 1) AND (basis_points <= 10000))),
    CONSTRAINT volume_tiers_months_check CHECK (((NOT isempty(months)) AND lower_inc(months) AND (NOT upper_inc(months)) AND (lower(months) = date_trunc('month'::text, (lower(months))::timestamp with time zone)) AND (upper_inf(months) OR (upper(months) = date_trunc('month'::text, (upper(months))::timestamp with time zone))))),
    CONSTRAINT volume_tiers_reason_check CHECK (((length(reason) >= 1) AND (length(reason) <= 500))),
    CONSTRAINT volume_tiers_token_class_check CHECK ((token_class = ANY (ARRAY['input'::text, 'cached_input'::text, 'output'::text, 'reasoning'::text, 'request'::text])))
);

COMMENT ON TABLE control.volume_tiers IS 'What an organization uses of a model in a month above a quantity costs so much less, up to the next tier. Tiers of the
organization take the place of those for everybody.';

ALTER TABLE control.volume_tiers ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME control.volume_tiers_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE control.webhooks (
    id bigint NOT NULL,
    public_id text NOT NULL,
    org_id bigint NOT NULL,
    name text NOT NULL,
    url text NOT NULL,
    event_types text[],
    enabled boolean DEFAULT true NOT NULL,
    secret_serial integer DEFAULT 1 NOT NULL,
    previous_secret_until timestamp with time zone,
    version integer DEFAULT 1 NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    deleted_at timestamp with time zone,
    CONSTRAINT webhooks_name_check CHECK (((length(name) >= 1) AND (length(name) <= 200))),
    CONSTRAINT webhooks_public_id_check CHECK ((public_id ~ '^webhook_[0-9a-z]{12,32}$'::text)),
    CONSTRAINT webhooks_secret_serial_check CHECK ((secret_serial > 0)),
    CONSTRAINT webhooks_url_check CHECK (((url ~ '^https?://'::text) AND (length(url) <= 2000)))
);

COMMENT ON COLUMN control.webhooks.event_types IS 'Types that it is told of; null means all.';
COMMENT ON COLUMN control.webhooks.secret_serial IS 'Which of its secrets signs. The secret is made of this, of public_id and of a key that only processes know: none is stored.';

ALTER TABLE control.webhooks ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME control.webhooks_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE findings.adjustments (
    id bigint NOT NULL,
    public_id text NOT NULL,
    run_id bigint NOT NULL,
    org_id bigint NOT NULL,
    period_month date NOT NULL,
    adjusts text NOT NULL,
    project_id bigint,
    model_id integer NOT NULL,
    price_id integer,
    corrected_price_id integer,
    token_class text,
    above_quantity bigint,
    quantity numeric(38,0) NOT NULL,
    subtotal_picousd numeric(38,0) NOT NULL,
    reason text NOT NULL,
    author text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT adjustments_adjusts_check CHECK ((adjusts = ANY (ARRAY['usage'::text, 'volume_discount'::text, 'discount'::text]))),
    CONSTRAINT adjustments_author_check CHECK (((length(author) >= 1) AND (length(author) <= 256))),
    CONSTRAINT adjustments_period_month_check CHECK ((period_month = date_trunc('month'::text, (period_month)::timestamp with time zone))),
    CONSTRAINT adjustments_public_id_check CHECK ((public_id ~ '^adj_[0-9a-f]{32}$'::text)),
    CONSTRAINT adjustments_reason_check CHECK (((length(reason) >= 1) AND (length(reason) <= 500))),
    CONSTRAINT adjustments_subtotal_picousd_check CHECK ((subtotal_picousd <> (0)::numeric)),
    CONSTRAINT adjustments_token_class_check CHECK ((token_class = ANY (ARRAY['input'::text, 'cached_input'::text, 'output'::text, 'reasoning'::text, 'request'::text])))
);

COMMENT ON TABLE findings.adjustments IS 'What a corrected price book changes in a line of a past month, in the month of the usage: corrected minus billed. Never
changed; a wrong one is compensated by the next run. Raw rows keep the price version that they were billed by.';

COMMENT ON COLUMN findings.adjustments.price_id IS 'The version that the rows name; null where none was in force, or for a discount.';
COMMENT ON COLUMN findings.adjustments.corrected_price_id IS 'The version of the corrected book; null where that came from a file.';

ALTER TABLE findings.adjustments ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME findings.adjustments_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE findings.anomalies (
    id bigint NOT NULL,
    public_id text NOT NULL,
    org_id bigint NOT NULL,
    project_id bigint NOT NULL,
    api_key_id bigint NOT NULL,
    metric text NOT NULL,
    baseline text NOT NULL,
    observed numeric(38,0) NOT NULL,
    expected numeric(38,0) NOT NULL,
    threshold numeric(38,0) NOT NULL,
    window_s integer NOT NULL,
    started_at timestamp with time zone NOT NULL,
    detected_at timestamp with time zone DEFAULT now() NOT NULL,
    last_seen_at timestamp with time zone NOT NULL,
    ended_at timestamp with time zone,
    CONSTRAINT anomalies_baseline_check CHECK ((baseline = ANY (ARRAY['key'::text, 'organization'::text, 'none'::text]))),
    CONSTRAINT anomalies_check CHECK ((ended_at >= last_seen_at)),
    CONSTRAINT anomalies_check1 CHECK ((last_seen_at >= started_at)),
    CONSTRAINT anomalies_expected_check CHECK ((expected >= (0)::numeric)),
    CONSTRAINT anomalies_metric_check CHECK ((metric = ANY (ARRAY['requests'::text, 'spend'::text]))),
    CONSTRAINT anomalies_observed_check CHECK ((observed > (0)::numeric)),
    CONSTRAINT anomalies_public_id_check CHECK ((public_id ~ '^anomaly_[0-9a-f]{32}$'::text)),
    CONSTRAINT anomalies_threshold_check CHECK ((threshold > (0)::numeric)),
    CONSTRAINT anomalies_window_s_check CHECK ((window_s > 0))
);

COMMENT ON TABLE findings.anomalies IS 'One per API key and episode: its use went far over what its own past, or its organization''s, gives for this hour of the week.';
COMMENT ON COLUMN findings.anomalies.observed IS 'In the window in which it was found: requests, or pico-dollars. `expected` and `threshold` are in the same unit.';

ALTER TABLE findings.anomalies ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME findings.anomalies_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE findings.decided_rows (
    run_id bigint NOT NULL,
    org_id bigint NOT NULL,
    period_month date NOT NULL,
    started_at timestamp with time zone NOT NULL,
    request_id uuid NOT NULL,
    attempt smallint NOT NULL,
    is_metered boolean NOT NULL,
    change smallint NOT NULL,
    CONSTRAINT decided_rows_change_check CHECK ((change = ANY (ARRAY['-1'::integer, 1]))),
    CONSTRAINT decided_rows_period_month_check CHECK ((period_month = date_trunc('month'::text, (period_month)::timestamp with time zone)))
);

COMMENT ON TABLE findings.decided_rows IS 'Charged rows of unknown cost that a re-pricing run has billed in a month: 1, and -1 where a later run has taken that back with
its adjustments. Their sum over all runs says whether a row is decided; the gate lets a month through when all of its are.';

COMMENT ON COLUMN findings.decided_rows.is_metered IS 'By its counts; otherwise somebody decided that it is billed without any (`inferhouse reprice --unmetered`).';

CREATE TABLE findings.forecast_backtests (
    org_id bigint NOT NULL,
    days_ahead integer NOT NULL,
    forecasts integer NOT NULL,
    first_day date NOT NULL,
    last_day date NOT NULL,
    error_share numeric(12,6),
    naive_error_share numeric(12,6),
    coverage numeric(7,6) NOT NULL,
    interval_share numeric(7,6) NOT NULL,
    tested_at timestamp with time zone NOT NULL,
    CONSTRAINT forecast_backtests_check CHECK ((last_day >= first_day)),
    CONSTRAINT forecast_backtests_coverage_check CHECK (((coverage >= (0)::numeric) AND (coverage <= (1)::numeric))),
    CONSTRAINT forecast_backtests_days_ahead_check CHECK ((days_ahead > 0)),
    CONSTRAINT forecast_backtests_error_share_check CHECK ((error_share >= (0)::numeric)),
    CONSTRAINT forecast_backtests_forecasts_check CHECK ((forecasts > 0)),
    CONSTRAINT forecast_backtests_interval_share_check CHECK (((interval_share >= (0)::numeric) AND (interval_share <= (1)::numeric))),
    CONSTRAINT forecast_backtests_naive_error_share_check CHECK ((naive_error_share >= (0)::numeric))
);

COMMENT ON TABLE findings.forecast_backtests IS 'What the forecast would have said on each of the last days, beside what came: rolling origins, each with only its own past.';
COMMENT ON COLUMN findings.forecast_backtests.error_share IS 'Sum of the absolute errors / sum of what was spent; naive: the same day of last week. Null where nothing was spent.';

CREATE TABLE findings.repricing_runs (
    id bigint NOT NULL,
    public_id text NOT NULL,
    first_month date NOT NULL,
    last_month date NOT NULL,
    book text NOT NULL,
    reason text NOT NULL,
    author text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT repricing_runs_author_check CHECK (((length(author) >= 1) AND (length(author) <= 256))),
    CONSTRAINT repricing_runs_book_check CHECK (((length(book) >= 1) AND (length(book) <= 200))),
    CONSTRAINT repricing_runs_check CHECK ((last_month >= first_month)),
    CONSTRAINT repricing_runs_public_id_check CHECK ((public_id ~ '^reprice_[0-9a-f]{32}$'::text)),
    CONSTRAINT repricing_runs_reason_check CHECK (((length(reason) >= 1) AND (length(reason) <= 500)))
);

COMMENT ON TABLE findings.repricing_runs IS 'A corrected price book that was applied to past months. `book`: `as of now`, or the SHA-256 of the file it came from.';

ALTER TABLE findings.repricing_runs ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME findings.repricing_runs_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE ledger.accounts (
    id bigint NOT NULL,
    org_id bigint NOT NULL,
    kind text NOT NULL,
    currency text NOT NULL,
    balance_picousd numeric(38,0) DEFAULT 0 NOT NULL,
    CONSTRAINT accounts_currency_check CHECK ((currency = 'USD'::text)),
    CONSTRAINT accounts_kind_check CHECK ((kind = ANY (ARRAY['wallet'::text, 'prepaid'::text, 'promotional'::text, 'consumed'::text, 'expired'::text, 'voided'::text]))),
    CONSTRAINT accounts_wallet_is_never_negative CHECK (((kind <> 'wallet'::text) OR (balance_picousd >= (0)::numeric)))
);

COMMENT ON TABLE ledger.accounts IS 'The wallet of an organization; where its credits came from (prepaid, promotional: negative); where they went.';

ALTER TABLE ledger.accounts ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME ledger.accounts_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE ledger.allocations (
    id bigint NOT NULL,
    org_id bigint NOT NULL,
    credit_id bigint NOT NULL,
    entry_id bigint NOT NULL,
    amount_picousd numeric(38,0) NOT NULL,
    CONSTRAINT allocations_amount_picousd_check CHECK ((amount_picousd <> (0)::numeric))
);

COMMENT ON TABLE ledger.allocations IS 'Append-only. Which credits an entry of the wallet was taken from; negative where they were given back.';

ALTER TABLE ledger.allocations ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME ledger.allocations_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE ledger.credits (
    id bigint NOT NULL,
    public_id text NOT NULL,
    org_id bigint NOT NULL,
    entry_id bigint NOT NULL,
    kind text NOT NULL,
    amount_picousd numeric(38,0) NOT NULL,
    remaining_picousd numeric(38,0) NOT NULL,
    granted_at timestamp with time zone NOT NULL,
    expires_at timestamp with time zone,
    CONSTRAINT credits_amount_picousd_check CHECK ((amount_picousd > (0)::numeric)),
    CONSTRAINT credits_expiry_check CHECK ((expires_at > granted_at)),
    CONSTRAINT credits_kind_check CHECK ((kind = ANY (ARRAY['prepaid'::text, 'promotional'::text]))),
    CONSTRAINT credits_public_id_check CHECK ((public_id ~ '^credit_[0-9a-z]{12,32}$'::text)),
    CONSTRAINT credits_remaining_check CHECK (((remaining_picousd >= (0)::numeric) AND (remaining_picousd <= amount_picousd)))
);

COMMENT ON TABLE ledger.credits IS 'What a grant put into the wallet, and what is left of it. Only remaining_picousd ever changes.';

ALTER TABLE ledger.credits ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME ledger.credits_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE ledger.entries (
    id bigint NOT NULL,
    org_id bigint NOT NULL,
    transaction_id bigint NOT NULL,
    account_id bigint NOT NULL,
    amount_picousd numeric(38,0) NOT NULL,
    CONSTRAINT entries_amount_picousd_check CHECK ((amount_picousd <> (0)::numeric))
);

COMMENT ON TABLE ledger.entries IS 'Append-only. Pico-dollars into an account, or out of it where negative.';

ALTER TABLE ledger.entries ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME ledger.entries_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE ledger.transactions (
    id bigint NOT NULL,
    org_id bigint NOT NULL,
    kind text NOT NULL,
    reference text NOT NULL,
    reverses bigint,
    reason text NOT NULL,
    author text NOT NULL,
    happened_at timestamp with time zone NOT NULL,
    recorded_at timestamp with time zone DEFAULT now() NOT NULL,
    recorded_xid xid8 DEFAULT pg_current_xact_id() NOT NULL,
    CONSTRAINT transactions_author_check CHECK (((length(author) >= 1) AND (length(author) <= 100))),
    CONSTRAINT transactions_give_back_reverses CHECK (((kind = 'give_back'::text) = (reverses IS NOT NULL))),
    CONSTRAINT transactions_kind_check CHECK ((kind = ANY (ARRAY['grant'::text, 'draw'::text, 'expiry'::text, 'void'::text, 'give_back'::text]))),
    CONSTRAINT transactions_reason_check CHECK (((length(reason) >= 1) AND (length(reason) <= 500))),
    CONSTRAINT transactions_reference_check CHECK (((length(reference) >= 1) AND (length(reference) <= 200)))
);

COMMENT ON TABLE ledger.transactions IS 'Append-only. The entries of each sum to zero; a mistake is put right by another one.';

ALTER TABLE ledger.transactions ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME ledger.transactions_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE marts.spend_forecast (
    org_id bigint NOT NULL,
    day_utc date NOT NULL,
    cost_picousd numeric NOT NULL,
    cost_picousd_low numeric NOT NULL,
    cost_picousd_high numeric NOT NULL,
    interval_share numeric NOT NULL,
    days_of_history integer NOT NULL,
    forecast_at timestamp with time zone NOT NULL,
    CONSTRAINT spend_forecast_check CHECK (((cost_picousd_low >= (0)::numeric) AND (cost_picousd_low <= cost_picousd))),
    CONSTRAINT spend_forecast_check1 CHECK ((cost_picousd_high >= cost_picousd)),
    CONSTRAINT spend_forecast_cost_picousd_check CHECK ((cost_picousd >= (0)::numeric)),
    CONSTRAINT spend_forecast_days_of_history_check CHECK ((days_of_history > 0)),
    CONSTRAINT spend_forecast_interval_share_check CHECK (((interval_share > (0)::numeric) AND (interval_share < (1)::numeric)))
);

COMMENT ON TABLE marts.spend_forecast IS 'Expected spend per organization and UTC day to come. interval_share of past forecasts fell between low and high.';

CREATE TABLE migrations.applied (
    name text NOT NULL,
    sha256 text NOT NULL,
    applied_at timestamp with time zone DEFAULT now() NOT NULL
);

CREATE TABLE raw.engine_samples (
    sampled_at timestamp with time zone NOT NULL,
    started_at timestamp with time zone,
    recorded_xid xid8 DEFAULT pg_current_xact_id() NOT NULL,
    prompt_tokens bigint NOT NULL,
    cached_tokens bigint NOT NULL,
    generation_tokens bigint NOT NULL,
    prefix_cache_queries bigint NOT NULL,
    prefix_cache_hits bigint NOT NULL,
    requests_finished bigint NOT NULL,
    requests_aborted bigint NOT NULL,
    preemptions bigint NOT NULL,
    queue_us bigint NOT NULL,
    request_us bigint NOT NULL,
    gpu_hour_picousd bigint NOT NULL,
    engine_id integer NOT NULL,
    running integer NOT NULL,
    waiting integer NOT NULL,
    gpus smallint NOT NULL,
    kv_cache_usage numeric(7,6) NOT NULL,
    CONSTRAINT engine_samples_cached_tokens_check CHECK ((cached_tokens >= 0)),
    CONSTRAINT engine_samples_generation_tokens_check CHECK ((generation_tokens >= 0)),
    CONSTRAINT engine_samples_gpu_hour_picousd_check CHECK ((gpu_hour_picousd >= 0)),
    CONSTRAINT engine_samples_gpus_check CHECK ((gpus >= 0)),
    CONSTRAINT engine_samples_kv_cache_usage_check CHECK (((kv_cache_usage >= (0)::numeric) AND (kv_cache_usage <= (1)::numeric))),
    CONSTRAINT engine_samples_preemptions_check CHECK ((preemptions >= 0)),
    CONSTRAINT engine_samples_prefix_cache_hits_check CHECK ((prefix_cache_hits >= 0)),
    CONSTRAINT engine_samples_prefix_cache_queries_check CHECK ((prefix_cache_queries >= 0)),
    CONSTRAINT engine_samples_prompt_tokens_check CHECK ((prompt_tokens >= 0)),
    CONSTRAINT engine_samples_queue_us_check CHECK ((queue_us >= 0)),
    CONSTRAINT engine_samples_request_us_check CHECK ((request_us >= 0)),
    CONSTRAINT engine_samples_requests_aborted_check CHECK ((requests_aborted >= 0)),
    CONSTRAINT engine_samples_requests_finished_check CHECK ((requests_finished >= 0)),
    CONSTRAINT engine_samples_running_check CHECK ((running >= 0)),
    CONSTRAINT engine_samples_waiting_check CHECK ((waiting >= 0))
);

COMMENT ON TABLE raw.engine_samples IS 'One row per reading of an engine''s /metrics. Append-only; whole chunks are dropped when they are old.';
COMMENT ON COLUMN raw.engine_samples.started_at IS 'When the engine''s process started, by its own word; null where it does not say.';
COMMENT ON COLUMN raw.engine_samples.requests_finished IS 'However they ended, the aborted ones included.';
COMMENT ON COLUMN raw.engine_samples.gpus IS 'GPUs of the engine and what one costs an hour are of then: a later change does not change the past.';

CREATE TABLE raw.idempotent_answers (
    api_key_id bigint NOT NULL,
    idempotency_key_hash bytea NOT NULL,
    request_hash bytea NOT NULL,
    request_id uuid NOT NULL,
    started_at timestamp with time zone NOT NULL,
    expires_at timestamp with time zone NOT NULL,
    finished boolean DEFAULT false NOT NULL,
    model_id integer,
    answer bytea,
    answer_until timestamp with time zone,
    CONSTRAINT idempotent_answers_answer_check CHECK ((length(answer) <= 1048576)),
    CONSTRAINT idempotent_answers_check CHECK (((answer IS NULL) = (answer_until IS NULL))),
    CONSTRAINT idempotent_answers_idempotency_key_hash_check CHECK ((length(idempotency_key_hash) = 32)),
    CONSTRAINT idempotent_answers_request_hash_check CHECK ((length(request_hash) = 32))
);

COMMENT ON TABLE raw.idempotent_answers IS 'Requests with an Idempotency-Key: under way, or charged; the answer only where the organization has chosen to keep answers.';
COMMENT ON COLUMN raw.idempotent_answers.answer_until IS 'The answer is sent again until then. The key stays taken until `expires_at`, which may be later: nobody is charged twice for it.';

CREATE TABLE raw.journal_positions (
    worker text NOT NULL,
    reported_at timestamp with time zone NOT NULL,
    recorded_xid xid8 DEFAULT pg_current_xact_id() NOT NULL,
    complete_to timestamp with time zone NOT NULL,
    CONSTRAINT journal_positions_worker_check CHECK ((length(worker) <= 128))
);

COMMENT ON TABLE raw.journal_positions IS 'Per router worker: every row started before complete_to is in raw.usage_events. A worker that is cleanly gone has none.';

ALTER TABLE ONLY archive.budget_days
    ADD CONSTRAINT budget_days_budget_id_day_router_life_key UNIQUE NULLS NOT DISTINCT (budget_id, day, router_life);

ALTER TABLE ONLY archive.daily_digests
    ADD CONSTRAINT daily_digests_pkey PRIMARY KEY (sequence);

ALTER TABLE ONLY archive.files
    ADD CONSTRAINT files_pkey PRIMARY KEY (day, version);

ALTER TABLE ONLY billing.certificates
    ADD CONSTRAINT certificates_pkey PRIMARY KEY (id);

ALTER TABLE ONLY billing.certificates
    ADD CONSTRAINT certificates_public_id_key UNIQUE (public_id);

ALTER TABLE ONLY billing.invoice_lines
    ADD CONSTRAINT invoice_lines_invoice_id_line_key_key UNIQUE (invoice_id, line_key);

ALTER TABLE ONLY billing.invoice_lines
    ADD CONSTRAINT invoice_lines_pkey PRIMARY KEY (id);

ALTER TABLE ONLY billing.invoice_lines
    ADD CONSTRAINT invoice_lines_public_id_key UNIQUE (public_id);

ALTER TABLE ONLY billing.invoices
    ADD CONSTRAINT invoices_number_key UNIQUE (number);

ALTER TABLE ONLY billing.invoices
    ADD CONSTRAINT invoices_pkey PRIMARY KEY (id);

ALTER TABLE ONLY billing.invoices
    ADD CONSTRAINT invoices_public_id_key UNIQUE (public_id);

ALTER TABLE ONLY billing.numbers
    ADD CONSTRAINT numbers_pkey PRIMARY KEY (kind);

ALTER TABLE ONLY billing.tax_lines
    ADD CONSTRAINT tax_lines_invoice_id_period_month_name_key UNIQUE (invoice_id, period_month, name);

ALTER TABLE ONLY billing.tax_lines
    ADD CONSTRAINT tax_lines_pkey PRIMARY KEY (id);

ALTER TABLE ONLY billing.tax_rates
    ADD CONSTRAINT tax_rates_no_overlap EXCLUDE USING gist (region WITH =, name WITH =, months WITH &&);

ALTER TABLE ONLY billing.tax_rates
    ADD CONSTRAINT tax_rates_pkey PRIMARY KEY (id);

ALTER TABLE ONLY billing.tax_regions
    ADD CONSTRAINT tax_regions_pkey PRIMARY KEY (org_id);

ALTER TABLE ONLY control.alert_recipients
    ADD CONSTRAINT alert_recipients_pkey PRIMARY KEY (org_id);

ALTER TABLE control.api_keys
    ADD CONSTRAINT api_keys_home_check CHECK ((((kind = 'platform'::text) AND (org_id IS NULL) AND (project_id IS NULL)) OR ((kind = 'admin'::text) AND (org_id IS NOT NULL) AND (project_id IS NULL)) OR ((kind = 'inference'::text) AND (org_id IS NOT NULL) AND (project_id IS NOT NULL)))) NOT VALID;

ALTER TABLE ONLY control.api_keys
    ADD CONSTRAINT api_keys_pkey PRIMARY KEY (id);

ALTER TABLE ONLY control.api_keys
    ADD CONSTRAINT api_keys_public_id_key UNIQUE (public_id);

ALTER TABLE ONLY control.audit_head
    ADD CONSTRAINT audit_head_pkey PRIMARY KEY (is_head);

ALTER TABLE ONLY control.audit_log
    ADD CONSTRAINT audit_log_pkey PRIMARY KEY (sequence);

ALTER TABLE ONLY control.audit_log
    ADD CONSTRAINT audit_log_public_id_key UNIQUE (public_id);

ALTER TABLE ONLY control.budget_alerts
    ADD CONSTRAINT budget_alerts_budget_id_window_start_percent_key UNIQUE (budget_id, window_start, percent);

ALTER TABLE ONLY control.budget_alerts
    ADD CONSTRAINT budget_alerts_pkey PRIMARY KEY (id);

ALTER TABLE ONLY control.budgets
    ADD CONSTRAINT budgets_pkey PRIMARY KEY (id);

ALTER TABLE ONLY control.budgets
    ADD CONSTRAINT budgets_public_id_key UNIQUE (public_id);

ALTER TABLE ONLY control.device_logins
    ADD CONSTRAINT device_logins_device_code_hash_key UNIQUE (device_code_hash);

ALTER TABLE ONLY control.device_logins
    ADD CONSTRAINT device_logins_pkey PRIMARY KEY (id);

ALTER TABLE ONLY control.device_logins
    ADD CONSTRAINT device_logins_user_code_key UNIQUE (user_code);

ALTER TABLE ONLY control.discounts
    ADD CONSTRAINT discounts_no_overlap EXCLUDE USING gist (org_id WITH =, COALESCE(model_id, 0) WITH =, months WITH &&);

ALTER TABLE ONLY control.discounts
    ADD CONSTRAINT discounts_pkey PRIMARY KEY (id);

ALTER TABLE ONLY control.engines
    ADD CONSTRAINT engines_name_key UNIQUE (name);

ALTER TABLE ONLY control.engines
    ADD CONSTRAINT engines_pkey PRIMARY KEY (id);

ALTER TABLE ONLY control.idempotent_answers
    ADD CONSTRAINT idempotent_answers_pkey PRIMARY KEY (actor, idempotency_key);

ALTER TABLE ONLY control.invites
    ADD CONSTRAINT invites_pkey PRIMARY KEY (id);

ALTER TABLE ONLY control.invites
    ADD CONSTRAINT invites_public_id_key UNIQUE (public_id);

ALTER TABLE ONLY control.invites
    ADD CONSTRAINT invites_token_hash_key UNIQUE (token_hash);

ALTER TABLE ONLY control.limits
    ADD CONSTRAINT limits_pkey PRIMARY KEY (id);

ALTER TABLE ONLY control.limits
    ADD CONSTRAINT limits_public_id_key UNIQUE (public_id);

ALTER TABLE ONLY control.login_failures
    ADD CONSTRAINT login_failures_pkey PRIMARY KEY (subject);

ALTER TABLE ONLY control.model_aliases
    ADD CONSTRAINT model_aliases_pkey PRIMARY KEY (id);

ALTER TABLE ONLY control.model_aliases
    ADD CONSTRAINT model_aliases_public_id_key UNIQUE (public_id);

ALTER TABLE ONLY control.models
    ADD CONSTRAINT models_name_key UNIQUE (name);

ALTER TABLE ONLY control.models
    ADD CONSTRAINT models_pkey PRIMARY KEY (id);

ALTER TABLE ONLY control.oidc_logins
    ADD CONSTRAINT oidc_logins_pkey PRIMARY KEY (state_hash);

ALTER TABLE ONLY control.org_members
    ADD CONSTRAINT org_members_pkey PRIMARY KEY (org_id, user_id);

ALTER TABLE ONLY control.organizations
    ADD CONSTRAINT organizations_pkey PRIMARY KEY (id);

ALTER TABLE ONLY control.organizations
    ADD CONSTRAINT organizations_public_id_key UNIQUE (public_id);

ALTER TABLE ONLY control.outbox_deliveries
    ADD CONSTRAINT outbox_deliveries_event_id_webhook_id_email_key UNIQUE NULLS NOT DISTINCT (event_id, webhook_id, email);

ALTER TABLE ONLY control.outbox_deliveries
    ADD CONSTRAINT outbox_deliveries_pkey PRIMARY KEY (id);

ALTER TABLE ONLY control.outbox_deliveries
    ADD CONSTRAINT outbox_deliveries_public_id_key UNIQUE (public_id);

ALTER TABLE ONLY control.outbox_events
    ADD CONSTRAINT outbox_events_org_id_happened_once_key UNIQUE (org_id, happened_once);

ALTER TABLE ONLY control.outbox_events
    ADD CONSTRAINT outbox_events_org_id_id_key UNIQUE (org_id, id);

ALTER TABLE ONLY control.outbox_events
    ADD CONSTRAINT outbox_events_pkey PRIMARY KEY (id);

ALTER TABLE ONLY control.outbox_events
    ADD CONSTRAINT outbox_events_public_id_key UNIQUE (public_id);

ALTER TABLE ONLY control.prices
    ADD CONSTRAINT prices_no_overlap EXCLUDE USING gist (model_id WITH =, COALESCE(org_id, (0)::bigint) WITH =, priority WITH =, input_tokens_range WITH &&, effective WITH &&);

ALTER TABLE ONLY control.prices
    ADD CONSTRAINT prices_pkey PRIMARY KEY (id);

ALTER TABLE ONLY control.project_members
    ADD CONSTRAINT project_members_pkey PRIMARY KEY (project_id, user_id);

ALTER TABLE ONLY control.projects
    ADD CONSTRAINT projects_org_id_id_key UNIQUE (org_id, id);

ALTER TABLE ONLY control.projects
    ADD CONSTRAINT projects_org_id_name_key UNIQUE (org_id, name);

ALTER TABLE ONLY control.projects
    ADD CONSTRAINT projects_pkey PRIMARY KEY (id);

ALTER TABLE ONLY control.projects
    ADD CONSTRAINT projects_public_id_key UNIQUE (public_id);

ALTER TABLE ONLY control.service_accounts
    ADD CONSTRAINT service_accounts_pkey PRIMARY KEY (id);

ALTER TABLE ONLY control.service_accounts
    ADD CONSTRAINT service_accounts_public_id_key UNIQUE (public_id);

ALTER TABLE ONLY control.sessions
    ADD CONSTRAINT sessions_pkey PRIMARY KEY (id);

ALTER TABLE ONLY control.sessions
    ADD CONSTRAINT sessions_public_id_key UNIQUE (public_id);

ALTER TABLE ONLY control.shadow_refusals
    ADD CONSTRAINT shadow_refusals_budget_id_limit_id_day_key UNIQUE NULLS NOT DISTINCT (budget_id, limit_id, day);

ALTER TABLE ONLY control.sql_logins
    ADD CONSTRAINT sql_logins_pkey PRIMARY KEY (role_name);

ALTER TABLE ONLY control.users
    ADD CONSTRAINT users_oidc_key UNIQUE (oidc_issuer, oidc_subject);

ALTER TABLE ONLY control.users
    ADD CONSTRAINT users_pkey PRIMARY KEY (id);

ALTER TABLE ONLY control.users
    ADD CONSTRAINT users_public_id_key UNIQUE (public_id);

ALTER TABLE ONLY control.volume_tiers
    ADD CONSTRAINT volume_tiers_no_overlap EXCLUDE USING gist (model_id WITH =, COALESCE(org_id, (0)::bigint) WITH =, token_class WITH =, above_quantity WITH =, months WITH &&);

ALTER TABLE ONLY control.volume_tiers
    ADD CONSTRAINT volume_tiers_pkey PRIMARY KEY (id);

ALTER TABLE ONLY control.webhooks
    ADD CONSTRAINT webhooks_org_id_id_key UNIQUE (org_id, id);

ALTER TABLE ONLY control.webhooks
    ADD CONSTRAINT webhooks_pkey PRIMARY KEY (id);

ALTER TABLE ONLY control.webhooks
    ADD CONSTRAINT webhooks_public_id_key UNIQUE (public_id);

ALTER TABLE ONLY findings.adjustments
    ADD CONSTRAINT adjustments_pkey PRIMARY KEY (id);

ALTER TABLE ONLY findings.adjustments
    ADD CONSTRAINT adjustments_public_id_key UNIQUE (public_id);

ALTER TABLE ONLY findings.anomalies
    ADD CONSTRAINT anomalies_pkey PRIMARY KEY (id);

ALTER TABLE ONLY findings.anomalies
    ADD CONSTRAINT anomalies_public_id_key UNIQUE (public_id);

ALTER TABLE ONLY findings.decided_rows
    ADD CONSTRAINT decided_rows_pkey PRIMARY KEY (run_id, period_month, started_at, request_id, attempt, is_metered);

ALTER TABLE ONLY findings.forecast_backtests
    ADD CONSTRAINT forecast_backtests_pkey PRIMARY KEY (org_id, days_ahead);

ALTER TABLE ONLY findings.repricing_runs
    ADD CONSTRAINT repricing_runs_pkey PRIMARY KEY (id);

ALTER TABLE ONLY findings.repricing_runs
    ADD CONSTRAINT repricing_runs_public_id_key UNIQUE (public_id);

ALTER TABLE ONLY ledger.accounts
    ADD CONSTRAINT accounts_of_organization UNIQUE (org_id, id);

ALTER TABLE ONLY ledger.accounts
    ADD CONSTRAINT accounts_one_of_a_kind UNIQUE (org_id, kind, currency);

ALTER TABLE ONLY ledger.accounts
    ADD CONSTRAINT accounts_pkey PRIMARY KEY (id);

ALTER TABLE ONLY ledger.allocations
    ADD CONSTRAINT allocations_credit_once_an_entry UNIQUE (entry_id, credit_id);

ALTER TABLE ONLY ledger.allocations
    ADD CONSTRAINT allocations_pkey PRIMARY KEY (id);

ALTER TABLE ONLY ledger.credits
    ADD CONSTRAINT credits_of_an_entry UNIQUE (entry_id);

ALTER TABLE ONLY ledger.credits
    ADD CONSTRAINT credits_of_organization UNIQUE (org_id, id);

ALTER TABLE ONLY ledger.credits
    ADD CONSTRAINT credits_pkey PRIMARY KEY (id);

ALTER TABLE ONLY ledger.credits
    ADD CONSTRAINT credits_public_id_is_unique UNIQUE (public_id);

ALTER TABLE ONLY ledger.entries
    ADD CONSTRAINT entries_of_organization UNIQUE (org_id, id);

ALTER TABLE ONLY ledger.entries
    ADD CONSTRAINT entries_one_an_account UNIQUE (transaction_id, account_id);

ALTER TABLE ONLY ledger.entries
    ADD CONSTRAINT entries_pkey PRIMARY KEY (id);

ALTER TABLE ONLY ledger.transactions
    ADD CONSTRAINT transactions_of_organization UNIQUE (org_id, id);

ALTER TABLE ONLY ledger.transactions
    ADD CONSTRAINT transactions_pkey PRIMARY KEY (id);

ALTER TABLE ONLY ledger.transactions
    ADD CONSTRAINT transactions_reference_is_unique UNIQUE (reference);

ALTER TABLE ONLY ledger.transactions
    ADD CONSTRAINT transactions_reversed_once UNIQUE (reverses);

ALTER TABLE ONLY marts.spend_forecast
    ADD CONSTRAINT spend_forecast_pkey PRIMARY KEY (org_id, day_utc);

ALTER TABLE ONLY migrations.applied
    ADD CONSTRAINT applied_pkey PRIMARY KEY (name);

ALTER TABLE ONLY raw.idempotent_answers
    ADD CONSTRAINT idempotent_answers_pkey PRIMARY KEY (api_key_id, idempotency_key_hash);

ALTER TABLE ONLY raw.journal_positions
    ADD CONSTRAINT journal_positions_pkey PRIMARY KEY (worker);

CREATE INDEX daily_digests_day ON archive.daily_digests USING btree (day, sequence DESC);
CREATE UNIQUE INDEX files_dropped ON archive.files USING btree (day) WHERE (dropped_at IS NOT NULL);
CREATE INDEX certificates_invoice_id_idx ON billing.certificates USING btree (invoice_id, id);
CREATE INDEX invoice_lines_month_idx ON billing.invoice_lines USING btree (org_id, period_month);
CREATE UNIQUE INDEX invoices_one_draft ON billing.invoices USING btree (org_id, period_month) WHERE ((status = 'draft'::text) AND (purpose = ANY (ARRAY['month'::text, 'adjustments'::text])));
CREATE UNIQUE INDEX invoices_one_of_a_month ON billing.invoices USING btree (org_id, period_month) WHERE ((status = 'final'::text) AND (purpose = 'month'::text));
CREATE INDEX invoices_org_id_idx ON billing.invoices USING btree (org_id, period_month);
CREATE INDEX api_keys_org_id_idx ON control.api_keys USING btree (org_id);
CREATE INDEX api_keys_project_id_idx ON control.api_keys USING btree (org_id, project_id, id);
CREATE INDEX api_keys_user_id_idx ON control.api_keys USING btree (user_id) WHERE (user_id IS NOT NULL);
CREATE INDEX audit_log_actor_email_idx ON control.audit_log USING btree (actor_email, effective_at, sequence);
CREATE INDEX audit_log_actor_id_idx ON control.audit_log USING btree (actor_id, effective_at, sequence);
CREATE INDEX audit_log_effective_at_idx ON control.audit_log USING btree (effective_at, sequence);
CREATE INDEX audit_log_event_type_idx ON control.audit_log USING btree (event_type, effective_at, sequence);
CREATE INDEX audit_log_org_id_event_type_idx ON control.audit_log USING btree (org_id, event_type, effective_at, sequence);
CREATE INDEX audit_log_org_id_idx ON control.audit_log USING btree (org_id, effective_at, sequence);
CREATE INDEX audit_log_project_id_idx ON control.audit_log USING btree (project_id, effective_at, sequence) WHERE (project_id IS NOT NULL);
CREATE INDEX audit_log_target_id_idx ON control.audit_log USING btree (target_id, effective_at, sequence);
CREATE INDEX budgets_org_id_idx ON control.budgets USING btree (org_id, id) WHERE (deleted_at IS NULL);
CREATE INDEX device_logins_expires_at_idx ON control.device_logins USING btree (expires_at);
CREATE INDEX idempotent_answers_created_at_idx ON control.idempotent_answers USING btree (created_at);
CREATE UNIQUE INDEX invites_open_key ON control.invites USING btree (org_id, lower(email)) WHERE ((accepted_at IS NULL) AND (revoked_at IS NULL));
CREATE INDEX invites_org_id_idx ON control.invites USING btree (org_id, id);
CREATE INDEX limits_org_id_idx ON control.limits USING btree (org_id, id) WHERE (deleted_at IS NULL);
CREATE INDEX login_failures_last_at_idx ON control.login_failures USING btree (last_at);
CREATE UNIQUE INDEX model_aliases_name_key ON control.model_aliases USING btree (COALESCE(org_id, (0)::bigint), name) WHERE (deleted_at IS NULL);
CREATE INDEX model_aliases_org_id_idx ON control.model_aliases USING btree (org_id, id);
CREATE INDEX oidc_logins_expires_at_idx ON control.oidc_logins USING btree (expires_at);
CREATE INDEX org_members_user_id_idx ON control.org_members USING btree (user_id);
CREATE INDEX outbox_deliveries_due_idx ON control.outbox_deliveries USING btree (next_try_at) WHERE (status = 'waiting'::text);
CREATE INDEX outbox_deliveries_org_id_idx ON control.outbox_deliveries USING btree (org_id, id);
CREATE INDEX outbox_events_created_at_idx ON control.outbox_events USING btree (created_at);
CREATE INDEX project_members_user_id_idx ON control.project_members USING btree (org_id, user_id);
CREATE INDEX service_accounts_project_id_idx ON control.service_accounts USING btree (org_id, project_id, id);
CREATE INDEX sessions_expires_at_idx ON control.sessions USING btree (expires_at);
CREATE INDEX sessions_user_id_idx ON control.sessions USING btree (user_id) WHERE (revoked_at IS NULL);
CREATE INDEX shadow_refusals_org_id_idx ON control.shadow_refusals USING btree (org_id, day);
CREATE INDEX sql_logins_org_id_idx ON control.sql_logins USING btree (org_id, role_name);
CREATE UNIQUE INDEX users_email_key ON control.users USING btree (lower(email));
CREATE INDEX adjustments_org_id_idx ON findings.adjustments USING btree (org_id, period_month);
CREATE UNIQUE INDEX anomalies_one_open ON findings.anomalies USING btree (api_key_id) WHERE (ended_at IS NULL);
CREATE INDEX anomalies_org_id_idx ON findings.anomalies USING btree (org_id, started_at);
CREATE INDEX decided_rows_org_id_idx ON findings.decided_rows USING btree (org_id, period_month);
CREATE INDEX allocations_credit_id ON ledger.allocations USING btree (credit_id, id);
CREATE INDEX allocations_org_id ON ledger.allocations USING btree (org_id);
CREATE INDEX credits_expiring ON ledger.credits USING btree (expires_at) WHERE (remaining_picousd > (0)::numeric);
CREATE INDEX credits_open ON ledger.credits USING btree (org_id, expires_at, granted_at, id) WHERE (remaining_picousd > (0)::numeric);
CREATE INDEX entries_account_id_id ON ledger.entries USING btree (account_id, id);
CREATE INDEX transactions_recorded_xid ON ledger.transactions USING btree (recorded_xid);
CREATE UNIQUE INDEX engine_samples_once ON raw.engine_samples USING btree (engine_id, sampled_at);
CREATE INDEX engine_samples_recorded_xid_idx ON raw.engine_samples USING btree (recorded_xid);
CREATE INDEX engine_samples_sampled_at_idx ON raw.engine_samples USING btree (sampled_at);
CREATE INDEX idempotent_answers_answer_until_idx ON raw.idempotent_answers USING btree (answer_until) WHERE (answer IS NOT NULL);
CREATE INDEX idempotent_answers_expires_at_idx ON raw.idempotent_answers USING btree (expires_at);
CREATE UNIQUE INDEX usage_events_once ON raw.usage_events USING btree (started_at, request_id, attempt);
CREATE INDEX usage_events_recorded_xid_idx ON raw.usage_events USING btree (recorded_xid);
CREATE TRIGGER only_added_to BEFORE DELETE OR UPDATE OR TRUNCATE ON archive.daily_digests FOR EACH STATEMENT EXECUTE FUNCTION archive.refuse_change();
CREATE TRIGGER append_only BEFORE DELETE OR UPDATE ON billing.certificates FOR EACH ROW EXECUTE FUNCTION billing.refuse_line_change();
CREATE TRIGGER frozen BEFORE INSERT OR DELETE OR UPDATE ON billing.invoice_lines FOR EACH ROW EXECUTE FUNCTION billing.refuse_line_change();
CREATE TRIGGER frozen BEFORE DELETE OR UPDATE ON billing.invoices FOR EACH ROW EXECUTE FUNCTION billing.refuse_invoice_change();
CREATE TRIGGER frozen BEFORE INSERT OR DELETE OR UPDATE ON billing.tax_lines FOR EACH ROW EXECUTE FUNCTION billing.refuse_line_change();
CREATE TRIGGER not_truncated BEFORE TRUNCATE ON billing.certificates FOR EACH STATEMENT EXECUTE FUNCTION billing.refuse_line_change();
CREATE TRIGGER not_truncated BEFORE TRUNCATE ON billing.invoice_lines FOR EACH STATEMENT EXECUTE FUNCTION billing.refuse_line_change();
CREATE TRIGGER not_truncated BEFORE TRUNCATE ON billing.invoices FOR EACH STATEMENT EXECUTE FUNCTION billing.refuse_invoice_change();
CREATE TRIGGER not_truncated BEFORE TRUNCATE ON billing.tax_lines FOR EACH STATEMENT EXECUTE FUNCTION billing.refuse_line_change();
CREATE TRIGGER announce_budget_alert AFTER INSERT ON control.budget_alerts FOR EACH ROW EXECUTE FUNCTION control.announce_budget_alert();
CREATE TRIGGER announce_change AFTER INSERT OR DELETE OR UPDATE OR TRUNCATE ON control.discounts FOR EACH STATEMENT EXECUTE FUNCTION control.announce_change();
CREATE TRIGGER announce_change AFTER INSERT OR DELETE OR UPDATE OR TRUNCATE ON control.engines FOR EACH STATEMENT EXECUTE FUNCTION control.announce_change();
CREATE TRIGGER announce_change AFTER INSERT OR DELETE OR UPDATE OR TRUNCATE ON control.model_aliases FOR EACH STATEMENT EXECUTE FUNCTION control.announce_change();
CREATE TRIGGER announce_change AFTER INSERT OR DELETE OR UPDATE OR TRUNCATE ON control.models FOR EACH STATEMENT EXECUTE FUNCTION control.announce_change();
CREATE TRIGGER announce_change AFTER INSERT OR DELETE OR UPDATE OR TRUNCATE ON control.prices FOR EACH STATEMENT EXECUTE FUNCTION control.announce_change();
CREATE TRIGGER announce_change AFTER INSERT OR DELETE OR UPDATE OR TRUNCATE ON control.volume_tiers FOR EACH STATEMENT EXECUTE FUNCTION control.announce_change();
CREATE TRIGGER announce_row AFTER INSERT OR DELETE OR UPDATE OF secret_hash, previous_secret_hash, previous_secret_until, kind, org_id, project_id, user_id, service_account_id, scopes, models, cidrs, expires_at, revoked_at, choices_max, output_tokens_max ON control.api_keys FOR EACH ROW EXECUTE FUNCTION control.announce_row('public_id');
CREATE TRIGGER announce_row AFTER INSERT OR DELETE OR UPDATE ON control.budgets FOR EACH ROW EXECUTE FUNCTION control.announce_row('org_id');
CREATE TRIGGER announce_row AFTER INSERT OR DELETE OR UPDATE ON control.limits FOR EACH ROW EXECUTE FUNCTION control.announce_row('org_id');
CREATE TRIGGER announce_row AFTER INSERT OR DELETE OR UPDATE ON control.org_members FOR EACH ROW EXECUTE FUNCTION control.announce_row('user_id');
CREATE TRIGGER announce_row AFTER INSERT OR DELETE OR UPDATE OF suspended_at, deleted_at, key_models, key_cidrs, answers_kept_s, time_zone, when_redis_is_down, queue_weight ON control.organizations FOR EACH ROW EXECUTE FUNCTION control.announce_row('id');
CREATE TRIGGER announce_row AFTER DELETE OR UPDATE OF archived_at ON control.projects FOR EACH ROW EXECUTE FUNCTION control.announce_row('id');
CREATE TRIGGER announce_row AFTER DELETE OR UPDATE OF deleted_at ON control.service_accounts FOR EACH ROW EXECUTE FUNCTION control.announce_row('id');
CREATE TRIGGER announce_row AFTER DELETE OR UPDATE OF disabled_at, platform_admin ON control.users FOR EACH ROW EXECUTE FUNCTION control.announce_row('id');
CREATE TRIGGER announce_truncate AFTER TRUNCATE ON control.api_keys FOR EACH STATEMENT EXECUTE FUNCTION control.announce_change();
CREATE TRIGGER announce_truncate AFTER TRUNCATE ON control.budgets FOR EACH STATEMENT EXECUTE FUNCTION control.announce_change();
CREATE TRIGGER announce_truncate AFTER TRUNCATE ON control.limits FOR EACH STATEMENT EXECUTE FUNCTION control.announce_change();
CREATE TRIGGER announce_truncate AFTER TRUNCATE ON control.org_members FOR EACH STATEMENT EXECUTE FUNCTION control.announce_change();
CREATE TRIGGER announce_truncate AFTER TRUNCATE ON control.organizations FOR EACH STATEMENT EXECUTE FUNCTION control.announce_change();
CREATE TRIGGER announce_truncate AFTER TRUNCATE ON control.projects FOR EACH STATEMENT EXECUTE FUNCTION control.announce_change();
CREATE TRIGGER announce_truncate AFTER TRUNCATE ON control.service_accounts FOR EACH STATEMENT EXECUTE FUNCTION control.announce_change();
CREATE TRIGGER announce_truncate AFTER TRUNCATE ON control.users FOR EACH STATEMENT EXECUTE FUNCTION control.announce_change();
CREATE TRIGGER hold_budget_anew BEFORE UPDATE OF mode, deleted_at ON control.budgets FOR EACH ROW EXECUTE FUNCTION control.hold_budget_anew();
CREATE CONSTRAINT TRIGGER prices_no_gap AFTER INSERT OR DELETE OR UPDATE ON control.prices DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION control.refuse_price_gap();
CREATE TRIGGER refuse_change BEFORE DELETE OR UPDATE OR TRUNCATE ON findings.adjustments FOR EACH STATEMENT EXECUTE FUNCTION findings.refuse_change();
CREATE TRIGGER refuse_change BEFORE DELETE OR UPDATE OR TRUNCATE ON findings.decided_rows FOR EACH STATEMENT EXECUTE FUNCTION findings.refuse_change();
CREATE TRIGGER refuse_change BEFORE DELETE OR UPDATE OR TRUNCATE ON findings.repricing_runs FOR EACH STATEMENT EXECUTE FUNCTION findings.refuse_change();
CREATE TRIGGER add_to_account AFTER INSERT ON ledger.entries FOR EACH ROW EXECUTE FUNCTION ledger.add_to_account();
CREATE TRIGGER append_only BEFORE DELETE OR TRUNCATE ON ledger.accounts FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change();
CREATE TRIGGER append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON ledger.allocations FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change();
CREATE TRIGGER append_only BEFORE DELETE OR TRUNCATE ON ledger.credits FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change();
CREATE TRIGGER append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON ledger.entries FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change();
CREATE TRIGGER append_only BEFORE DELETE OR UPDATE OR TRUNCATE ON ledger.transactions FOR EACH STATEMENT EXECUTE FUNCTION ledger.refuse_change();
CREATE CONSTRAINT TRIGGER check_transaction AFTER INSERT ON ledger.allocations DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION ledger.check_transaction();
CREATE CONSTRAINT TRIGGER check_transaction AFTER INSERT ON ledger.credits DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION ledger.check_transaction();
CREATE CONSTRAINT TRIGGER check_transaction AFTER INSERT ON ledger.entries DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION ledger.check_transaction();
CREATE CONSTRAINT TRIGGER check_transaction AFTER INSERT ON ledger.transactions DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION ledger.check_transaction();
CREATE TRIGGER held_by_triggers BEFORE UPDATE ON ledger.accounts FOR EACH ROW EXECUTE FUNCTION ledger.refuse_other_change();
CREATE TRIGGER held_by_triggers BEFORE UPDATE ON ledger.credits FOR EACH ROW EXECUTE FUNCTION ledger.refuse_other_change();
CREATE TRIGGER take_from_credit AFTER INSERT ON ledger.allocations FOR EACH ROW EXECUTE FUNCTION ledger.take_from_credit();
CREATE TRIGGER ts_insert_blocker BEFORE INSERT ON raw.engine_samples FOR EACH ROW EXECUTE FUNCTION _timescaledb_functions.insert_blocker();
CREATE TRIGGER ts_insert_blocker BEFORE INSERT ON raw.usage_events FOR EACH ROW EXECUTE FUNCTION _timescaledb_functions.insert_blocker();

ALTER TABLE ONLY archive.budget_days
    ADD CONSTRAINT budget_days_budget_id_fkey FOREIGN KEY (budget_id) REFERENCES control.budgets(id);

ALTER TABLE ONLY billing.certificates
    ADD CONSTRAINT certificates_invoice_id_fkey FOREIGN KEY (invoice_id) REFERENCES billing.invoices(id);

ALTER TABLE ONLY billing.invoice_lines
    ADD CONSTRAINT invoice_lines_invoice_id_fkey FOREIGN KEY (invoice_id) REFERENCES billing.invoices(id);

ALTER TABLE ONLY billing.invoices
    ADD CONSTRAINT invoices_certificate_id_fkey FOREIGN KEY (certificate_id) REFERENCES billing.certificates(id);

ALTER TABLE ONLY billing.invoices
    ADD CONSTRAINT invoices_corrects_invoice_id_fkey FOREIGN KEY (corrects_invoice_id) REFERENCES billing.invoices(id);

ALTER TABLE ONLY billing.invoices
    ADD CONSTRAINT invoices_org_id_fkey FOREIGN KEY (org_id) REFERENCES control.organizations(id);

ALTER TABLE ONLY billing.tax_lines
    ADD CONSTRAINT tax_lines_invoice_id_fkey FOREIGN KEY (invoice_id) REFERENCES billing.invoices(id);

ALTER TABLE ONLY billing.tax_regions
    ADD CONSTRAINT tax_regions_org_id_fkey FOREIGN KEY (org_id) REFERENCES control.organizations(id);

ALTER TABLE ONLY control.alert_recipients
    ADD CONSTRAINT alert_recipients_org_id_fkey FOREIGN KEY (org_id) REFERENCES control.organizations(id);

ALTER TABLE ONLY control.api_keys
    ADD CONSTRAINT api_keys_org_id_fkey FOREIGN KEY (org_id) REFERENCES control.organizations(id);

ALTER TABLE ONLY control.api_keys
    ADD CONSTRAINT api_keys_org_id_project_id_fkey FOREIGN KEY (org_id, project_id) REFERENCES control.projects(org_id, id);

ALTER TABLE ONLY control.api_keys
    ADD CONSTRAINT api_keys_service_account_id_fkey FOREIGN KEY (service_account_id) REFERENCES control.service_accounts(id);

ALTER TABLE ONLY control.api_keys
    ADD CONSTRAINT api_keys_user_id_fkey FOREIGN KEY (user_id) REFERENCES control.users(id);

ALTER TABLE ONLY control.audit_log
    ADD CONSTRAINT audit_log_org_id_fkey FOREIGN KEY (org_id) REFERENCES control.organizations(id);

ALTER TABLE ONLY control.audit_log
    ADD CONSTRAINT audit_log_project_id_fkey FOREIGN KEY (project_id) REFERENCES control.projects(id);

ALTER TABLE ONLY control.budget_alerts
    ADD CONSTRAINT budget_alerts_budget_id_fkey FOREIGN KEY (budget_id) REFERENCES control.budgets(id);

ALTER TABLE ONLY control.budget_alerts
    ADD CONSTRAINT budget_alerts_org_id_fkey FOREIGN KEY (org_id) REFERENCES control.organizations(id);

ALTER TABLE ONLY control.budgets
    ADD CONSTRAINT budgets_api_key_id_fkey FOREIGN KEY (api_key_id) REFERENCES control.api_keys(id);

ALTER TABLE ONLY control.budgets
    ADD CONSTRAINT budgets_model_id_fkey FOREIGN KEY (model_id) REFERENCES control.models(id);

ALTER TABLE ONLY control.budgets
    ADD CONSTRAINT budgets_org_id_fkey FOREIGN KEY (org_id) REFERENCES control.organizations(id);

ALTER TABLE ONLY control.budgets
    ADD CONSTRAINT budgets_org_id_project_id_fkey FOREIGN KEY (org_id, project_id) REFERENCES control.projects(org_id, id);

ALTER TABLE ONLY control.budgets
    ADD CONSTRAINT budgets_service_account_id_fkey FOREIGN KEY (service_account_id) REFERENCES control.service_accounts(id);

ALTER TABLE ONLY control.budgets
    ADD CONSTRAINT budgets_user_id_fkey FOREIGN KEY (user_id) REFERENCES control.users(id);

ALTER TABLE ONLY control.device_logins
    ADD CONSTRAINT device_logins_user_id_fkey FOREIGN KEY (user_id) REFERENCES control.users(id);

ALTER TABLE ONLY control.discounts
    ADD CONSTRAINT discounts_model_id_fkey FOREIGN KEY (model_id) REFERENCES control.models(id);

ALTER TABLE ONLY control.discounts
    ADD CONSTRAINT discounts_org_id_fkey FOREIGN KEY (org_id) REFERENCES control.organizations(id);

ALTER TABLE ONLY control.engines
    ADD CONSTRAINT engines_model_id_fkey FOREIGN KEY (model_id) REFERENCES control.models(id);

ALTER TABLE ONLY control.invites
    ADD CONSTRAINT invites_org_id_fkey FOREIGN KEY (org_id) REFERENCES control.organizations(id);

ALTER TABLE ONLY control.limits
    ADD CONSTRAINT limits_api_key_id_fkey FOREIGN KEY (api_key_id) REFERENCES control.api_keys(id);

ALTER TABLE ONLY control.limits
    ADD CONSTRAINT limits_model_id_fkey FOREIGN KEY (model_id) REFERENCES control.models(id);

ALTER TABLE ONLY control.limits
    ADD CONSTRAINT limits_org_id_fkey FOREIGN KEY (org_id) REFERENCES control.organizations(id);

ALTER TABLE ONLY control.limits
    ADD CONSTRAINT limits_org_id_project_id_fkey FOREIGN KEY (org_id, project_id) REFERENCES control.projects(org_id, id);

ALTER TABLE ONLY control.model_aliases
    ADD CONSTRAINT model_aliases_org_id_fkey FOREIGN KEY (org_id) REFERENCES control.organizations(id);

ALTER TABLE ONLY control.org_members
    ADD CONSTRAINT org_members_org_id_fkey FOREIGN KEY (org_id) REFERENCES control.organizations(id);

ALTER TABLE ONLY control.org_members
    ADD CONSTRAINT org_members_user_id_fkey FOREIGN KEY (user_id) REFERENCES control.users(id);

ALTER TABLE ONLY control.outbox_deliveries
    ADD CONSTRAINT outbox_deliveries_org_id_event_id_fkey FOREIGN KEY (org_id, event_id) REFERENCES control.outbox_events(org_id, id) ON DELETE CASCADE;

ALTER TABLE ONLY control.outbox_deliveries
    ADD CONSTRAINT outbox_deliveries_org_id_webhook_id_fkey FOREIGN KEY (org_id, webhook_id) REFERENCES control.webhooks(org_id, id);

ALTER TABLE ONLY control.outbox_events
    ADD CONSTRAINT outbox_events_org_id_fkey FOREIGN KEY (org_id) REFERENCES control.organizations(id);

ALTER TABLE ONLY control.prices
    ADD CONSTRAINT prices_model_id_fkey FOREIGN KEY (model_id) REFERENCES control.models(id);

ALTER TABLE ONLY control.prices
    ADD CONSTRAINT prices_org_id_fkey FOREIGN KEY (org_id) REFERENCES control.organizations(id);

ALTER TABLE ONLY control.project_members
    ADD CONSTRAINT project_members_org_id_project_id_fkey FOREIGN KEY (org_id, project_id) REFERENCES control.projects(org_id, id);

ALTER TABLE ONLY control.project_members
    ADD CONSTRAINT project_members_org_id_user_id_fkey FOREIGN KEY (org_id, user_id) REFERENCES control.org_members(org_id, user_id) ON DELETE CASCADE;

ALTER TABLE ONLY control.projects
    ADD CONSTRAINT projects_org_id_fkey FOREIGN KEY (org_id) REFERENCES control.organizations(id);

ALTER TABLE ONLY control.service_accounts
    ADD CONSTRAINT service_accounts_org_id_project_id_fkey FOREIGN KEY (org_id, project_id) REFERENCES control.projects(org_id, id);

ALTER TABLE ONLY control.sessions
    ADD CONSTRAINT sessions_user_id_fkey FOREIGN KEY (user_id) REFERENCES control.users(id);

ALTER TABLE ONLY control.shadow_refusals
    ADD CONSTRAINT shadow_refusals_budget_id_fkey FOREIGN KEY (budget_id) REFERENCES control.budgets(id);

ALTER TABLE ONLY control.shadow_refusals
    ADD CONSTRAINT shadow_refusals_limit_id_fkey FOREIGN KEY (limit_id) REFERENCES control.limits(id);

ALTER TABLE ONLY control.shadow_refusals
    ADD CONSTRAINT shadow_refusals_org_id_fkey FOREIGN KEY (org_id) REFERENCES control.organizations(id);

ALTER TABLE ONLY control.sql_logins
    ADD CONSTRAINT sql_logins_org_id_fkey FOREIGN KEY (org_id) REFERENCES control.organizations(id);

ALTER TABLE ONLY control.volume_tiers
    ADD CONSTRAINT volume_tiers_model_id_fkey FOREIGN KEY (model_id) REFERENCES control.models(id);

ALTER TABLE ONLY control.volume_tiers
    ADD CONSTRAINT volume_tiers_org_id_fkey FOREIGN KEY (org_id) REFERENCES control.organizations(id);

ALTER TABLE ONLY control.webhooks
    ADD CONSTRAINT webhooks_org_id_fkey FOREIGN KEY (org_id) REFERENCES control.organizations(id);

ALTER TABLE ONLY findings.adjustments
    ADD CONSTRAINT adjustments_model_id_fkey FOREIGN KEY (model_id) REFERENCES control.models(id);

ALTER TABLE ONLY findings.adjustments
    ADD CONSTRAINT adjustments_org_id_fkey FOREIGN KEY (org_id) REFERENCES control.organizations(id);

ALTER TABLE ONLY findings.adjustments
    ADD CONSTRAINT adjustments_project_id_fkey FOREIGN KEY (project_id) REFERENCES control.projects(id);

ALTER TABLE ONLY findings.adjustments
    ADD CONSTRAINT adjustments_run_id_fkey FOREIGN KEY (run_id) REFERENCES findings.repricing_runs(id);

ALTER TABLE ONLY findings.anomalies
    ADD CONSTRAINT anomalies_api_key_id_fkey FOREIGN KEY (api_key_id) REFERENCES control.api_keys(id);

ALTER TABLE ONLY findings.anomalies
    ADD CONSTRAINT anomalies_org_id_fkey FOREIGN KEY (org_id) REFERENCES control.organizations(id);

ALTER TABLE ONLY findings.anomalies
    ADD CONSTRAINT anomalies_project_id_fkey FOREIGN KEY (project_id) REFERENCES control.projects(id);

ALTER TABLE ONLY findings.decided_rows
    ADD CONSTRAINT decided_rows_org_id_fkey FOREIGN KEY (org_id) REFERENCES control.organizations(id);

ALTER TABLE ONLY findings.decided_rows
    ADD CONSTRAINT decided_rows_run_id_fkey FOREIGN KEY (run_id) REFERENCES findings.repricing_runs(id);

ALTER TABLE ONLY findings.forecast_backtests
    ADD CONSTRAINT forecast_backtests_org_id_fkey FOREIGN KEY (org_id) REFERENCES control.organizations(id);

ALTER TABLE ONLY ledger.accounts
    ADD CONSTRAINT accounts_org_id_fkey FOREIGN KEY (org_id) REFERENCES control.organizations(id);

ALTER TABLE ONLY ledger.allocations
    ADD CONSTRAINT allocations_credit FOREIGN KEY (org_id, credit_id) REFERENCES ledger.credits(org_id, id);

ALTER TABLE ONLY ledger.allocations
    ADD CONSTRAINT allocations_entry FOREIGN KEY (org_id, entry_id) REFERENCES ledger.entries(org_id, id);

ALTER TABLE ONLY ledger.allocations
    ADD CONSTRAINT allocations_org_id_fkey FOREIGN KEY (org_id) REFERENCES control.organizations(id);

ALTER TABLE ONLY ledger.credits
    ADD CONSTRAINT credits_entry FOREIGN KEY (org_id, entry_id) REFERENCES ledger.entries(org_id, id);

ALTER TABLE ONLY ledger.credits
    ADD CONSTRAINT credits_org_id_fkey FOREIGN KEY (org_id) REFERENCES control.organizations(id);

ALTER TABLE ONLY ledger.entries
    ADD CONSTRAINT entries_account FOREIGN KEY (org_id, account_id) REFERENCES ledger.accounts(org_id, id);

ALTER TABLE ONLY ledger.entries
    ADD CONSTRAINT entries_org_id_fkey FOREIGN KEY (org_id) REFERENCES control.organizations(id);

ALTER TABLE ONLY ledger.entries
    ADD CONSTRAINT entries_transaction FOREIGN KEY (org_id, transaction_id) REFERENCES ledger.transactions(org_id, id);

ALTER TABLE ONLY ledger.transactions
    ADD CONSTRAINT transactions_org_id_fkey FOREIGN KEY (org_id) REFERENCES control.organizations(id);

ALTER TABLE ONLY ledger.transactions
    ADD CONSTRAINT transactions_reverses_fkey FOREIGN KEY (reverses) REFERENCES ledger.transactions(id);

ALTER TABLE billing.certificates ENABLE ROW LEVEL SECURITY;
ALTER TABLE billing.invoice_lines ENABLE ROW LEVEL SECURITY;
ALTER TABLE billing.invoices ENABLE ROW LEVEL SECURITY;

CREATE POLICY management_rows ON billing.certificates FOR SELECT TO inferhouse_management USING ((EXISTS ( SELECT
   FROM billing.invoices i
  WHERE (i.id = certificates.invoice_id))));

CREATE POLICY management_rows ON billing.invoice_lines TO inferhouse_management USING ((( SELECT control.sees_platform() AS sees_platform) OR (org_id = ( SELECT control.current_org_id() AS current_org_id)))) WITH CHECK (( SELECT control.sees_platform() AS sees_platform));
CREATE POLICY management_rows ON billing.invoices TO inferhouse_management USING ((( SELECT control.sees_platform() AS sees_platform) OR (org_id = ( SELECT control.current_org_id() AS current_org_id)))) WITH CHECK (( SELECT control.sees_platform() AS sees_platform));
CREATE POLICY management_rows ON billing.tax_lines FOR SELECT TO inferhouse_management USING ((EXISTS ( SELECT
   FROM billing.invoices i
  WHERE (i.id = tax_lines.invoice_id))));

CREATE POLICY management_rows ON billing.tax_regions TO inferhouse_management USING ((( SELECT control.sees_platform() AS sees_platform) OR (org_id = ( SELECT control.current_org_id() AS current_org_id)))) WITH CHECK (( SELECT control.sees_platform() AS sees_platform));
CREATE POLICY services_rows ON billing.certificates FOR SELECT TO inferhouse_transform USING (true);
CREATE POLICY services_rows ON billing.invoice_lines FOR SELECT TO inferhouse_transform USING (true);
CREATE POLICY services_rows ON billing.invoices FOR SELECT TO inferhouse_transform USING (true);
CREATE POLICY services_rows ON billing.tax_lines FOR SELECT TO inferhouse_transform USING (true);
CREATE POLICY services_rows ON billing.tax_regions FOR SELECT TO inferhouse_transform USING (true);

ALTER TABLE billing.tax_lines ENABLE ROW LEVEL SECURITY;
ALTER TABLE billing.tax_regions ENABLE ROW LEVEL SECURITY;
ALTER TABLE control.alert_recipients ENABLE ROW LEVEL SECURITY;

CREATE POLICY aliases_of_everybody ON control.model_aliases FOR SELECT TO inferhouse_management USING (((org_id IS NULL) AND (( SELECT control.current_org_id() AS current_org_id) IS NOT NULL)));

ALTER TABLE control.api_keys ENABLE ROW LEVEL SECURITY;
ALTER TABLE control.audit_log ENABLE ROW LEVEL SECURITY;
ALTER TABLE control.budget_alerts ENABLE ROW LEVEL SECURITY;
ALTER TABLE control.budgets ENABLE ROW LEVEL SECURITY;

CREATE POLICY deliverer_forgets ON control.outbox_events FOR DELETE TO inferhouse_transform USING (true);
CREATE POLICY deliverer_notes ON control.outbox_deliveries FOR UPDATE TO inferhouse_transform USING (true) WITH CHECK (true);

ALTER TABLE control.discounts ENABLE ROW LEVEL SECURITY;
ALTER TABLE control.invites ENABLE ROW LEVEL SECURITY;
ALTER TABLE control.limits ENABLE ROW LEVEL SECURITY;

CREATE POLICY list_prices ON control.discounts FOR SELECT TO inferhouse_management USING ((org_id IS NULL));
CREATE POLICY list_prices ON control.prices FOR SELECT TO inferhouse_management USING ((org_id IS NULL));
CREATE POLICY list_prices ON control.volume_tiers FOR SELECT TO inferhouse_management USING ((org_id IS NULL));
CREATE POLICY management_rows ON control.alert_recipients TO inferhouse_management USING ((( SELECT control.sees_platform() AS sees_platform) OR (org_id = ( SELECT control.current_org_id() AS current_org_id)))) WITH CHECK ((( SELECT control.sees_platform() AS sees_platform) OR (NOT (org_id IS DISTINCT FROM ( SELECT control.current_org_id() AS current_org_id)))));
CREATE POLICY management_rows ON control.api_keys TO inferhouse_management USING ((( SELECT control.sees_platform() AS sees_platform) OR (org_id = ( SELECT control.current_org_id() AS current_org_id)))) WITH CHECK ((( SELECT control.sees_platform() AS sees_platform) OR (NOT (org_id IS DISTINCT FROM ( SELECT control.current_org_id() AS current_org_id)))));
CREATE POLICY management_rows ON control.audit_log TO inferhouse_management USING ((( SELECT control.sees_platform() AS sees_platform) OR (org_id = ( SELECT control.current_org_id() AS current_org_id)))) WITH CHECK ((( SELECT control.sees_platform() AS sees_platform) OR (NOT (org_id IS DISTINCT FROM ( SELECT control.current_org_id() AS current_org_id)))));
CREATE POLICY management_rows ON control.budget_alerts TO inferhouse_management USING ((( SELECT control.sees_platform() AS sees_platform) OR (org_id = ( SELECT control.current_org_id() AS current_org_id)))) WITH CHECK ((( SELECT control.sees_platform() AS sees_platform) OR (NOT (org_id IS DISTINCT FROM ( SELECT control.current_org_id() AS current_org_id)))));
CREATE POLICY management_rows ON control.budgets TO inferhouse_management USING ((( SELECT control.sees_platform() AS sees_platform) OR (org_id = ( SELECT control.current_org_id() AS current_org_id)))) WITH CHECK ((( SELECT control.sees_platform() AS sees_platform) OR (NOT (org_id IS DISTINCT FROM ( SELECT control.current_org_id() AS current_org_id)))));
CREATE POLICY management_rows ON control.discounts TO inferhouse_management USING ((( SELECT control.sees_platform() AS sees_platform) OR (org_id = ( SELECT control.current_org_id() AS current_org_id)))) WITH CHECK (( SELECT control.sees_platform() AS sees_platform));
CREATE POLICY management_rows ON control.invites TO inferhouse_management USING ((( SELECT control.sees_platform() AS sees_platform) OR (org_id = ( SELECT control.current_org_id() AS current_org_id)))) WITH CHECK ((( SELECT control.sees_platform() AS sees_platform) OR (NOT (org_id IS DISTINCT FROM ( SELECT control.current_org_id() AS current_org_id)))));
CREATE POLICY management_rows ON control.limits TO inferhouse_management USING ((( SELECT control.sees_platform() AS sees_platform) OR (org_id = ( SELECT control.current_org_id() AS current_org_id)))) WITH CHECK ((( SELECT control.sees_platform() AS sees_platform) OR (NOT (org_id IS DISTINCT FROM ( SELECT control.current_org_id() AS current_org_id)))));
CREATE POLICY management_rows ON control.model_aliases TO inferhouse_management USING ((( SELECT control.sees_platform() AS sees_platform) OR (org_id = ( SELECT control.current_org_id() AS current_org_id)))) WITH CHECK ((( SELECT control.sees_platform() AS sees_platform) OR (NOT (org_id IS DISTINCT FROM ( SELECT control.current_org_id() AS current_org_id)))));
CREATE POLICY management_rows ON control.org_members TO inferhouse_management USING ((( SELECT control.sees_platform() AS sees_platform) OR (org_id = ( SELECT control.current_org_id() AS current_org_id)))) WITH CHECK ((( SELECT control.sees_platform() AS sees_platform) OR (NOT (org_id IS DISTINCT FROM ( SELECT control.current_org_id() AS current_org_id)))));
CREATE POLICY management_rows ON control.organizations TO inferhouse_management USING ((( SELECT control.sees_platform() AS sees_platform) OR (id = ( SELECT control.current_org_id() AS current_org_id)))) WITH CHECK ((( SELECT control.sees_platform() AS sees_platform) OR (id = ( SELECT control.current_org_id() AS current_org_id))));
CREATE POLICY management_rows ON control.outbox_deliveries TO inferhouse_management USING ((( SELECT control.sees_platform() AS sees_platform) OR (org_id = ( SELECT control.current_org_id() AS current_org_id)))) WITH CHECK ((( SELECT control.sees_platform() AS sees_platform) OR (NOT (org_id IS DISTINCT FROM ( SELECT control.current_org_id() AS current_org_id)))));
CREATE POLICY management_rows ON control.outbox_events TO inferhouse_management USING ((( SELECT control.sees_platform() AS sees_platform) OR (org_id = ( SELECT control.current_org_id() AS current_org_id)))) WITH CHECK ((( SELECT control.sees_platform() AS sees_platform) OR (NOT (org_id IS DISTINCT FROM ( SELECT control.current_org_id() AS current_org_id)))));
CREATE POLICY management_rows ON control.prices TO inferhouse_management USING ((( SELECT control.sees_platform() AS sees_platform) OR (org_id = ( SELECT control.current_org_id() AS current_org_id)))) WITH CHECK (( SELECT control.sees_platform() AS sees_platform));
CREATE POLICY management_rows ON control.project_members TO inferhouse_management USING ((( SELECT control.sees_platform() AS sees_platform) OR (org_id = ( SELECT control.current_org_id() AS current_org_id)))) WITH CHECK ((( SELECT control.sees_platform() AS sees_platform) OR (NOT (org_id IS DISTINCT FROM ( SELECT control.current_org_id() AS current_org_id)))));
CREATE POLICY management_rows ON control.projects TO inferhouse_management USING ((( SELECT control.sees_platform() AS sees_platform) OR (org_id = ( SELECT control.current_org_id() AS current_org_id)))) WITH CHECK ((( SELECT control.sees_platform() AS sees_platform) OR (NOT (org_id IS DISTINCT FROM ( SELECT control.current_org_id() AS current_org_id)))));
CREATE POLICY management_rows ON control.service_accounts TO inferhouse_management USING ((( SELECT control.sees_platform() AS sees_platform) OR (org_id = ( SELECT control.current_org_id() AS current_org_id)))) WITH CHECK ((( SELECT control.sees_platform() AS sees_platform) OR (NOT (org_id IS DISTINCT FROM ( SELECT control.current_org_id() AS current_org_id)))));
CREATE POLICY management_rows ON control.shadow_refusals TO inferhouse_management USING ((( SELECT control.sees_platform() AS sees_platform) OR (org_id = ( SELECT control.current_org_id() AS current_org_id)))) WITH CHECK ((( SELECT control.sees_platform() AS sees_platform) OR (NOT (org_id IS DISTINCT FROM ( SELECT control.current_org_id() AS current_org_id)))));
CREATE POLICY management_rows ON control.sql_logins TO inferhouse_management USING ((( SELECT control.sees_platform() AS sees_platform) OR (org_id = ( SELECT control.current_org_id() AS current_org_id)))) WITH CHECK ((( SELECT control.sees_platform() AS sees_platform) OR (NOT (org_id IS DISTINCT FROM ( SELECT control.current_org_id() AS current_org_id)))));
CREATE POLICY management_rows ON control.volume_tiers TO inferhouse_management USING ((( SELECT control.sees_platform() AS sees_platform) OR (org_id = ( SELECT control.current_org_id() AS current_org_id)))) WITH CHECK (( SELECT control.sees_platform() AS sees_platform));
CREATE POLICY management_rows ON control.webhooks TO inferhouse_management USING ((( SELECT control.sees_platform() AS sees_platform) OR (org_id = ( SELECT control.current_org_id() AS current_org_id)))) WITH CHECK ((( SELECT control.sees_platform() AS sees_platform) OR (NOT (org_id IS DISTINCT FROM ( SELECT control.current_org_id() AS current_org_id)))));

ALTER TABLE control.model_aliases ENABLE ROW LEVEL SECURITY;
ALTER TABLE control.org_members ENABLE ROW LEVEL SECURITY;
ALTER TABLE control.organizations ENABLE ROW LEVEL SECURITY;
ALTER TABLE control.outbox_deliveries ENABLE ROW LEVEL SECURITY;
ALTER TABLE control.outbox_events ENABLE ROW LEVEL SECURITY;
ALTER TABLE control.prices ENABLE ROW LEVEL SECURITY;
ALTER TABLE control.project_members ENABLE ROW LEVEL SECURITY;
ALTER TABLE control.projects ENABLE ROW LEVEL SECURITY;

CREATE POLICY router_adds ON control.budget_alerts FOR INSERT TO inferhouse_router WITH CHECK (true);
CREATE POLICY router_counts ON control.shadow_refusals TO inferhouse_router USING (true) WITH CHECK (true);
CREATE POLICY router_uses ON control.api_keys FOR UPDATE TO inferhouse_router USING (true) WITH CHECK (true);

ALTER TABLE control.service_accounts ENABLE ROW LEVEL SECURITY;

CREATE POLICY services_rows ON control.alert_recipients FOR SELECT TO inferhouse_transform USING (true);
CREATE POLICY services_rows ON control.api_keys FOR SELECT TO inferhouse_router, inferhouse_transform USING (true);
CREATE POLICY services_rows ON control.audit_log FOR SELECT TO inferhouse_router, inferhouse_transform USING (true);
CREATE POLICY services_rows ON control.budget_alerts FOR SELECT TO inferhouse_router, inferhouse_transform USING (true);
CREATE POLICY services_rows ON control.budgets FOR SELECT TO inferhouse_router, inferhouse_transform USING (true);
CREATE POLICY services_rows ON control.discounts FOR SELECT TO inferhouse_router, inferhouse_transform USING (true);
CREATE POLICY services_rows ON control.invites FOR SELECT TO inferhouse_router, inferhouse_transform USING (true);
CREATE POLICY services_rows ON control.limits FOR SELECT TO inferhouse_router, inferhouse_transform USING (true);
CREATE POLICY services_rows ON control.model_aliases FOR SELECT TO inferhouse_router, inferhouse_transform USING (true);
CREATE POLICY services_rows ON control.org_members FOR SELECT TO inferhouse_router, inferhouse_transform USING (true);
CREATE POLICY services_rows ON control.organizations FOR SELECT TO inferhouse_router, inferhouse_transform USING (true);
CREATE POLICY services_rows ON control.outbox_deliveries FOR SELECT TO inferhouse_transform USING (true);
CREATE POLICY services_rows ON control.outbox_events FOR SELECT TO inferhouse_transform USING (true);
CREATE POLICY services_rows ON control.prices FOR SELECT TO inferhouse_router, inferhouse_transform USING (true);
CREATE POLICY services_rows ON control.project_members FOR SELECT TO inferhouse_router, inferhouse_transform USING (true);
CREATE POLICY services_rows ON control.projects FOR SELECT TO inferhouse_router, inferhouse_transform USING (true);
CREATE POLICY services_rows ON control.service_accounts FOR SELECT TO inferhouse_router, inferhouse_transform USING (true);
CREATE POLICY services_rows ON control.shadow_refusals FOR SELECT TO inferhouse_router, inferhouse_transform USING (true);
CREATE POLICY services_rows ON control.sql_logins FOR SELECT TO inferhouse_router, inferhouse_transform USING (true);
CREATE POLICY services_rows ON control.volume_tiers FOR SELECT TO inferhouse_router, inferhouse_transform USING (true);
CREATE POLICY services_rows ON control.webhooks FOR SELECT TO inferhouse_transform USING (true);

ALTER TABLE control.shadow_refusals ENABLE ROW LEVEL SECURITY;
ALTER TABLE control.sql_logins ENABLE ROW LEVEL SECURITY;
ALTER TABLE control.volume_tiers ENABLE ROW LEVEL SECURITY;
ALTER TABLE control.webhooks ENABLE ROW LEVEL SECURITY;
ALTER TABLE ledger.accounts ENABLE ROW LEVEL SECURITY;
ALTER TABLE ledger.allocations ENABLE ROW LEVEL SECURITY;
ALTER TABLE ledger.credits ENABLE ROW LEVEL SECURITY;
ALTER TABLE ledger.entries ENABLE ROW LEVEL SECURITY;

CREATE POLICY management_rows ON ledger.accounts FOR SELECT TO inferhouse_management USING ((( SELECT control.sees_platform() AS sees_platform) OR (org_id = ( SELECT control.current_org_id() AS current_org_id))));
CREATE POLICY management_rows ON ledger.allocations FOR SELECT TO inferhouse_management USING ((( SELECT control.sees_platform() AS sees_platform) OR (org_id = ( SELECT control.current_org_id() AS current_org_id))));
CREATE POLICY management_rows ON ledger.credits FOR SELECT TO inferhouse_management USING ((( SELECT control.sees_platform() AS sees_platform) OR (org_id = ( SELECT control.current_org_id() AS current_org_id))));
CREATE POLICY management_rows ON ledger.entries FOR SELECT TO inferhouse_management USING ((( SELECT control.sees_platform() AS sees_platform) OR (org_id = ( SELECT control.current_org_id() AS current_org_id))));
CREATE POLICY management_rows ON ledger.transactions FOR SELECT TO inferhouse_management USING ((( SELECT control.sees_platform() AS sees_platform) OR (org_id = ( SELECT control.current_org_id() AS current_org_id))));
CREATE POLICY services_rows ON ledger.accounts FOR SELECT TO inferhouse_transform USING (true);
CREATE POLICY services_rows ON ledger.allocations FOR SELECT TO inferhouse_transform USING (true);
CREATE POLICY services_rows ON ledger.credits FOR SELECT TO inferhouse_transform USING (true);
CREATE POLICY services_rows ON ledger.entries FOR SELECT TO inferhouse_transform USING (true);
CREATE POLICY services_rows ON ledger.transactions FOR SELECT TO inferhouse_transform USING (true);

ALTER TABLE ledger.transactions ENABLE ROW LEVEL SECURITY;

CREATE POLICY platform_rows ON marts.spend_forecast FOR SELECT TO inferhouse_platform USING (true);

ALTER TABLE marts.spend_forecast ENABLE ROW LEVEL SECURITY;

CREATE POLICY tenant_rows ON marts.spend_forecast FOR SELECT TO inferhouse_portal, inferhouse_tenant USING ((org_id = ( SELECT control.current_org_id() AS current_org_id)));

GRANT USAGE ON SCHEMA archive TO inferhouse_transform;
GRANT USAGE ON SCHEMA archive TO inferhouse_management;
GRANT USAGE ON SCHEMA archive TO inferhouse_router;
GRANT USAGE ON SCHEMA billing TO inferhouse_management;
GRANT USAGE ON SCHEMA billing TO inferhouse_transform;
GRANT USAGE ON SCHEMA billing TO inferhouse_lines;
GRANT USAGE ON SCHEMA control TO inferhouse_router;
GRANT USAGE ON SCHEMA control TO inferhouse_management;
GRANT USAGE ON SCHEMA control TO inferhouse_transform;
GRANT USAGE ON SCHEMA control TO inferhouse_portal;
GRANT USAGE ON SCHEMA control TO inferhouse_platform;
GRANT USAGE ON SCHEMA control TO inferhouse_tenant;
GRANT USAGE ON SCHEMA findings TO inferhouse_transform;
GRANT USAGE ON SCHEMA findings TO inferhouse_lines;
GRANT USAGE ON SCHEMA ledger TO inferhouse_management;
GRANT USAGE ON SCHEMA ledger TO inferhouse_transform;
GRANT USAGE ON SCHEMA marts TO inferhouse_portal;
GRANT USAGE ON SCHEMA marts TO inferhouse_platform;
GRANT USAGE ON SCHEMA marts TO inferhouse_tenant;
GRANT USAGE ON SCHEMA marts TO inferhouse_management;
GRANT USAGE ON SCHEMA raw TO inferhouse_router;
GRANT USAGE ON SCHEMA raw TO inferhouse_management;
GRANT USAGE ON SCHEMA raw TO inferhouse_transform;
GRANT USAGE ON SCHEMA raw TO inferhouse_lines;

REVOKE ALL ON FUNCTION archive.add_daily_digest(for_day date, its_rows bigint, its_digest bytea, horizon xid8) FROM PUBLIC;

GRANT ALL ON FUNCTION archive.add_daily_digest(for_day date, its_rows bigint, its_digest bytea, horizon xid8) TO inferhouse_transform;

REVOKE ALL ON FUNCTION archive.count_and_digest(for_day date, OUT usage_rows bigint, OUT row_set_digest bytea) FROM PUBLIC;

GRANT ALL ON FUNCTION archive.count_and_digest(for_day date, OUT usage_rows bigint, OUT row_set_digest bytea) TO inferhouse_transform;

REVOKE ALL ON FUNCTION archive.drop_day(for_day date, for_version integer) FROM PUBLIC;

GRANT ALL ON FUNCTION archive.drop_day(for_day date, for_version integer) TO inferhouse_transform;

REVOKE ALL ON FUNCTION archive.keep_for_budgets(for_day date) FROM PUBLIC;
REVOKE ALL ON FUNCTION archive.require_all_days() FROM PUBLIC;

GRANT ALL ON FUNCTION archive.require_all_days() TO inferhouse_transform;

REVOKE ALL ON FUNCTION archive.require_service_marts(for_day date) FROM PUBLIC;
REVOKE ALL ON FUNCTION archive.restore_day(for_day date) FROM PUBLIC;

GRANT ALL ON FUNCTION archive.restore_day(for_day date) TO inferhouse_transform;

REVOKE ALL ON FUNCTION billing.add_adjustments(to_invoices bigint[]) FROM PUBLIC;
REVOKE ALL ON FUNCTION billing.add_month(to_invoices bigint[]) FROM PUBLIC;
REVOKE ALL ON FUNCTION billing.add_repricings(to_invoices bigint[]) FROM PUBLIC;

GRANT SELECT ON TABLE billing.invoices TO inferhouse_management;
GRANT SELECT ON TABLE billing.invoices TO inferhouse_transform;

REVOKE ALL ON FUNCTION billing.apply_credits(own billing.invoices, at_time timestamp with time zone) FROM PUBLIC;
REVOKE ALL ON FUNCTION billing.certify(of_invoice text, digest_checked bytea, has_passed boolean, found jsonb, by_whom text) FROM PUBLIC;

GRANT ALL ON FUNCTION billing.certify(of_invoice text, digest_checked bytea, has_passed boolean, found jsonb, by_whom text) TO inferhouse_transform;

REVOKE ALL ON FUNCTION billing.check_line(of_line text) FROM PUBLIC;

GRANT ALL ON FUNCTION billing.check_line(of_line text) TO inferhouse_management;

REVOKE ALL ON FUNCTION billing.credit_invoice(of_invoice text, off numeric, why text, by_whom text) FROM PUBLIC;

GRANT ALL ON FUNCTION billing.credit_invoice(of_invoice text, off numeric, why text, by_whom text) TO inferhouse_management;

REVOKE ALL ON FUNCTION billing.digest_of(of_invoice bigint) FROM PUBLIC;

GRANT ALL ON FUNCTION billing.digest_of(of_invoice bigint) TO inferhouse_transform;

REVOKE ALL ON FUNCTION billing.digest_rows(of_invoices bigint[]) FROM PUBLIC;
REVOKE ALL ON FUNCTION billing.draft_invoices(month date, by_whom text, only_org_id bigint) FROM PUBLIC;

GRANT ALL ON FUNCTION billing.draft_invoices(month date, by_whom text, only_org_id bigint) TO inferhouse_management;
GRANT ALL ON FUNCTION billing.draft_invoices(month date, by_whom text, only_org_id bigint) TO inferhouse_transform;

REVOKE ALL ON FUNCTION billing.finalize_invoice(of_invoice text, by_whom text) FROM PUBLIC;

GRANT ALL ON FUNCTION billing.finalize_invoice(of_invoice text, by_whom text) TO inferhouse_management;
GRANT ALL ON FUNCTION billing.finalize_invoice(of_invoice text, by_whom text) TO inferhouse_transform;

REVOKE ALL ON FUNCTION billing.finish_correction(made_id bigint, by_whom text) FROM PUBLIC;
REVOKE ALL ON FUNCTION billing.frozen_query(of_invoice bigint, kind text, query text, after_xid xid8, to_xid xid8) FROM PUBLIC;
REVOKE ALL ON FUNCTION billing.lines_up_to(of_invoice bigint) FROM PUBLIC;

GRANT ALL ON FUNCTION billing.lines_up_to(of_invoice bigint) TO inferhouse_lines;
GRANT ALL ON FUNCTION billing.lines_up_to(of_invoice bigint) TO inferhouse_transform;

REVOKE ALL ON FUNCTION billing.lock_invoice(of_invoice text) FROM PUBLIC;
REVOKE ALL ON FUNCTION billing.months_frozen(for_org_id bigint) FROM PUBLIC;
REVOKE ALL ON FUNCTION billing.next_number(of_kind text, at_time timestamp with time zone) FROM PUBLIC;
REVOKE ALL ON FUNCTION billing.obstacle(own billing.invoices) FROM PUBLIC;
REVOKE ALL ON FUNCTION billing.put_invoice_event(of_invoice bigint, event_type text, more jsonb) FROM PUBLIC;

GRANT ALL ON FUNCTION billing.put_invoice_event(of_invoice bigint, event_type text, more jsonb) TO inferhouse_transform;

REVOKE ALL ON FUNCTION billing.rows_of_line(of_line text, after_at timestamp with time zone, after_request uuid, after_attempt integer, rows_max integer) FROM PUBLIC;

GRANT ALL ON FUNCTION billing.rows_of_line(of_line text, after_at timestamp with time zone, after_request uuid, after_attempt integer, rows_max integer) TO inferhouse_management;

REVOKE ALL ON FUNCTION billing.run_line_query(query text) FROM PUBLIC;
REVOKE ALL ON FUNCTION billing.total_up(of_invoices bigint[]) FROM PUBLIC;
REVOKE ALL ON FUNCTION billing.void_invoice(of_invoice text, why text, by_whom text) FROM PUBLIC;

GRANT ALL ON FUNCTION billing.void_invoice(of_invoice text, why text, by_whom text) TO inferhouse_management;

REVOKE ALL ON FUNCTION control.add_sql_access(login name, for_org_id bigint, label text, verifier text, made_by text) FROM PUBLIC;

GRANT ALL ON FUNCTION control.add_sql_access(login name, for_org_id bigint, label text, verifier text, made_by text) TO inferhouse_management;

REVOKE ALL ON FUNCTION control.announce_budget_alert() FROM PUBLIC;
REVOKE ALL ON FUNCTION control.check_reach(for_org_id bigint, platform_only boolean) FROM PUBLIC;
REVOKE ALL ON FUNCTION control.check_sql_access(login name, for_org_id bigint) FROM PUBLIC;
REVOKE ALL ON FUNCTION control.create_sql_login(login name, for_org_id bigint, login_password text) FROM PUBLIC;
REVOKE ALL ON FUNCTION control.current_org_id() FROM PUBLIC;

GRANT ALL ON FUNCTION control.current_org_id() TO inferhouse_portal;
GRANT ALL ON FUNCTION control.current_org_id() TO inferhouse_platform;
GRANT ALL ON FUNCTION control.current_org_id() TO inferhouse_tenant;
GRANT ALL ON FUNCTION control.current_org_id() TO inferhouse_transform;
GRANT ALL ON FUNCTION control.current_org_id() TO inferhouse_management;

REVOKE ALL ON FUNCTION control.drop_sql_access(login name, for_org_id bigint) FROM PUBLIC;

GRANT ALL ON FUNCTION control.drop_sql_access(login name, for_org_id bigint) TO inferhouse_management;

REVOKE ALL ON FUNCTION control.first_instant(day timestamp without time zone, zone text) FROM PUBLIC;

GRANT ALL ON FUNCTION control.first_instant(day timestamp without time zone, zone text) TO inferhouse_router;

REVOKE ALL ON FUNCTION control.health() FROM PUBLIC;

GRANT ALL ON FUNCTION control.health() TO inferhouse_management;

REVOKE ALL ON FUNCTION control.note_budget_alerts() FROM PUBLIC;

GRANT ALL ON FUNCTION control.note_budget_alerts() TO inferhouse_transform;

REVOKE ALL ON FUNCTION control.note_budget_alerts_as_of(as_of timestamp with time zone) FROM PUBLIC;

GRANT SELECT ON TABLE control.prices TO inferhouse_router;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE control.prices TO inferhouse_management;
GRANT SELECT ON TABLE control.prices TO inferhouse_transform;

REVOKE ALL ON FUNCTION control.preview_price(version control.prices, since timestamp with time zone) FROM PUBLIC;

GRANT ALL ON FUNCTION control.preview_price(version control.prices, since timestamp with time zone) TO inferhouse_management;

REVOKE ALL ON FUNCTION control.put_event(for_org_id bigint, type_of text, about jsonb, once text, only_webhook_id bigint) FROM PUBLIC;

GRANT ALL ON FUNCTION control.put_event(for_org_id bigint, type_of text, about jsonb, once text, only_webhook_id bigint) TO inferhouse_management;
GRANT ALL ON FUNCTION control.put_event(for_org_id bigint, type_of text, about jsonb, once text, only_webhook_id bigint) TO inferhouse_transform;

REVOKE ALL ON FUNCTION control.rotate_sql_access(login name, for_org_id bigint, verifier text) FROM PUBLIC;

GRANT ALL ON FUNCTION control.rotate_sql_access(login name, for_org_id bigint, verifier text) TO inferhouse_management;

REVOKE ALL ON FUNCTION ledger.account(for_org_id bigint, kind_of text) FROM PUBLIC;
REVOKE ALL ON FUNCTION ledger.add_to_account() FROM PUBLIC;
REVOKE ALL ON FUNCTION ledger.check_transaction() FROM PUBLIC;
REVOKE ALL ON FUNCTION ledger.draw(for_org_id bigint, up_to_picousd numeric, reference text, at timestamp with time zone, why text, author_of text) FROM PUBLIC;

GRANT ALL ON FUNCTION ledger.draw(for_org_id bigint, up_to_picousd numeric, reference text, at timestamp with time zone, why text, author_of text) TO inferhouse_management;
GRANT ALL ON FUNCTION ledger.draw(for_org_id bigint, up_to_picousd numeric, reference text, at timestamp with time zone, why text, author_of text) TO inferhouse_transform;

REVOKE ALL ON FUNCTION ledger.expire_credits(as_of timestamp with time zone, credits_max integer) FROM PUBLIC;

GRANT ALL ON FUNCTION ledger.expire_credits(as_of timestamp with time zone, credits_max integer) TO inferhouse_transform;

REVOKE ALL ON FUNCTION ledger.give_back(reference text, why text, author_of text) FROM PUBLIC;

GRANT ALL ON FUNCTION ledger.give_back(reference text, why text, author_of text) TO inferhouse_management;
GRANT ALL ON FUNCTION ledger.give_back(reference text, why text, author_of text) TO inferhouse_transform;

REVOKE ALL ON FUNCTION ledger.grant_credit(for_org_id bigint, amount numeric, kind_of text, expires timestamp with time zone, why text, author_of text, of_reference text, at timestamp with time zone) FROM PUBLIC;

GRANT ALL ON FUNCTION ledger.grant_credit(for_org_id bigint, amount numeric, kind_of text, expires timestamp with time zone, why text, author_of text, of_reference text, at timestamp with time zone) TO inferhouse_management;

REVOKE ALL ON FUNCTION ledger.known(for_org_id bigint, kind_of text, of_reference text) FROM PUBLIC;
REVOKE ALL ON FUNCTION ledger.lock_wallet(for_org_id bigint) FROM PUBLIC;
REVOKE ALL ON FUNCTION ledger.move_out(for_org_id bigint, kind_of text, into_account text, of_reference text, why text, author_of text, at timestamp with time zone, credit_ids bigint[], amounts numeric[]) FROM PUBLIC;
REVOKE ALL ON FUNCTION ledger.refuse_change() FROM PUBLIC;
REVOKE ALL ON FUNCTION ledger.refuse_other_change() FROM PUBLIC;
REVOKE ALL ON FUNCTION ledger.take_from_credit() FROM PUBLIC;
REVOKE ALL ON FUNCTION ledger.void_credit(for_org_id bigint, credit text, why text, author_of text, at timestamp with time zone) FROM PUBLIC;

GRANT ALL ON FUNCTION ledger.void_credit(for_org_id bigint, credit text, why text, author_of text, at timestamp with time zone) TO inferhouse_management;

REVOKE ALL ON FUNCTION marts.add_buckets(histogram bigint[], buckets smallint[], bucket_requests bigint[]) FROM PUBLIC;

GRANT ALL ON FUNCTION marts.add_buckets(histogram bigint[], buckets smallint[], bucket_requests bigint[]) TO inferhouse_management;
GRANT ALL ON FUNCTION marts.add_buckets(histogram bigint[], buckets smallint[], bucket_requests bigint[]) TO inferhouse_transform;
GRANT ALL ON FUNCTION marts.add_buckets(histogram bigint[], buckets smallint[], bucket_requests bigint[]) TO inferhouse_portal;
GRANT ALL ON FUNCTION marts.add_buckets(histogram bigint[], buckets smallint[], bucket_requests bigint[]) TO inferhouse_platform;
GRANT ALL ON FUNCTION marts.add_buckets(histogram bigint[], buckets smallint[], bucket_requests bigint[]) TO inferhouse_tenant;

REVOKE ALL ON FUNCTION marts.add_histograms(one bigint[], other bigint[]) FROM PUBLIC;

GRANT ALL ON FUNCTION marts.add_histograms(one bigint[], other bigint[]) TO inferhouse_management;
GRANT ALL ON FUNCTION marts.add_histograms(one bigint[], other bigint[]) TO inferhouse_transform;
GRANT ALL ON FUNCTION marts.add_histograms(one bigint[], other bigint[]) TO inferhouse_portal;
GRANT ALL ON FUNCTION marts.add_histograms(one bigint[], other bigint[]) TO inferhouse_platform;
GRANT ALL ON FUNCTION marts.add_histograms(one bigint[], other bigint[]) TO inferhouse_tenant;

REVOKE ALL ON FUNCTION marts.latency_us_at(histogram bigint[], share double precision) FROM PUBLIC;

GRANT ALL ON FUNCTION marts.latency_us_at(histogram bigint[], share double precision) TO inferhouse_management;
GRANT ALL ON FUNCTION marts.latency_us_at(histogram bigint[], share double precision) TO inferhouse_transform;
GRANT ALL ON FUNCTION marts.latency_us_at(histogram bigint[], share double precision) TO inferhouse_portal;
GRANT ALL ON FUNCTION marts.latency_us_at(histogram bigint[], share double precision) TO inferhouse_platform;
GRANT ALL ON FUNCTION marts.latency_us_at(histogram bigint[], share double precision) TO inferhouse_tenant;

REVOKE ALL ON FUNCTION raw.drop_engine_samples(kept_days integer) FROM PUBLIC;

GRANT ALL ON FUNCTION raw.drop_engine_samples(kept_days integer) TO inferhouse_transform;
GRANT SELECT,INSERT ON TABLE raw.usage_events TO inferhouse_router;
GRANT SELECT ON TABLE raw.usage_events TO inferhouse_transform;
GRANT SELECT ON TABLE raw.usage_events TO inferhouse_lines;

REVOKE ALL ON FUNCTION raw.touched_from() FROM PUBLIC;

GRANT ALL ON FUNCTION raw.touched_from() TO inferhouse_transform;

REVOKE ALL ON FUNCTION marts.merge_buckets(smallint[], bigint[]) FROM PUBLIC;

GRANT ALL ON FUNCTION marts.merge_buckets(smallint[], bigint[]) TO inferhouse_management;
GRANT ALL ON FUNCTION marts.merge_buckets(smallint[], bigint[]) TO inferhouse_transform;
GRANT ALL ON FUNCTION marts.merge_buckets(smallint[], bigint[]) TO inferhouse_portal;
GRANT ALL ON FUNCTION marts.merge_buckets(smallint[], bigint[]) TO inferhouse_platform;
GRANT ALL ON FUNCTION marts.merge_buckets(smallint[], bigint[]) TO inferhouse_tenant;
GRANT SELECT ON TABLE archive.files TO inferhouse_transform;
GRANT SELECT ON TABLE archive.files TO inferhouse_management;
GRANT INSERT(day) ON TABLE archive.files TO inferhouse_transform;
GRANT INSERT(version) ON TABLE archive.files TO inferhouse_transform;
GRANT INSERT(path) ON TABLE archive.files TO inferhouse_transform;
GRANT INSERT(usage_rows) ON TABLE archive.files TO inferhouse_transform;
GRANT INSERT(bytes) ON TABLE archive.files TO inferhouse_transform;
GRANT INSERT(sha256) ON TABLE archive.files TO inferhouse_transform;
GRANT INSERT(row_set_digest) ON TABLE archive.files TO inferhouse_transform;
GRANT UPDATE(verified_at) ON TABLE archive.files TO inferhouse_transform;
GRANT UPDATE(superseded_at) ON TABLE archive.files TO inferhouse_transform;
GRANT SELECT ON TABLE archive.absent_days TO inferhouse_transform;
GRANT SELECT ON TABLE archive.absent_days TO inferhouse_management;
GRANT SELECT ON TABLE archive.budget_days TO inferhouse_transform;
GRANT SELECT ON TABLE archive.budget_days TO inferhouse_router;
GRANT SELECT ON TABLE archive.daily_digests TO inferhouse_transform;
GRANT SELECT ON TABLE archive.daily_digests TO inferhouse_management;
GRANT SELECT,INSERT,DELETE ON TABLE archive.incoming_rows TO inferhouse_transform;
GRANT SELECT ON TABLE billing.invoice_lines TO inferhouse_management;
GRANT SELECT ON TABLE billing.invoice_lines TO inferhouse_transform;
GRANT SELECT ON TABLE billing.certificates TO inferhouse_management;
GRANT SELECT ON TABLE billing.certificates TO inferhouse_transform;
GRANT SELECT ON TABLE billing.tax_lines TO inferhouse_management;
GRANT SELECT ON TABLE billing.tax_lines TO inferhouse_transform;
GRANT SELECT,INSERT ON TABLE billing.tax_rates TO inferhouse_management;
GRANT SELECT ON TABLE billing.tax_rates TO inferhouse_transform;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE billing.tax_regions TO inferhouse_management;
GRANT SELECT ON TABLE billing.tax_regions TO inferhouse_transform;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE control.alert_recipients TO inferhouse_management;
GRANT SELECT ON TABLE control.api_keys TO inferhouse_router;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE control.api_keys TO inferhouse_management;
GRANT SELECT(id) ON TABLE control.api_keys TO inferhouse_transform;
GRANT SELECT(public_id) ON TABLE control.api_keys TO inferhouse_transform;
GRANT SELECT(kind) ON TABLE control.api_keys TO inferhouse_transform;
GRANT SELECT(name) ON TABLE control.api_keys TO inferhouse_transform;
GRANT SELECT(org_id) ON TABLE control.api_keys TO inferhouse_transform;
GRANT SELECT(project_id) ON TABLE control.api_keys TO inferhouse_transform;
GRANT SELECT(user_id) ON TABLE control.api_keys TO inferhouse_transform;
GRANT SELECT(service_account_id) ON TABLE control.api_keys TO inferhouse_transform;
GRANT SELECT(revoked_at) ON TABLE control.api_keys TO inferhouse_transform;
GRANT SELECT(created_at) ON TABLE control.api_keys TO inferhouse_transform;
GRANT UPDATE(last_used_at) ON TABLE control.api_keys TO inferhouse_router;
GRANT USAGE ON SEQUENCE control.api_keys_id_seq TO inferhouse_management;
GRANT SELECT,UPDATE ON TABLE control.audit_head TO inferhouse_management;
GRANT SELECT,INSERT ON TABLE control.audit_log TO inferhouse_management;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE control.budget_alerts TO inferhouse_management;
GRANT SELECT,INSERT ON TABLE control.budget_alerts TO inferhouse_router;
GRANT USAGE ON SEQUENCE control.budget_alerts_id_seq TO inferhouse_management;
GRANT SELECT ON TABLE control.budgets TO inferhouse_router;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE control.budgets TO inferhouse_management;
GRANT SELECT ON TABLE control.budgets TO inferhouse_transform;
GRANT USAGE ON SEQUENCE control.budgets_id_seq TO inferhouse_management;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE control.device_logins TO inferhouse_management;
GRANT USAGE ON SEQUENCE control.device_logins_id_seq TO inferhouse_management;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE control.discounts TO inferhouse_management;
GRANT SELECT ON TABLE control.discounts TO inferhouse_transform;
GRANT USAGE ON SEQUENCE control.discounts_id_seq TO inferhouse_management;
GRANT SELECT ON TABLE control.engines TO inferhouse_router;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE control.engines TO inferhouse_management;
GRANT SELECT(id) ON TABLE control.engines TO inferhouse_transform;
GRANT SELECT(name) ON TABLE control.engines TO inferhouse_transform;
GRANT SELECT(kind) ON TABLE control.engines TO inferhouse_transform;
GRANT SELECT(base_url) ON TABLE control.engines TO inferhouse_transform;
GRANT SELECT(model_id) ON TABLE control.engines TO inferhouse_transform;
GRANT SELECT(enabled) ON TABLE control.engines TO inferhouse_transform;
GRANT SELECT(created_at) ON TABLE control.engines TO inferhouse_transform;
GRANT UPDATE(canary_stopped_at) ON TABLE control.engines TO inferhouse_router;
GRANT UPDATE(canary_stopped_why) ON TABLE control.engines TO inferhouse_router;
GRANT SELECT(gpus) ON TABLE control.engines TO inferhouse_transform;
GRANT SELECT(gpu_hour_picousd) ON TABLE control.engines TO inferhouse_transform;
GRANT USAGE ON SEQUENCE control.engines_id_seq TO inferhouse_management;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE control.idempotent_answers TO inferhouse_management;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE control.invites TO inferhouse_management;
GRANT USAGE ON SEQUENCE control.invites_id_seq TO inferhouse_management;
GRANT SELECT ON TABLE control.limits TO inferhouse_router;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE control.limits TO inferhouse_management;
GRANT USAGE ON SEQUENCE control.limits_id_seq TO inferhouse_management;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE control.login_failures TO inferhouse_management;
GRANT SELECT ON TABLE control.model_aliases TO inferhouse_router;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE control.model_aliases TO inferhouse_management;
GRANT USAGE ON SEQUENCE control.model_aliases_id_seq TO inferhouse_management;
GRANT SELECT ON TABLE control.models TO inferhouse_router;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE control.models TO inferhouse_management;
GRANT SELECT ON TABLE control.models TO inferhouse_transform;
GRANT USAGE ON SEQUENCE control.models_id_seq TO inferhouse_management;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE control.oidc_logins TO inferhouse_management;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE control.org_members TO inferhouse_management;
GRANT SELECT(org_id) ON TABLE control.org_members TO inferhouse_router;
GRANT SELECT(org_id) ON TABLE control.org_members TO inferhouse_transform;
GRANT SELECT(user_id) ON TABLE control.org_members TO inferhouse_router;
GRANT SELECT(user_id) ON TABLE control.org_members TO inferhouse_transform;
GRANT SELECT(role) ON TABLE control.org_members TO inferhouse_router;
GRANT SELECT(role) ON TABLE control.org_members TO inferhouse_transform;
GRANT SELECT ON TABLE control.organizations TO inferhouse_router;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE control.organizations TO inferhouse_management;
GRANT SELECT(id) ON TABLE control.organizations TO inferhouse_transform;
GRANT SELECT(public_id) ON TABLE control.organizations TO inferhouse_transform;
GRANT SELECT(name) ON TABLE control.organizations TO inferhouse_transform;
GRANT SELECT(time_zone) ON TABLE control.organizations TO inferhouse_transform;
GRANT SELECT(currency) ON TABLE control.organizations TO inferhouse_transform;
GRANT SELECT(suspended_at) ON TABLE control.organizations TO inferhouse_transform;
GRANT SELECT(created_at) ON TABLE control.organizations TO inferhouse_transform;
GRANT USAGE ON SEQUENCE control.organizations_id_seq TO inferhouse_management;
GRANT SELECT ON TABLE control.outbox_deliveries TO inferhouse_management;
GRANT SELECT ON TABLE control.outbox_deliveries TO inferhouse_transform;
GRANT UPDATE(status) ON TABLE control.outbox_deliveries TO inferhouse_management;
GRANT UPDATE(status) ON TABLE control.outbox_deliveries TO inferhouse_transform;
GRANT UPDATE(tries) ON TABLE control.outbox_deliveries TO inferhouse_management;
GRANT UPDATE(tries) ON TABLE control.outbox_deliveries TO inferhouse_transform;
GRANT UPDATE(next_try_at) ON TABLE control.outbox_deliveries TO inferhouse_management;
GRANT UPDATE(next_try_at) ON TABLE control.outbox_deliveries TO inferhouse_transform;
GRANT UPDATE(tried_at) ON TABLE control.outbox_deliveries TO inferhouse_transform;
GRANT UPDATE(delivered_at) ON TABLE control.outbox_deliveries TO inferhouse_transform;
GRANT UPDATE(http_status) ON TABLE control.outbox_deliveries TO inferhouse_transform;
GRANT UPDATE(error) ON TABLE control.outbox_deliveries TO inferhouse_management;
GRANT UPDATE(error) ON TABLE control.outbox_deliveries TO inferhouse_transform;
GRANT USAGE ON SEQUENCE control.outbox_deliveries_id_seq TO inferhouse_management;
GRANT SELECT ON TABLE control.outbox_events TO inferhouse_management;
GRANT SELECT,DELETE ON TABLE control.outbox_events TO inferhouse_transform;
GRANT USAGE ON SEQUENCE control.outbox_events_id_seq TO inferhouse_management;
GRANT USAGE ON SEQUENCE control.prices_id_seq TO inferhouse_management;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE control.project_members TO inferhouse_management;
GRANT SELECT ON TABLE control.projects TO inferhouse_router;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE control.projects TO inferhouse_management;
GRANT SELECT ON TABLE control.projects TO inferhouse_transform;
GRANT USAGE ON SEQUENCE control.projects_id_seq TO inferhouse_management;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE control.service_accounts TO inferhouse_management;
GRANT SELECT ON TABLE control.service_accounts TO inferhouse_transform;
GRANT SELECT(id) ON TABLE control.service_accounts TO inferhouse_router;
GRANT SELECT(deleted_at) ON TABLE control.service_accounts TO inferhouse_router;
GRANT USAGE ON SEQUENCE control.service_accounts_id_seq TO inferhouse_management;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE control.sessions TO inferhouse_management;
GRANT USAGE ON SEQUENCE control.sessions_id_seq TO inferhouse_management;
GRANT SELECT,INSERT,UPDATE ON TABLE control.shadow_refusals TO inferhouse_router;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE control.shadow_refusals TO inferhouse_management;
GRANT SELECT ON TABLE control.sql_logins TO inferhouse_management;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE control.users TO inferhouse_management;
GRANT SELECT(id) ON TABLE control.users TO inferhouse_router;
GRANT SELECT(id) ON TABLE control.users TO inferhouse_transform;
GRANT SELECT(public_id) ON TABLE control.users TO inferhouse_transform;
GRANT SELECT(email) ON TABLE control.users TO inferhouse_transform;
GRANT SELECT(name) ON TABLE control.users TO inferhouse_transform;
GRANT SELECT(platform_admin) ON TABLE control.users TO inferhouse_router;
GRANT SELECT(disabled_at) ON TABLE control.users TO inferhouse_router;
GRANT USAGE ON SEQUENCE control.users_id_seq TO inferhouse_management;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE control.volume_tiers TO inferhouse_management;
GRANT SELECT ON TABLE control.volume_tiers TO inferhouse_transform;
GRANT USAGE ON SEQUENCE control.volume_tiers_id_seq TO inferhouse_management;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE control.webhooks TO inferhouse_management;
GRANT SELECT ON TABLE control.webhooks TO inferhouse_transform;
GRANT USAGE ON SEQUENCE control.webhooks_id_seq TO inferhouse_management;
GRANT SELECT ON TABLE findings.adjustments TO inferhouse_lines;
GRANT SELECT,INSERT ON TABLE findings.adjustments TO inferhouse_transform;
GRANT SELECT,INSERT,UPDATE ON TABLE findings.anomalies TO inferhouse_transform;
GRANT SELECT,INSERT ON TABLE findings.decided_rows TO inferhouse_transform;
GRANT SELECT,INSERT,DELETE ON TABLE findings.forecast_backtests TO inferhouse_transform;
GRANT SELECT,INSERT ON TABLE findings.repricing_runs TO inferhouse_transform;
GRANT SELECT ON TABLE ledger.accounts TO inferhouse_management;
GRANT SELECT ON TABLE ledger.accounts TO inferhouse_transform;
GRANT SELECT ON TABLE ledger.allocations TO inferhouse_management;
GRANT SELECT ON TABLE ledger.allocations TO inferhouse_transform;
GRANT SELECT ON TABLE ledger.credits TO inferhouse_management;
GRANT SELECT ON TABLE ledger.credits TO inferhouse_transform;
GRANT SELECT ON TABLE ledger.entries TO inferhouse_management;
GRANT SELECT ON TABLE ledger.entries TO inferhouse_transform;
GRANT SELECT ON TABLE ledger.transactions TO inferhouse_management;
GRANT SELECT ON TABLE ledger.transactions TO inferhouse_transform;
GRANT SELECT ON TABLE marts.spend_forecast TO inferhouse_portal;
GRANT SELECT ON TABLE marts.spend_forecast TO inferhouse_platform;
GRANT SELECT ON TABLE marts.spend_forecast TO inferhouse_tenant;
GRANT SELECT,INSERT ON TABLE raw.engine_samples TO inferhouse_transform;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE raw.idempotent_answers TO inferhouse_router;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE raw.journal_positions TO inferhouse_router;
GRANT SELECT ON TABLE raw.journal_positions TO inferhouse_management;
GRANT SELECT ON TABLE raw.journal_positions TO inferhouse_transform;

ALTER DEFAULT PRIVILEGES FOR ROLE inferhouse_transform IN SCHEMA marts GRANT SELECT ON TABLES TO inferhouse_management;
ALTER DEFAULT PRIVILEGES FOR ROLE inferhouse_transform IN SCHEMA marts GRANT SELECT ON TABLES TO inferhouse_portal;
ALTER DEFAULT PRIVILEGES FOR ROLE inferhouse_transform IN SCHEMA marts GRANT SELECT ON TABLES TO inferhouse_platform;
ALTER DEFAULT PRIVILEGES FOR ROLE inferhouse_transform IN SCHEMA marts GRANT SELECT ON TABLES TO inferhouse_tenant;

-- Hypertable raw.engine_samples: by sampled_at, a chunk every 7 days.
-- Hypertable raw.usage_events: by started_at, a chunk every 1 day.
