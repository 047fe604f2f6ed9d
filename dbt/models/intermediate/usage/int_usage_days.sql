{{
    config(
        materialized='incremental',
        incremental_strategy='delete+insert',
        unique_key=['org_id', 'day_utc'],
        indexes=[{'columns': ['org_id', 'day_utc']}, {'columns': ['day_utc']}, {'columns': ['as_of_xid']}]
    )
}}

-- What is counted of whole organizations: a row a day of each, so that a sum over all time reads hundreds and not all of a mart.
with touched as materialized (
    select distinct
        daily.org_id,
        daily.day_utc
    from {{ ref('usage_daily') }} as daily
    where daily.as_of_xid > {{ watermark() }}
)

select
    touched.day_utc,
    touched.org_id,
    sums.*
from touched
cross join lateral (
    select
        sum(daily.usage_rows)::bigint as usage_rows,
        sum(daily.rows_unpriced)::bigint as rows_unpriced,
        sum(daily.rows_estimated)::bigint as rows_estimated,
        max(daily.last_started_at) as last_started_at,
        max(daily.as_of_xid) as as_of_xid
    from {{ ref('usage_daily') }} as daily
    where daily.org_id = touched.org_id and daily.day_utc = touched.day_utc
    having count(*) > 0
) as sums
