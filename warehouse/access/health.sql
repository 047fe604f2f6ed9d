-- name: facts
select
    clock_timestamp() as now, current_setting('server_version') as version, f.applied, f.raw_rows, f.mart_rows, f.complete_to,
    f.marts_built, f.last_request, (select h.sequence from control.audit_head as h) as audit_sequence,
    current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int as connections_max,
    (select count(*) from pg_stat_activity as a where a.usesysid is not null)::int as connections
from control.health() as f

-- name: limit_time
select set_config('statement_timeout', %(milliseconds)s, true)

-- name: without_price
select m.name
from control.models as m
where m.retired_at is null
    and not exists (
        select from control.prices as p
        where p.model_id = m.id and p.org_id is null and p.priority = 0 and p.effective @> now()
    )
order by m.name
limit %(rows_max)s
