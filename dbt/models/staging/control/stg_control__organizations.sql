with source as (
    select * from {{ source('control', 'organizations') }}
)

select
    id as org_id,
    public_id as organization,
    name,
    time_zone,
    currency,
    suspended_at,
    created_at
from source
