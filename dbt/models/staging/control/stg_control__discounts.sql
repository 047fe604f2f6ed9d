with source as (
    select * from {{ source('control', 'discounts') }}
)

select
    id as discount_id,
    org_id,
    model_id,
    basis_points,
    months,
    reason,
    created_at
from source
