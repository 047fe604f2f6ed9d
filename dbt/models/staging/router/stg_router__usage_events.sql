-- Without common tables: PostgreSQL would take the view for one that it must not look into, and work out all of its columns.
select
    request_id,
    attempt,
    started_at,
    finished_at,
    recorded_at,
    recorded_xid,
    org_id,
    project_id,
    api_key_id,
    user_id,
    service_account_id,
    end_user,
    tags,
    endpoint::text as endpoint,
    model_asked,
    model_id,
    engine_id,
    stream,
    status::text as status,
    http_status,
    error_code,
    finish_reason::text as finish_reason,
    input_tokens,
    cached_input_tokens,
    output_tokens,
    reasoning_tokens,
    token_source::text as token_source,
    queue_us,
    ttft_us,
    duration_us,
    overhead_us,
    price_id,
    cost_picousd,
    charge_class::text as charge_class,
    -- As they are stored, for sums over all rows: to group by an enumeration costs a third of what its text does.
    endpoint as endpoint_enum,
    status as status_enum,
    token_source as token_source_enum,
    charge_class as charge_class_enum
from {{ source('router', 'usage_events') }}
-- What the database has of a day in the archive is not the day but rows that came since: a sum of them would take the place of
-- the day's. They wait until the day is restored. The first comparison settles it for all that is younger than the archive.
where
    started_at >= (
        select coalesce((max(absent.day) + 1)::timestamp at time zone 'UTC', '-infinity'::timestamptz)
        from {{ source('archive', 'absent_days') }} as absent
    )
    or (started_at at time zone 'UTC')::date not in (select absent.day from {{ source('archive', 'absent_days') }} as absent)
