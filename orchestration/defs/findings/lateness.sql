-- name: state
select
    horizon.taken_at as built_at,
    (select min(completeness.computed_at) from marts.completeness as completeness) as finished_at,
    (
        select min(event.recorded_at) from raw.usage_events as event
        where event.recorded_xid >= horizon.as_of_xid and event.recorded_at > %(now)s::timestamptz - interval '1 day'
    ) as waiting_since
from intermediate.int_usage_horizon as horizon
