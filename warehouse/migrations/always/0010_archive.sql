-- Who may do what to the archive's tables, and the only ways by which rows leave raw.usage_events and come back.
grant usage on schema archive to inferhouse_transform, inferhouse_management, inferhouse_router;
revoke all on all tables in schema archive from inferhouse_transform, inferhouse_management, inferhouse_router;
grant select on archive.files, archive.daily_digests to inferhouse_transform, inferhouse_management;
grant select on archive.budget_days to inferhouse_transform, inferhouse_router;
-- What a file holds is said once; that it was dropped is said by archive.drop_day alone.
grant insert (day, version, path, usage_rows, bytes, sha256, row_set_digest), update (verified_at, superseded_at)
on archive.files to inferhouse_transform;
grant select, insert, delete on archive.incoming_rows to inferhouse_transform;

-- Days whose rows are only in the archive: what raw.usage_events has of them has come late, and is not the day.
create or replace view archive.absent_days with (security_barrier) as
select day from archive.files where dropped_at is not null;
grant select on archive.absent_days to inferhouse_transform, inferhouse_management;

create or replace function archive.count_and_digest(for_day date, out usage_rows bigint, out row_set_digest bytea)
language sql stable set timezone = 'UTC'
as $$
    select
        count(*),
        sha256(coalesce(
            string_agg(raw.row_digest(event), ''::bytea order by event.started_at, event.request_id, event.attempt), ''::bytea
        ))
    from raw.usage_events as event
    where event.started_at >= for_day::timestamptz and event.started_at < (for_day + 1)::timestamptz
$$;

-- The marts of service have a horizon of their own, and no model that ends each of their runs: what a table has read shows in
-- the newest horizon in it.
create or replace function archive.require_service_marts(for_day date) returns void
language plpgsql stable set timezone = 'UTC'
as $$
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

-- Of deleted and soft budgets, too: they may be held again. A row meets its budgets by equality, so that thousands of them can be
-- hashed: compared one by one as in other sums, 130,000 rows and 2,000 budgets of keys took three minutes behind the locks.
create or replace function archive.keep_for_budgets(for_day date) returns void
language sql set timezone = 'UTC'
as $$
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

create or replace function archive.drop_day(for_day date, for_version integer) returns void
language plpgsql security definer set search_path = pg_catalog, pg_temp set timezone = 'UTC' set lock_timeout = '5s'
as $$
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
comment on function archive.drop_day(date, integer) is
'Drops the chunk of a day whose file was read back within the hour, if the chunk holds exactly the rows of the file, the marts
have them all, and the chain of daily digests has them. Anything else is refused with IH001.';

create or replace function archive.restore_day(for_day date) returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp set timezone = 'UTC' set lock_timeout = '5s'
as $$
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
$$;
comment on function archive.restore_day(date) is
'Puts the rows in archive.incoming_rows back, if they are exactly those that were dropped, beside rows of the day that came since.';

create or replace function archive.add_daily_digest(
    for_day date, its_rows bigint, its_digest bytea, horizon xid8
) returns bigint
language plpgsql security definer set search_path = pg_catalog, pg_temp
as $$
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

create or replace function archive.require_all_days() returns void language plpgsql stable as $$
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

create or replace function archive.refuse_change() returns trigger language plpgsql as $$
begin
    raise exception 'the chain of daily digests is only added to';
end
$$;
create or replace trigger only_added_to before update or delete or truncate on archive.daily_digests
for each statement execute function archive.refuse_change();

revoke execute on function archive.drop_day(date, integer), archive.restore_day(date),
archive.add_daily_digest(date, bigint, bytea, xid8), archive.count_and_digest(date), archive.require_all_days(),
archive.require_service_marts(date), archive.keep_for_budgets(date) from public;
grant execute on function archive.drop_day(date, integer), archive.restore_day(date),
archive.add_daily_digest(date, bigint, bytea, xid8), archive.count_and_digest(date), archive.require_all_days() to inferhouse_transform;
