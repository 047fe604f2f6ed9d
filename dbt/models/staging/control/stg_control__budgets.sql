with source as (
    select * from {{ source('control', 'budgets') }}
)

select
    id as budget_id,
    public_id as budget,
    org_id,
    project_id,
    user_id,
    service_account_id,
    api_key_id,
    model_id,
    period,
    mode,
    limit_picousd,
    raised_limit_picousd,
    raised_until,
    alert_percents,
    version,
    created_at,
    deleted_at
from source
