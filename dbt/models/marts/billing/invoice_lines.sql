{{
    config(
        materialized='incremental',
        incremental_strategy='delete+insert',
        unique_key=['org_id', 'period_month'],
        indexes=[{'columns': ['line_id'], 'unique': true}, {'columns': ['org_id', 'period_month']}, {'columns': ['as_of_xid']}]
    )
}}

-- Drafts: a month of an organization, in its own time zone, is computed again whenever one of its rows arrives.
with organizations as (
    select * from {{ ref('stg_control__organizations') }}
),

touched as materialized (
    select distinct
        usage.org_id,
        date_trunc('month', usage.quarter_hour_at at time zone organization.time_zone) as month_local
    from {{ ref('int_usage_quarter_hours') }} as usage
    inner join organizations as organization on usage.org_id = organization.org_id
    where usage.as_of_xid > {{ watermark() }}
),

periods as (
    select
        touched.org_id,
        organization.organization,
        organization.currency,
        touched.month_local::date as period_month,
        touched.month_local at time zone organization.time_zone as period_starts_at,
        (touched.month_local + interval '1 month') at time zone organization.time_zone as period_ends_at
    from touched
    inner join organizations as organization on touched.org_id = organization.org_id
),

sums as (
    select
        period.org_id,
        period.period_month,
        tokens.*
    from periods as period
    -- Lateral, so that each month is an index range: the planner cannot know how few are touched, and would read the history.
    cross join lateral (
        select
            usage.project_id,
            usage.model_id,
            usage.price_id,
            sum(usage.input_tokens - usage.cached_input_tokens) as input_tokens,
            sum(usage.cached_input_tokens) as cached_input_tokens,
            sum(usage.output_tokens) as output_tokens,
            sum(usage.usage_rows) as usage_rows
        from {{ ref('int_usage_quarter_hours') }} as usage
        where
            usage.org_id = period.org_id
            and usage.quarter_hour_at >= period.period_starts_at
            and usage.quarter_hour_at < period.period_ends_at
            and usage.charge_class = 'charged'
            and usage.price_id is not null
        group by usage.project_id, usage.model_id, usage.price_id
    ) as tokens
),

lines as (
    select
        sums.org_id,
        sums.period_month,
        sums.project_id,
        sums.model_id,
        sums.price_id,
        sums.usage_rows,
        class.token_class,
        class.tokens_expression,
        class.quantity,
        class.unit_price_picousd
    from sums
    inner join {{ ref('stg_control__prices') }} as price on sums.price_id = price.price_id
    cross join
        lateral (
            values
            ('input', 'input_tokens - cached_input_tokens', sums.input_tokens, price.input_picousd),
            ('cached_input', 'cached_input_tokens', sums.cached_input_tokens, price.cached_input_picousd),
            ('output', 'output_tokens', sums.output_tokens, price.output_picousd)
        ) as class (token_class, tokens_expression, quantity, unit_price_picousd)
    where class.quantity > 0
)

select
    'il_' || left(
        encode(
            sha256(
                concat_ws(
                    '/', period.organization, line.period_month, line.project_id, line.model_id, line.price_id, line.token_class
                )::bytea
            ),
            'hex'
        ),
        24
    ) as line_id,
    line.org_id,
    period.organization,
    line.period_month,
    period.period_starts_at,
    period.period_ends_at,
    line.project_id,
    project.project,
    model.model,
    line.price_id,
    line.token_class,
    line.usage_rows::bigint as usage_rows,
    line.quantity::numeric(38, 0) as quantity,
    line.unit_price_picousd,
    (line.quantity * line.unit_price_picousd)::numeric(38, 0) as subtotal_picousd,
    round(line.quantity * line.unit_price_picousd / 1000000000000.0, 2)::numeric(20, 2) as amount,
    period.currency,
    'half_up_to_cent' as rounding_rule,
    'draft' as status,
    format(
        'select sum((%s)::numeric) * %s from raw.usage_events where org_id = %s and project_id = %s and price_id = %s'
        || ' and charge_class = ''charged'' and started_at >= %L and started_at < %L',
        line.tokens_expression, line.unit_price_picousd, line.org_id, line.project_id, line.price_id,
        period.period_starts_at at time zone 'UTC' || '+00', period.period_ends_at at time zone 'UTC' || '+00'
    ) as query,
    (select horizon.as_of_xid from {{ ref('int_usage_horizon') }} as horizon) as as_of_xid
from lines as line
inner join periods as period on line.org_id = period.org_id and line.period_month = period.period_month
inner join {{ ref('stg_control__projects') }} as project on line.project_id = project.project_id
inner join {{ ref('stg_control__models') }} as model on line.model_id = model.model_id
