{{ config(materialized='view') }}

-- The catalogue is everybody's who is somebody: a suspended organization's login is nobody's.
select
    model_id,
    model,
    context_tokens_max,
    output_tokens_max,
    retired_at,
    created_at
from {{ ref('stg_control__models') }}
where (select control.current_org_id()) is not null or {{ visible_to_platform() }}
