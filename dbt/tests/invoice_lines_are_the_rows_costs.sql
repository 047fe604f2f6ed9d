-- Two ways to the same money: tokens x price on the lines, and the cost that the router put into each row.
with lines as (
    select org_id, period_starts_at, period_ends_at, sum(subtotal_picousd) as picousd
    from {{ ref('invoice_lines') }}
    group by 1, 2, 3
)

select lines.org_id, lines.period_starts_at, lines.picousd, sum(usage.cost_picousd) as cost_of_rows
from lines
inner join {{ ref('int_usage_quarter_hours') }} as usage
    on
        lines.org_id = usage.org_id
        and usage.quarter_hour_at >= lines.period_starts_at
        and usage.quarter_hour_at < lines.period_ends_at
group by 1, 2, 3
having lines.picousd is distinct from sum(usage.cost_picousd)
