{{
    config(
        materialized='incremental',
        incremental_strategy='delete+insert',
        unique_key=['org_id', 'period_month'],
        indexes=[{'columns': ['line_key'], 'unique': true}, {'columns': ['org_id', 'period_month']}, {'columns': ['computed_at']}]
    )
}}

-- What each month comes to by the rows that are there now, whether it has been invoiced or not: drafts are made of it, and
-- what differs from a final invoice becomes an adjustment.
with periods as materialized (
    select * from {{ ref('int_billing_periods') }} as period
    {% if is_incremental() -%}
    where period.computed_at > (select coalesce(max(mine.computed_at), '-infinity') from {{ this }} as mine)
    {%- endif %}
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
            sum(usage.output_tokens - usage.reasoning_tokens) as output_tokens,
            sum(usage.reasoning_tokens) as reasoning_tokens,
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

usage_lines as materialized (
    select
        sums.org_id,
        sums.period_month,
        sums.project_id,
        sums.model_id,
        sums.price_id,
        sums.usage_rows,
        class.token_class,
        class.expression,
        class.quantity,
        class.unit_price_picousd,
        class.quantity * class.unit_price_picousd as subtotal_picousd
    from sums
    inner join {{ ref('stg_control__prices') }} as price on sums.price_id = price.price_id
    cross join
        lateral (
            values
            ('input', 'sum((input_tokens - cached_input_tokens)::numeric)', sums.input_tokens, price.input_picousd),
            ('cached_input', 'sum(cached_input_tokens::numeric)', sums.cached_input_tokens, price.cached_input_picousd),
            ('output', 'sum((output_tokens - reasoning_tokens)::numeric)', sums.output_tokens, price.output_picousd),
            (
                'reasoning', 'sum(reasoning_tokens::numeric)', sums.reasoning_tokens,
                coalesce(price.reasoning_picousd, price.output_picousd)
            ),
            -- Most prices have none for a request: a line of nothing for each of them would say nothing.
            (
                'request', 'count(*)::numeric', case when price.request_picousd > 0 then sums.usage_rows else 0 end,
                price.request_picousd
            )
        ) as class (token_class, expression, quantity, unit_price_picousd)
    where class.quantity > 0
),

volumes as (
    select
        line.org_id,
        line.period_month,
        line.model_id,
        line.token_class,
        sum(line.usage_rows) as usage_rows,
        sum(line.quantity) as quantity,
        sum(line.subtotal_picousd) as subtotal_picousd
    from usage_lines as line
    group by line.org_id, line.period_month, line.model_id, line.token_class
),

-- Tiers of the organization take the place of those for everybody: of all that apply, only the first kind there is.
tiers_in_force as (
    select
        volume.*,
        tier.above_quantity,
        tier.basis_points,
        dense_rank() over (
            partition by volume.org_id, volume.period_month, volume.model_id, volume.token_class
            order by (tier.org_id is null)
        ) as choice,
        lead(tier.above_quantity) over (
            partition by volume.org_id, volume.period_month, volume.model_id, volume.token_class, (tier.org_id is null)
            order by tier.above_quantity
        ) as up_to_quantity
    from volumes as volume
    inner join {{ ref('stg_control__volume_tiers') }} as tier
        on
            volume.model_id = tier.model_id
            and volume.token_class = tier.token_class
            and tier.months @> volume.period_month
            and (tier.org_id is null or volume.org_id = tier.org_id)
),

-- At the month's average price, so that versions of a price within it need no order; to the whole pico-dollar, half up.
volume_discounts as (
    select
        tier.*,
        least(tier.quantity, tier.up_to_quantity) - tier.above_quantity as quantity_in_tier,
        -div(
            2 * (least(tier.quantity, tier.up_to_quantity) - tier.above_quantity) * tier.subtotal_picousd * tier.basis_points
            + tier.quantity * 10000,
            2 * tier.quantity * 10000
        ) as discount_picousd
    from tiers_in_force as tier
    where tier.choice = 1 and tier.quantity > tier.above_quantity
),

of_models as (
    select
        part.org_id,
        part.period_month,
        part.model_id,
        sum(part.usage_rows) as usage_rows,
        sum(part.subtotal_picousd) as subtotal_picousd
    from (
        select
            volume.org_id,
            volume.period_month,
            volume.model_id,
            volume.usage_rows,
            volume.subtotal_picousd
        from volumes as volume
        union all
        select
            tier.org_id,
            tier.period_month,
            tier.model_id,
            0 as usage_rows,
            tier.discount_picousd
        from volume_discounts as tier
    ) as part
    group by part.org_id, part.period_month, part.model_id
),

discounts as (
    select distinct on (of_model.org_id, of_model.period_month, of_model.model_id)
        of_model.*,
        discount.basis_points,
        -round(of_model.subtotal_picousd * discount.basis_points * 0.0001) as discount_picousd
    from of_models as of_model
    inner join {{ ref('stg_control__discounts') }} as discount
        on
            of_model.org_id = discount.org_id
            and discount.months @> of_model.period_month
            and (discount.model_id is null or of_model.model_id = discount.model_id)
    order by of_model.org_id, of_model.period_month, of_model.model_id, (discount.model_id is null)
),

lines as (
    select
        line.org_id,
        line.period_month,
        'usage' as kind,
        line.project_id,
        line.model_id,
        line.price_id,
        line.token_class,
        null::bigint as above_quantity,
        null::integer as basis_points,
        line.usage_rows,
        line.quantity,
        line.unit_price_picousd,
        line.subtotal_picousd,
        concat_ws('/', line.project_id, line.model_id, line.price_id, line.token_class) as is_for,
        format(
            'select coalesce(%s, 0) * %s from raw.usage_events where org_id = %s and project_id = %s and price_id = %s'
            || ' and charge_class = ''charged''',
            line.expression, line.unit_price_picousd, line.org_id, line.project_id, line.price_id
        ) as query
    from usage_lines as line
    union all
    select
        tier.org_id,
        tier.period_month,
        'volume_discount' as kind,
        null as project_id,
        tier.model_id,
        null as price_id,
        tier.token_class,
        tier.above_quantity,
        tier.basis_points,
        tier.usage_rows,
        tier.quantity_in_tier,
        null as unit_price_picousd,
        tier.discount_picousd,
        concat_ws('/', 'volume_discount', tier.model_id, tier.token_class, tier.above_quantity) as is_for,
        format(
            'select -div(2 * greatest(%s - %s, 0) * sum(subtotal_picousd) * %s + sum(quantity) * 10000,'
            || ' 2 * sum(quantity) * 10000) from marts.invoice_lines where org_id = %s and status = ''draft'''
            || ' and period_month = %L and model_id = %s and kind = ''usage'' and token_class = %L',
            case
                when tier.up_to_quantity is null then 'sum(quantity)'
                else format('least(sum(quantity), %s)', tier.up_to_quantity)
            end,
            tier.above_quantity, tier.basis_points, tier.org_id, tier.period_month, tier.model_id, tier.token_class
        ) as query
    from volume_discounts as tier
    where tier.discount_picousd <> 0
    union all
    select
        discount.org_id,
        discount.period_month,
        'discount' as kind,
        null as project_id,
        discount.model_id,
        null as price_id,
        null as token_class,
        null as above_quantity,
        discount.basis_points,
        discount.usage_rows,
        1 as quantity,
        null as unit_price_picousd,
        discount.discount_picousd,
        concat_ws('/', 'discount', discount.model_id) as is_for,
        format(
            'select -round(sum(subtotal_picousd) * %s * 0.0001) from marts.invoice_lines where org_id = %s and status = ''draft'''
            || ' and period_month = %L and model_id = %s and kind in (''usage'', ''volume_discount'')',
            discount.basis_points, discount.org_id, discount.period_month, discount.model_id
        ) as query
    from discounts as discount
    where discount.discount_picousd <> 0
)

select
    'il_'
    || left(encode(sha256(concat_ws('/', period.organization, line.period_month, line.is_for)::bytea), 'hex'), 24) as line_key,
    line.org_id,
    line.period_month,
    period.period_starts_at,
    period.period_ends_at,
    period.currency,
    line.kind,
    line.project_id,
    line.model_id,
    line.price_id,
    line.token_class,
    line.above_quantity,
    line.basis_points,
    line.usage_rows::bigint as usage_rows,
    line.quantity::numeric(38, 0) as quantity,
    line.unit_price_picousd,
    line.subtotal_picousd::numeric(38, 0) as subtotal_picousd,
    -- Multiplied and not divided: exact, however large.
    round(line.subtotal_picousd * 0.000000000001, 2)::numeric(20, 2) as amount,
    line.query
    || case
        when line.kind = 'usage'
            then
                format(
                    ' and started_at >= %L and started_at < %L',
                    period.period_starts_at at time zone 'UTC' || '+00', period.period_ends_at at time zone 'UTC' || '+00'
                )
        else ''
    end as query,
    period.computed_at,
    (select max(usage.as_of_xid) from {{ ref('int_usage_quarter_hours') }} as usage) as as_of_xid
from lines as line
inner join periods as period on line.org_id = period.org_id and line.period_month = period.period_month
