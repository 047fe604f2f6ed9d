-- name: create_replay
create temporary table replay (like raw.usage_events including defaults) on commit drop

-- name: insert_replay
insert into raw.usage_events select * from replay on conflict do nothing

-- name: drop_replay
drop table replay

-- name: report_position
insert into raw.journal_positions (worker, reported_at, complete_to)
values (%(worker)s, now(), %(complete_to)s)
on conflict (worker) do update
set reported_at = excluded.reported_at, recorded_xid = excluded.recorded_xid, complete_to = excluded.complete_to

-- name: announce_position
insert into raw.journal_positions (worker, reported_at, complete_to)
values (%(worker)s, now(), %(complete_to)s)
on conflict (worker) do nothing

-- name: forget_position
delete from raw.journal_positions where worker = %(worker)s
