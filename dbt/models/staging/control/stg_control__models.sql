with source as (
    select * from {{ source('control', 'models') }}
)

select
    id as model_id,
    name as model,
    context_tokens_max,
    output_tokens_max,
    retired_at,
    created_at
from source
