-- Column by column: this role cannot read the hashes.
with source as (
    select
        id,
        public_id,
        kind,
        name,
        org_id,
        project_id,
        user_id,
        service_account_id,
        created_at,
        revoked_at
    from {{ source('control', 'api_keys') }}
)

select
    id as api_key_id,
    public_id as api_key,
    kind,
    name,
    org_id,
    project_id,
    user_id,
    service_account_id,
    created_at,
    revoked_at
from source
