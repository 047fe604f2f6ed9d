{{ config(materialized='view') }}

select
    org_id,
    organization,
    name,
    time_zone,
    currency,
    suspended_at,
    created_at
from {{ ref('stg_control__organizations') }}
where {{ visible_to_session('org_id') }}
