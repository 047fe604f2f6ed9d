with source as (
    select * from {{ source('billing', 'tax_regions') }}
)

select
    org_id,
    region
from source
