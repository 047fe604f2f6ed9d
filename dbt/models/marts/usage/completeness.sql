{{
    config(
        materialized='incremental',
        incremental_strategy='delete+insert',
        unique_key='org_id',
        indexes=[{'columns': ['org_id'], 'unique': true}]
    )
}}

-- Last of a run, so that it never promises what a mart does not hold yet.
-- depends_on: {{ ref('int_invoice_lines') }}
-- Sums of an organization's days, of which a year has few: anything finer would make every run read the whole history.
select
    organization.org_id,
    organization.organization,
    horizon.complete_to,
    horizon.taken_at as computed_at,
    coalesce(sum(daily.usage_rows), 0)::bigint as usage_rows,
    coalesce(sum(daily.rows_unpriced), 0)::bigint as rows_quarantined,
    coalesce(sum(daily.rows_estimated), 0)::bigint as rows_estimated,
    coalesce(round(sum(daily.rows_estimated) / nullif(sum(daily.usage_rows), 0), 6), 0)::numeric(7, 6) as estimated_share,
    max(daily.last_started_at) as last_started_at
from {{ ref('stg_control__organizations') }} as organization
cross join {{ ref('int_usage_horizon') }} as horizon
left join {{ ref('int_usage_days') }} as daily on organization.org_id = daily.org_id
group by organization.org_id, organization.organization, horizon.complete_to, horizon.taken_at
