-- name: begin
select
    set_config('transaction_read_only', 'on', true), set_config('statement_timeout', %(timeout_ms)s::text, true),
    set_config('inferhouse.org_id', coalesce(%(org_id)s::text, ''), true)

-- name: completeness
select complete_to, computed_at, usage_rows, rows_quarantined, estimated_share from marts.completeness

-- name: usage_by_hour
select
    hour_utc, coalesce(model, '—') as model, sum(requests)::bigint as requests, sum(input_tokens)::bigint as input_tokens,
    sum(cached_input_tokens)::bigint as cached_input_tokens, sum(output_tokens)::bigint as output_tokens,
    sum(cost_picousd) as cost_picousd
from marts.usage_hourly
where hour_utc >= %(since)s and hour_utc < %(until)s
group by 1, 2
order by 1, 2

-- name: usage_by_day
select
    (hour_utc at time zone %(zone)s)::date as day, coalesce(model, '—') as model, sum(requests)::bigint as requests,
    sum(input_tokens)::bigint as input_tokens, sum(cached_input_tokens)::bigint as cached_input_tokens,
    sum(output_tokens)::bigint as output_tokens, sum(cost_picousd) as cost_picousd
from marts.usage_hourly
where
    hour_utc >= %(since)s and hour_utc < %(until)s
    and (%(projects)s::text[] = '{}' or project = any(%(projects)s::text[]))
    and (%(models)s::text[] = '{}' or coalesce(model, '—') = any(%(models)s::text[]))
    and (%(api_keys)s::text[] = '{}' or api_key = any(%(api_keys)s::text[]))
group by 1, 2
order by 1, 2

-- name: usage_by_day_and_key
select
    (hour_utc at time zone %(zone)s)::date as day, project, api_key, coalesce(model, '—') as model,
    sum(requests)::bigint as requests, sum(input_tokens)::bigint as input_tokens,
    sum(cached_input_tokens)::bigint as cached_input_tokens, sum(output_tokens)::bigint as output_tokens,
    sum(cost_picousd) as cost_picousd
from marts.usage_hourly
where
    hour_utc >= %(since)s and hour_utc < %(until)s
    and (%(projects)s::text[] = '{}' or project = any(%(projects)s::text[]))
    and (%(models)s::text[] = '{}' or coalesce(model, '—') = any(%(models)s::text[]))
    and (%(api_keys)s::text[] = '{}' or api_key = any(%(api_keys)s::text[]))
group by 1, 2, 3, 4
order by 1 desc, 2, 3, 4
limit %(rows_max)s

-- name: usage_choices
select
    array_agg(distinct project) as projects, array_agg(distinct coalesce(model, '—')) as models,
    array_agg(distinct api_key) as api_keys
from marts.usage_hourly
where hour_utc >= %(since)s and hour_utc < %(until)s

-- name: latest_requests
select
    started_at, request_id, attempt, model, engine, status, http_status, input_tokens, cached_input_tokens, output_tokens,
    cost_picousd, ttft_us, duration_us, stream
from marts.requests
where started_at >= %(since)s
order by started_at desc
limit %(rows_max)s

-- name: one_request
select * from marts.requests
where request_id = %(request_id)s and started_at >= %(since)s and started_at < %(until)s
order by attempt

-- name: invoices
select
    invoice, number, kind, purpose, corrects, status, period_month, lines, amount, tax_amount, total, credits_applied, due, digest,
    certificate, finalized_at
from marts.invoices
order by period_month desc, finalized_at desc nulls first, number desc
limit %(rows_max)s

-- name: invoice_lines
select
    line_id, period_month, kind, adjusts, project, model, token_class, quantity, unit_price_picousd, subtotal_picousd, amount,
    row_set_digest, query
from marts.invoice_lines
where
    (%(invoice)s::text is not null and invoice = %(invoice)s::text)
    or (%(invoice)s::text is null and invoice is null and period_month = %(month)s::date)
order by period_month, kind desc, project, model, price_id, token_class, above_quantity
limit %(rows_max)s

-- name: forecast
select day_utc, cost_picousd, cost_picousd_low, cost_picousd_high, interval_share, days_of_history
from marts.spend_forecast
order by day_utc

-- name: organizations
select
    completeness.org_id, completeness.organization, completeness.complete_to, completeness.rows_quarantined,
    coalesce(sum(usage.requests), 0)::bigint as requests, coalesce(sum(usage.input_tokens), 0)::bigint as input_tokens,
    coalesce(sum(usage.cached_input_tokens), 0)::bigint as cached_input_tokens,
    coalesce(sum(usage.output_tokens), 0)::bigint as output_tokens, coalesce(sum(usage.cost_picousd), 0) as cost_picousd
from marts.completeness as completeness
left join marts.usage_hourly as usage on completeness.org_id = usage.org_id and usage.hour_utc >= %(since)s
group by 1, 2, 3, 4
order by cost_picousd desc, organization
limit %(rows_max)s

-- name: engines
select
    hour.engine, hour.model, hour.hour_utc, hour.output_tokens_per_second, hour.kv_cache_usage_avg, hour.kv_cache_usage_max,
    hour.waiting_avg, hour.restarts, hour.cost_picousd, hour.margin_picousd, day.day_utc, day.status, day.drift_share
from (
    select distinct on (engine_id) * from marts.engine_hourly
    where hour_utc >= %(since)s
    order by engine_id, hour_utc desc
) as hour
left join lateral (
    select day_utc, status, drift_share from marts.reconciliation_daily
    where engine_id = hour.engine_id
    order by day_utc desc
    limit 1
) as day on true
order by hour.engine
limit %(rows_max)s
