with source as (
    -- By name: the role that builds may read these columns and no others.
    select
        id,
        public_id,
        name,
        time_zone,
        currency,
        suspended_at,
        created_at
    from {{ source('control', 'organizations') }}
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
