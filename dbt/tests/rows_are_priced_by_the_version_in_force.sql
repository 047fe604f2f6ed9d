-- A warning that names the rows; what blocks invoices is the gate, which sees the same money in the lines.
{{ config(severity='warn') }}

-- The router priced each row; the price book chooses and prices again. The last two days with rows: older ones were compared
-- then.
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
    compared.price_id,
    compared.cost_picousd,
    book.price_id as price_id_by_the_book,
    book.cost_picousd as cost_by_the_book
from compared
left join lateral (
    select
        price.price_id,
        (compared.input_tokens - compared.cached_input_tokens)::numeric * price.input_picousd
        + compared.cached_input_tokens::numeric * price.cached_input_picousd
        + (compared.output_tokens - compared.reasoning_tokens)::numeric * price.output_picousd
        + compared.reasoning_tokens::numeric * coalesce(price.reasoning_picousd, price.output_picousd)
        + price.request_picousd as cost_picousd
    from {{ ref('stg_control__prices') }} as price
    where
        price.model_id = compared.model_id
        and (price.org_id is null or price.org_id = compared.org_id)
        and price.effective @> compared.started_at
        and (price.endpoint is null or price.endpoint = compared.endpoint)
        and price.input_tokens_range @> compared.input_tokens
        and coalesce(compared.tags, '{}') @> price.tags
    order by price.org_id asc nulls last, price.priority desc
    limit 1
) as book on true
where
    compared.price_id is distinct from book.price_id
    or (compared.charge_class = 'charged' and compared.cost_picousd is distinct from book.cost_picousd)
    or (compared.charge_class <> 'charged' and coalesce(compared.cost_picousd, 0) <> 0)
