{{ config(materialized='view') }}

select
    org_id,
    user_id,
    member,
    email,
    name,
    role
from {{ ref('stg_control__users') }}
where {{ visible_to_session('org_id') }}
