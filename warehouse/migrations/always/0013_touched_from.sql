-- Since when a run of a mart looks for touched rows, as its transaction has noted it (dbt, `note_touched_from`); without a note
-- since ever. Said to be immutable, which within one statement it is: the planner then leaves out the chunks that are older,
-- and does not spend its time on a year of them. Not for statements that are prepared, nor for functions that keep their plans.
create or replace function raw.touched_from() returns timestamptz
language plpgsql immutable
set search_path = pg_catalog, pg_temp
as $$
begin
    return coalesce(nullif(current_setting('inferhouse.touched_from', true), ''), '-infinity')::timestamptz;
end
$$;
revoke all on function raw.touched_from() from public;
grant execute on function raw.touched_from() to inferhouse_transform;
