-- Who gets how much of engines that are full.
-- A column with a constant default rewrites nothing; organizations are at most some 10,000 rows.
-- squawk-ignore-file constraint-missing-not-valid
alter table control.organizations
add column queue_weight integer not null default 1 check (queue_weight between 1 and 100);
comment on column control.organizations.queue_weight is
'Share of full engines that its requests get, relative to the other organizations that wait for them.';

drop trigger announce_row on control.organizations;
create trigger announce_row
after insert or delete or update of
suspended_at, deleted_at, key_models, key_cidrs, answers_kept_s, time_zone, when_redis_is_down, queue_weight
on control.organizations for each row execute function control.announce_row('id');
