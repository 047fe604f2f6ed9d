with source as (
    select * from {{ source('billing', 'tax_rates') }}
)

select
    id as tax_rate_id,
    region,
    name,
    basis_points,
    months
from source
