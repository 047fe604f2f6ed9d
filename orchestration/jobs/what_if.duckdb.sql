-- name: cost
-- Each charged row of a month at the price that the book has for it: of the versions in force whose conditions hold, the
-- organization's own before the list price, then the highest priority. Sums are 128 bits wide, so exact.
with used as (
    select
        event.filename, event.file_row_number, event.started_at, event.org_id, event.endpoint, event.tags, event.price_id,
        coalesce($model_id, event.model_id) as model_id,
        event.cost_picousd,
        event.input_tokens,
        case when $without_cache then 0 else event.cached_input_tokens end as cached_input_tokens,
        event.output_tokens, event.reasoning_tokens
    from read_parquet($paths, union_by_name = true, filename = true, file_row_number = true) as event
    inner join organizations as organization
        on
            event.org_id = organization.org_id
            and event.started_at >= organization.period_starts_at and event.started_at < organization.period_ends_at
    where event.charge_class = 'charged'
),

priced as (
    select
        used.*,
        price.price,
        (price.price is not null) as has_price
    from used
    left join (
        select
            used.filename, used.file_row_number,
            arg_max(
                struct_pack(
                    input := price.input_picousd, cached := price.cached_input_picousd, output := price.output_picousd,
                    reasoning := coalesce(price.reasoning_picousd, price.output_picousd), request := price.request_picousd
                ),
                (case when price.org_id is null then 0 else 100000 end) + price.priority
            ) as price
        from used
        inner join book as price
            on
                used.model_id = price.model_id
                and (price.org_id is null or price.org_id = used.org_id)
                and used.started_at >= price.effective_from and used.started_at < price.effective_to
                and (price.endpoint is null or price.endpoint = used.endpoint)
                and used.input_tokens >= price.input_tokens_from and used.input_tokens < price.input_tokens_to
                and (price.tags = '{}' or json_contains(coalesce(used.tags, '{}')::json, price.tags::json))
        where not $same_prices or used.price_id = price.price_id
        group by used.filename, used.file_row_number
    ) as price
        on used.filename = price.filename and used.file_row_number = price.file_row_number
)

select
    priced.org_id,
    count(*) as usage_rows,
    count(*) filter (where not priced.has_price) as rows_unpriced,
    coalesce(sum(priced.cost_picousd::hugeint), 0) as actual_picousd,
    coalesce(
        sum(
            (priced.input_tokens - priced.cached_input_tokens)::hugeint * priced.price.input
            + priced.cached_input_tokens::hugeint * priced.price.cached
            + (priced.output_tokens - priced.reasoning_tokens)::hugeint * priced.price.output
            + priced.reasoning_tokens::hugeint * priced.price.reasoning
            + priced.price.request
        ),
        0
    ) as what_if_picousd
from priced
group by priced.org_id
order by priced.org_id
