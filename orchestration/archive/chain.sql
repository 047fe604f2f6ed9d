-- name: entries
select sequence, day, usage_rows, row_set_digest, previous, chain_hash
from archive.daily_digests
order by sequence

-- name: horizon
select pg_snapshot_xmin(pg_current_snapshot())::text as as_of_xid

-- name: complete_to
select min(complete_to) as complete_to from marts.completeness

-- name: first_day
select min((chunk.range_start at time zone 'UTC')::date) as day
from timescaledb_information.chunks as chunk
where chunk.hypertable_schema = 'raw' and chunk.hypertable_name = 'usage_events'

-- name: days_changed
-- Days of the chain with rows that were committed after the chain last looked, found by the index on the commit order.
select distinct (event.started_at at time zone 'UTC')::date as day
from raw.usage_events as event
where
    event.recorded_xid >= (select max(entry.as_of_xid) from archive.daily_digests as entry)
    and event.started_at < (select (max(entry.day) + 1)::timestamp at time zone 'UTC' from archive.daily_digests as entry)
order by day

-- name: absent_days
select day from archive.absent_days

-- name: add
select archive.add_daily_digest(%(day)s, %(usage_rows)s, %(row_set_digest)s, %(as_of_xid)s::xid8)

-- name: lock_chain
select pg_advisory_lock(hashtextextended('inferhouse.daily_digests', 0))

-- name: unlock_chain
select pg_advisory_unlock(hashtextextended('inferhouse.daily_digests', 0))
