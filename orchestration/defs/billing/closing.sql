-- name: draft
select invoice, organization from billing.draft_invoices(%(month)s, %(author)s)

-- name: months_to_close
select distinct computed.period_month
from intermediate.int_billing_periods as computed
where
    computed.period_ends_at < now() - make_interval(days => %(grace_days)s)
    and (
        exists (
            select from intermediate.int_invoice_lines as line
            where line.org_id = computed.org_id and line.period_month = computed.period_month
        )
        or exists (
            select from findings.adjustments as adjustment
            where adjustment.org_id = computed.org_id and adjustment.period_month = computed.period_month
        )
    )
    and not exists (
        select from billing.invoices as invoice
        where
            invoice.org_id = computed.org_id
            and invoice.period_month = computed.period_month
            and invoice.purpose = 'month'
            and invoice.status = 'final'
    )
order by computed.period_month
limit 24

-- name: drafts_of_month
select public_id from billing.invoices
where status = 'draft' and purpose = 'month' and period_month = %(month)s
order by id

-- name: uncertified
select invoice.public_id
from billing.invoices as invoice
where
    invoice.status = 'draft'
    and invoice.digest is not null
    and not exists (
        select from billing.certificates as certificate
        where certificate.invoice_id = invoice.id and certificate.invoice_digest = invoice.digest
            and (certificate.passed or certificate.made_at > now() - make_interval(secs => %(again_s)s))
    )
order by invoice.id
limit 1000

-- name: marts
select name from unnest(%(names)s::text[]) as name where to_regclass(name) is not null

-- name: figures
with drafts as (
    select invoice.*, organization.public_id as organization
    from billing.invoices as invoice
    inner join control.organizations as organization on organization.id = invoice.org_id
    where invoice.status = 'draft' and invoice.public_id = any(%(invoices)s)
),

sums as (
    select
        drafts.id,
        sum(line.amount) as amount,
        sum(line.subtotal_picousd) as subtotal_picousd,
        count(*) filter (
            where coalesce(line.adjusts, line.kind) = 'usage' and (line.price_id is null or line.unit_price_picousd is null)
        ) as lines_unpriced,
        count(*) filter (where coalesce(line.adjusts, line.kind) = 'usage' and line.row_set_digest is null and line.usage_rows > 0)
            as lines_without_digest
    from drafts
    inner join billing.invoice_lines as line on line.invoice_id = drafts.id
    group by drafts.id
),

months as (
    select distinct
        drafts.id,
        line.org_id,
        line.period_month,
        line.period_starts_at,
        line.period_ends_at
    from drafts
    inner join billing.invoice_lines as line on line.invoice_id = drafts.id
),

of_months as (
    select
        months.id,
        sum(abs(billed.picousd - costs.picousd)) as rows_difference_picousd,
        sum(abs(costs.picousd - days.picousd)) as days_difference_picousd,
        sum(costs.rows_unpriced - decided.usage_rows) as rows_undecided,
        sum(missing.adjustments) as adjustments_missing,
        max(months.period_ends_at) as ends_at
    from months
    cross join lateral (
        select coalesce(sum(line.subtotal_picousd), 0) as picousd
        from billing.lines_up_to(months.id) as line
        where line.period_month = months.period_month and line.kind = 'usage'
    ) as billed
    cross join lateral (
        select coalesce(sum(usage.cost_picousd), 0) as picousd, coalesce(sum(usage.rows_unpriced), 0) as rows_unpriced
        from intermediate.int_usage_quarter_hours as usage
        where
            usage.org_id = months.org_id
            and usage.quarter_hour_at >= months.period_starts_at
            and usage.quarter_hour_at < months.period_ends_at
    ) as costs
    -- Of those, what re-pricing has billed. Rows that the quarters of hours do not have yet are not among them.
    cross join lateral (
        select coalesce(sum(decision.change), 0) as usage_rows
        from findings.decided_rows as decision
        where
            decision.org_id = months.org_id
            and decision.period_month = months.period_month
            and decision.started_at >= months.period_starts_at
            and decision.started_at < months.period_ends_at
            and not exists (
                select from raw.usage_events as event
                where
                    event.started_at = decision.started_at
                    and event.request_id = decision.request_id
                    and event.attempt = decision.attempt
                    and event.recorded_xid >= (select max(usage.as_of_xid) from intermediate.int_usage_quarter_hours as usage)
            )
    ) as decided
    cross join lateral (
        select count(*) as adjustments
        from findings.adjustments as adjustment
        where
            adjustment.org_id = months.org_id
            and adjustment.period_month = months.period_month
            and not exists (select from billing.lines_up_to(months.id) as line where line.line_key = adjustment.public_id)
    ) as missing
    -- Days of UTC within the month, and the quarters of hours before the first and behind the last of them.
    cross join lateral (
        select
            coalesce((
                select sum(daily.cost_picousd)
                from marts.usage_daily as daily
                where daily.org_id = months.org_id
                    and daily.day_utc >= date_trunc('day', months.period_starts_at + interval '1 day - 1 microsecond', 'UTC')
                    at time zone 'UTC'
                    and daily.day_utc < date_trunc('day', months.period_ends_at, 'UTC') at time zone 'UTC'
            ), 0) + coalesce((
                select sum(usage.cost_picousd)
                from intermediate.int_usage_quarter_hours as usage
                where usage.org_id = months.org_id
                    and usage.quarter_hour_at >= months.period_starts_at and usage.quarter_hour_at < months.period_ends_at
                    and (
                        usage.quarter_hour_at
                        < date_trunc('day', months.period_starts_at + interval '1 day - 1 microsecond', 'UTC')
                        or usage.quarter_hour_at >= date_trunc('day', months.period_ends_at, 'UTC')
                    )
            ), 0) as picousd
    ) as days
    group by months.id
)

