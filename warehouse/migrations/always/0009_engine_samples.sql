-- Dagster samples the engines and drops old samples; nobody else writes them. It reads what engines cost for that.
grant select, insert on raw.engine_samples to inferhouse_transform;
grant select (gpus, gpu_hour_picousd) on control.engines to inferhouse_transform;
-- Who is a member of what, for the dimension `users`.
grant select (org_id, user_id, role) on control.org_members to inferhouse_transform;

-- Whole chunks whose samples are all older than so many days; how many. Not below a week: the marts may not have them yet.
create or replace function raw.drop_engine_samples(kept_days integer) returns integer
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    if kept_days < 7 then
        raise exception 'samples are kept for at least 7 days' using errcode = 'invalid_parameter_value';
    end if;
    return (select count(*) from public.drop_chunks('raw.engine_samples', older_than => make_interval(days => kept_days)));
end
$$;
revoke all on function raw.drop_engine_samples(integer) from public;
grant execute on function raw.drop_engine_samples(integer) to inferhouse_transform;

-- Percentiles of latency_hourly, for whoever may read it. Bucket b holds what is above 2^((b-1)/8) and up to 2^(b/8)
-- microseconds: a base-2 exponential histogram of scale 3, as OpenTelemetry has it.
-- Merging is addition: histogram[b + 1] is the number of requests in bucket b, null where it is none.
create or replace function marts.add_buckets(histogram bigint[], buckets smallint[], bucket_requests bigint[]) returns bigint[]
language plpgsql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
begin
    for i in 1 .. coalesce(cardinality(buckets), 0) loop
        histogram[buckets[i] + 1] := coalesce(histogram[buckets[i] + 1], 0) + bucket_requests[i];
    end loop;
    return histogram;
end
$$;

create or replace function marts.add_histograms(one bigint[], other bigint[]) returns bigint[]
language sql immutable parallel safe
set search_path = pg_catalog, pg_temp
as $$
select array_agg(coalesce(a.requests, 0) + coalesce(b.requests, 0) order by place)
from unnest(one) with ordinality as a (requests, place)
full join unnest(other) with ordinality as b (requests, place) using (place)
$$;

-- The value at a share of all requests, by nearest rank as percentile_disc has it, in microseconds. What is told is the middle
-- of the bucket in which that request is: at most 4.4 % away from what the request took. Null of no requests.
create or replace function marts.latency_us_at(histogram bigint[], share double precision) returns double precision
language plpgsql immutable strict parallel safe
set search_path = pg_catalog, pg_temp
as $$
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

do $$
begin
    execute
        'create or replace aggregate marts.merge_buckets(buckets smallint[], bucket_requests bigint[]) ('
        'sfunc = marts.add_buckets, stype = bigint[], initcond = ''{0}'', combinefunc = marts.add_histograms, parallel = safe)';
end
$$;

do $$
declare
    made regprocedure;
begin
    foreach made in array array[
        'marts.add_buckets(bigint[], smallint[], bigint[])', 'marts.add_histograms(bigint[], bigint[])',
        'marts.latency_us_at(bigint[], double precision)', 'marts.merge_buckets(smallint[], bigint[])'
    ]::regprocedure[] loop
        execute format('revoke all on function %s from public', made);
        execute format(
            'grant execute on function %s to inferhouse_management, inferhouse_transform, inferhouse_portal, '
            'inferhouse_platform, inferhouse_tenant', made
        );
    end loop;
end
$$;
