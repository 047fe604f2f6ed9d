-- What `GET /v1/platform/health` asks about all organizations at once: counts and instants, nothing that is theirs.
create or replace function control.health()
returns table (
    applied jsonb, raw_rows bigint, mart_rows bigint, complete_to timestamptz, marts_built boolean, last_request timestamptz
)
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
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
$$;
revoke all on function control.health() from public;
grant execute on function control.health() to inferhouse_management;