select
    drafts.public_id as invoice,
    drafts.organization,
    drafts.org_id,
    drafts.purpose,
    drafts.period_month,
    drafts.period_starts_at,
    drafts.period_ends_at,
    drafts.digest,
    (select array_agg(distinct months.period_month) from months where months.id = drafts.id) as months,
    coalesce((select min(months.period_month) from months where months.id = drafts.id), drafts.period_month) as first_month,
    coalesce((select max(months.period_month) from months where months.id = drafts.id), drafts.period_month) as last_month,
    coalesce(of_months.rows_undecided, 0)::bigint as rows_undecided,
    coalesce(of_months.adjustments_missing, 0)::bigint as adjustments_missing,
    coalesce(sums.lines_unpriced, 0)::bigint as lines_unpriced,
    coalesce(sums.lines_without_digest, 0)::bigint as lines_without_digest,
    coalesce(drafts.amount - sums.amount, 0) as lines_difference_usd,
    coalesce(drafts.subtotal_picousd - sums.subtotal_picousd, 0) as lines_difference_picousd,
    coalesce(of_months.rows_difference_picousd, 0) as rows_difference_picousd,
    coalesce(of_months.days_difference_picousd, 0) as days_difference_picousd,
    completeness.complete_to,
    coalesce(completeness.complete_to >= of_months.ends_at, false) as is_complete,
    drafts.digest = billing.digest_of(drafts.id) as digest_holds
from drafts
left join sums on sums.id = drafts.id
left join of_months on of_months.id = drafts.id
left join marts.completeness as completeness on completeness.org_id = drafts.org_id
order by drafts.id

-- name: engine_days
select day_utc, engine, status, is_settled
from marts.reconciliation_daily
where
    day_utc >= (%(starts_at)s at time zone 'UTC')::date
    and day_utc < (%(ends_at)s at time zone 'UTC' + interval '1 day - 1 microsecond')::date
    and (status <> 'ok' or not is_settled)
order by day_utc, engine
limit 1000

-- name: missing_hours
select hourly.hour_utc, hourly.engine, hourly.input_tokens + hourly.output_tokens as tokens
from marts.engine_hourly as hourly
where
    hourly.hour_utc >= %(starts_at)s
    and hourly.hour_utc < %(ends_at)s
    and hourly.input_tokens + hourly.output_tokens > 0
    and hourly.usage_rows = 0
    -- A request that began in the hour before may have been counted in this one.
    and not exists (
        select from raw.usage_events as event
        where
            event.engine_id = hourly.engine_id
            and event.started_at >= hourly.hour_utc - interval '1 hour'
            and event.started_at < hourly.hour_utc
            and event.finished_at >= hourly.hour_utc
    )
order by hourly.hour_utc, hourly.engine
limit 1000

-- name: certify
select billing.certify(%(invoice)s, %(digest)s, %(passed)s, %(checks)s, %(author)s)

-- name: tell_blocked
select billing.put_invoice_event(invoice.id, 'invoice.blocked', %(about)s)
from billing.invoices as invoice where invoice.public_id = %(invoice)s

-- name: finalize
select billing.finalize_invoice(%(invoice)s, %(author)s)

-- name: passed
select invoice.public_id
from billing.invoices as invoice
where
    invoice.status = 'draft'
    and invoice.public_id = any(%(invoices)s)
    and (
        select certificate.passed and certificate.invoice_digest = invoice.digest
        from billing.certificates as certificate
        where certificate.invoice_id = invoice.id
        order by certificate.id desc
        limit 1
    )
order by invoice.id
