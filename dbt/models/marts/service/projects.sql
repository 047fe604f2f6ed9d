{{ config(materialized='view') }}

select
    org_id,
    project_id,
    project,
    name,
    archived_at,
    created_at
from {{ ref('stg_control__projects') }}
where {{ visible_to_session('org_id') }}
