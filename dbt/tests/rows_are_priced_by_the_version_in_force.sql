-- A warning that names the rows; what blocks invoices is the gate, which sees the same money in the lines.
{{ config(severity='warn') }}

-- The router priced each row; the price book prices it again. The last two days with rows: older ones were compared then.
with compared as (
    select event.*
    from {{ ref('stg_router__usage_events') }} as event
    where
        event.started_at >= (
            -- A row from a clock that is ahead must not make the last two days those of the future.
            select max(daily.last_started_at) - interval '2 days'
            from {{ ref('usage_daily') }} as daily
            where daily.last_started_at <= now()
        )
        and event.price_id is not null
)

select
    compared.request_id,
    compared.attempt,
    compared.cost_picousd,
    (compared.input_tokens - compared.cached_input_tokens)::numeric * price.input_picousd
    + compared.cached_input_tokens::numeric * price.cached_input_picousd
    + compared.output_tokens::numeric * price.output_picousd as cost_by_the_book
from compared
left join {{ ref('stg_control__prices') }} as price on compared.price_id = price.price_id
where
    price.price_id is null
    or compared.model_id is distinct from price.model_id
    or not price.effective @> compared.started_at
    or (price.org_id is not null and price.org_id <> compared.org_id)
    or (
        compared.charge_class = 'charged'
        and compared.cost_picousd is distinct from
        (compared.input_tokens - compared.cached_input_tokens)::numeric * price.input_picousd
        + compared.cached_input_tokens::numeric * price.cached_input_picousd
        + compared.output_tokens::numeric * price.output_picousd
    )
    or (compared.charge_class <> 'charged' and coalesce(compared.cost_picousd, 0) <> 0)
