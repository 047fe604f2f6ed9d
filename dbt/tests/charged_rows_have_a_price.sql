-- A row to be charged without a price is an error, never 0: it must show as quarantined.
select
    usage.org_id,
    sum(usage.rows_unpriced) as unpriced,
    min(completeness.rows_quarantined) as shown
from {{ ref('int_usage_quarter_hours') }} as usage
inner join {{ ref('completeness') }} as completeness on usage.org_id = completeness.org_id
group by usage.org_id
having sum(usage.rows_unpriced) <> min(completeness.rows_quarantined)
