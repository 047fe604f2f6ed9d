-- name: book
select
    id as price_id,
    model_id,
    org_id,
    priority,
    endpoint::text as endpoint,
    lower(input_tokens_range)::bigint as input_tokens_from,
    upper(input_tokens_range)::bigint as input_tokens_below,
    coalesce(
        (select array_agg(array[tag.key, tag.value] order by tag.key) from jsonb_each_text(tags) as tag (key, value)), '{}'
    ) as tags,
    lower(effective) as effective_from,
    upper(effective) as effective_before,
    input_picousd,
    cached_input_picousd,
    output_picousd,
    reasoning_picousd,
    request_picousd
from control.prices
order by id

-- name: discounts
select
    org_id,
    model_id,
    basis_points,
    lower(months) as first_month,
    upper(months) as before_month
from control.discounts
order by id

-- name: volume_tiers
select
    model_id,
    org_id,
    token_class,
    above_quantity,
    basis_points,
    lower(months) as first_month,
    upper(months) as before_month
from control.volume_tiers
order by id

-- name: organizations
select id as org_id, time_zone from control.organizations order by id

-- name: rows
copy (
    select
        (extract(epoch from started_at) * 1000000)::bigint,
        org_id,
        project_id,
        model_id,
        endpoint,
        tags,
        charge_class,
        input_tokens,
        cached_input_tokens,
        output_tokens,
        reasoning_tokens,
        price_id,
        cost_picousd
    from raw.usage_events
    where
        started_at >= %(first)s
        and started_at < %(before)s
        and recorded_xid < %(as_of_xid)s::xid8
) to stdout (format csv)

-- name: snapshot_xid
select pg_snapshot_xmin(pg_current_snapshot())::text
