{{ config(materialized='view') }}

select
    org_id,
    project_id,
    api_key_id,
    api_key,
    name,
    kind,
    user_id,
    service_account_id,
    created_at,
    revoked_at
from {{ ref('stg_control__api_keys') }}
where {{ visible_to_session('org_id') }}
