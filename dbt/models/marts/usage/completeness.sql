{{ config(materialized='table', indexes=[{'columns': ['org_id'], 'unique': true}]) }}

select
    organization.org_id,
    organization.organization,
    horizon.complete_to,
    horizon.taken_at as computed_at,
    coalesce(sum(usage.usage_rows), 0)::bigint as usage_rows,
    coalesce(sum(usage.rows_unpriced), 0)::bigint as rows_quarantined,
    coalesce(sum(usage.rows_estimated), 0)::bigint as rows_estimated,
    coalesce(round(sum(usage.rows_estimated) / nullif(sum(usage.usage_rows), 0), 6), 0)::numeric as estimated_share,
    max(usage.last_started_at) as last_started_at
from {{ ref('stg_control__organizations') }} as organization
cross join {{ ref('int_usage_horizon') }} as horizon
left join {{ ref('int_usage_quarter_hours') }} as usage on organization.org_id = usage.org_id
group by organization.org_id, organization.organization, horizon.complete_to, horizon.taken_at
