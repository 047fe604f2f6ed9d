-- name: raw_days
select (chunk.range_start at time zone 'UTC')::date as day
from timescaledb_information.chunks as chunk
where chunk.hypertable_schema = 'raw' and chunk.hypertable_name = 'usage_events'
order by chunk.range_start

-- name: files_in_force
select distinct on (file.day)
    file.day, file.version, file.path, file.usage_rows, file.bytes as size_bytes, file.sha256, file.row_set_digest, file.verified_at,
    file.dropped_at
from archive.files as file
where
    file.verified_at is not null and file.superseded_at is null
    and file.day >= %(first)s and file.day <= %(last)s
order by file.day, file.version desc

-- name: next_version
select coalesce(max(file.version), 0) + 1 as version from archive.files as file where file.day = %(day)s

-- name: day_digest
select usage_rows, row_set_digest from archive.count_and_digest(%(day)s)

-- name: copy_day
copy (
    select {columns}
    from raw.usage_events as event
    where event.started_at >= {starts_at} and event.started_at < {ends_at}
    order by event.started_at, event.request_id, event.attempt
) to stdout (format csv)

-- name: add_file
insert into archive.files (day, version, path, usage_rows, bytes, sha256, row_set_digest)
values (%(day)s, %(version)s, %(path)s, %(usage_rows)s, %(size_bytes)s, %(sha256)s, %(row_set_digest)s)

-- name: mark_verified
update archive.files set verified_at = now() where day = %(day)s and version = %(version)s

-- name: mark_superseded
update archive.files set superseded_at = now()
where day = %(day)s and version < %(version)s and superseded_at is null
returning path

-- name: drop_day
select archive.drop_day(%(day)s, %(version)s)

-- name: copy_incoming
copy archive.incoming_rows ({columns}) from stdin (format csv)

-- name: clear_incoming
delete from archive.incoming_rows

-- name: restore_day
select archive.restore_day(%(day)s)

-- name: lock_day
select pg_advisory_lock(hashtextextended('inferhouse.archive.' || %(day)s::date::text, 0))

-- name: unlock_day
select pg_advisory_unlock(hashtextextended('inferhouse.archive.' || %(day)s::date::text, 0))

-- name: days_with_late_rows
select absent.day
from archive.absent_days as absent
where
    exists (
        select from raw.usage_events as event
        where
            event.started_at >= absent.day::timestamp at time zone 'UTC'
            and event.started_at < (absent.day + 1)::timestamp at time zone 'UTC'
    )
order by absent.day

-- name: days_to_archive
select entry.day
from (
    select distinct on (day) day, usage_rows, row_set_digest
    from archive.daily_digests
    order by day, sequence desc
) as entry
where
    entry.usage_rows > 0
    and not exists (
        select from archive.files as file
        where
            file.day = entry.day and file.verified_at is not null and file.superseded_at is null
            and file.row_set_digest = entry.row_set_digest
    )
    and not exists (select from archive.absent_days as absent where absent.day = entry.day)
order by entry.day
limit %(limit)s
