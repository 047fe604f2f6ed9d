with source as (
    select * from {{ source('control', 'projects') }}
)

select
    id as project_id,
    public_id as project,
    org_id,
    name,
    archived_at,
    created_at
from source
