-- name: lock
select pg_advisory_lock(hashtextextended('inferhouse.reprice', 0))

-- name: dropped_days
select min(day), max(day) from archive.absent_days
where day between (%(first)s at time zone 'UTC')::date and (%(before)s at time zone 'UTC' - interval '1 microsecond')::date

-- name: earlier
select
    org_id,
    period_month,
    adjusts,
    project_id,
    model_id,
    price_id,
    corrected_price_id,
    token_class,
    above_quantity,
    quantity::text as quantity,
    subtotal_picousd::text as subtotal_picousd
from findings.adjustments
where period_month = %(month)s

-- name: unknown_rows
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
        cost_picousd,
        request_id,
        attempt,
        -- Of a client that left before the engine had stated anything it is known that it used nothing.
        (token_source <> 'none' or status = 'client_closed')::text
    from raw.usage_events
    where
        started_at >= %(first)s
        and started_at < %(before)s
        and recorded_xid < %(as_of_xid)s::xid8
        and charge_class = 'charged'
        and cost_picousd is null
) to stdout (format csv)

-- name: decided_rows
copy (
    select
        (extract(epoch from started_at) * 1000000)::bigint,
        org_id,
        request_id,
        attempt,
        is_metered::text
    from findings.decided_rows
    where period_month = %(month)s
    group by started_at, org_id, request_id, attempt, is_metered
    having sum(change) > 0
) to stdout (format csv)

-- name: names
select
    organization.id as org_id,
    organization.public_id as organization,
    project.id as project_id,
    project.public_id as project
from control.organizations as organization
left join control.projects as project on organization.id = project.org_id

-- name: models
select id as model_id, name as model from control.models

-- name: insert_run
insert into findings.repricing_runs (public_id, first_month, last_month, book, reason, author)
values (
    'reprice_' || replace(gen_random_uuid()::text, '-', ''), %(first_month)s, %(last_month)s, %(book)s, %(reason)s, %(author)s
)
returning id, public_id

-- name: insert_adjustment
insert into findings.adjustments (
    public_id, run_id, org_id, period_month, adjusts, project_id, model_id, price_id, corrected_price_id, token_class,
    above_quantity, quantity, subtotal_picousd, reason, author
) values (
    'adj_' || replace(gen_random_uuid()::text, '-', ''), %(run_id)s, %(org_id)s, %(period_month)s, %(adjusts)s, %(project_id)s,
    %(model_id)s, %(price_id)s, %(corrected_price_id)s, %(token_class)s, %(above_quantity)s, %(quantity)s, %(subtotal_picousd)s,
    %(reason)s, %(author)s
)

-- name: copy_decisions
copy findings.decided_rows (run_id, period_month, started_at, org_id, request_id, attempt, is_metered, change) from stdin
