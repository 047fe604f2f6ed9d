with source as (
    select * from {{ source('findings', 'anomalies') }}
)

select
    public_id as anomaly,
    org_id,
    project_id,
    api_key_id,
    metric,
    baseline,
    observed,
    expected,
    threshold,
    window_s,
    started_at,
    detected_at,
    last_seen_at,
    ended_at
from source
