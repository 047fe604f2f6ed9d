{{ config(materialized='view') }}

select
    anomaly.anomaly,
    anomaly.org_id,
    project.project,
    api_key.api_key,
    anomaly.metric,
    anomaly.baseline,
    anomaly.observed,
    anomaly.expected,
    anomaly.threshold,
    anomaly.window_s,
    anomaly.started_at,
    anomaly.detected_at,
    anomaly.last_seen_at,
    anomaly.ended_at
from {{ ref('stg_findings__anomalies') }} as anomaly
inner join {{ ref('stg_control__projects') }} as project on anomaly.project_id = project.project_id
inner join {{ ref('stg_control__api_keys') }} as api_key on anomaly.api_key_id = api_key.api_key_id
where {{ visible_to_session('anomaly.org_id') }}
