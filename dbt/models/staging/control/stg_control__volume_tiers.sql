with source as (
    select * from {{ source('control', 'volume_tiers') }}
)

select
    id as volume_tier_id,
    model_id,
    org_id,
    token_class,
    above_quantity,
    basis_points,
    months,
    reason,
    created_at
from source
