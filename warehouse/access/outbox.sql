-- name: put_event
select control.put_event(%(org_id)s, %(event_type)s, %(data)s, %(once)s, %(webhook_id)s)

-- name: events
select e.id, e.public_id, e.event_type, e.data, e.created_at,
    (select count(*) from control.outbox_deliveries as d where d.event_id = e.id and d.status = 'waiting') as waiting,
    (select count(*) from control.outbox_deliveries as d where d.event_id = e.id and d.status = 'delivered') as delivered,
    (select count(*) from control.outbox_deliveries as d where d.event_id = e.id and d.status = 'failed') as failed
from control.outbox_events as e
where e.org_id = %(org_id)s and e.event_type <> 'webhook.test'
    and (%(event_type)s::text is null or e.event_type = %(event_type)s)
    and (%(after)s::text is null or e.id < (select a.id from control.outbox_events as a where a.public_id = %(after)s))
order by e.id desc
limit %(rows_max)s

-- name: deliveries
select
    d.id, d.public_id, e.public_id as event, e.event_type, w.public_id as webhook, d.email, d.status, d.tries, d.next_try_at,
    d.tried_at, d.delivered_at, d.http_status, d.error, d.created_at
from control.outbox_deliveries as d
inner join control.outbox_events as e on e.id = d.event_id
left join control.webhooks as w on w.id = d.webhook_id
where d.org_id = %(org_id)s
    and (%(status)s::text is null or d.status = %(status)s)
    and (%(webhook)s::text is null or w.public_id = %(webhook)s)
    and (%(event)s::text is null or e.public_id = %(event)s)
    and (%(after)s::text is null or d.id < (select a.id from control.outbox_deliveries as a where a.public_id = %(after)s))
order by d.id desc
limit %(rows_max)s

-- name: delivery
select
    d.id, d.public_id, e.public_id as event, e.event_type, w.public_id as webhook, d.email, d.status, d.tries, d.next_try_at,
    d.tried_at, d.delivered_at, d.http_status, d.error, d.created_at
from control.outbox_deliveries as d
inner join control.outbox_events as e on e.id = d.event_id
left join control.webhooks as w on w.id = d.webhook_id
where d.org_id = %(org_id)s and d.public_id = %(public_id)s

-- name: lock_delivery
select from control.outbox_deliveries where org_id = %(org_id)s and public_id = %(public_id)s for update

-- name: resend
update control.outbox_deliveries
set status = 'waiting', tries = 0, next_try_at = now(), error = null
where org_id = %(org_id)s and public_id = %(public_id)s

-- name: claim
with due as (
    select d.id, row_number() over (partition by d.org_id order by d.next_try_at, d.id) as place
    from control.outbox_deliveries as d
    where d.status = 'waiting' and d.next_try_at <= now()
        and (%(retries)s::boolean is null or (d.tries > 0) = %(retries)s)
),

taken as (
    select d.id
    from control.outbox_deliveries as d
    inner join due on due.id = d.id
    where due.place <= %(of_organization_max)s and d.status = 'waiting' and d.next_try_at <= now()
    order by due.place, d.next_try_at
    limit %(rows_max)s
    for update of d skip locked
),

claimed as (
    update control.outbox_deliveries as d
    set tries = d.tries + 1, next_try_at = now() + make_interval(secs => %(lease_s)s), tried_at = now()
    from taken
    where taken.id = d.id
    returning d.id, d.public_id, d.org_id, d.event_id, d.webhook_id, d.email, d.tries
)

select
    c.id, c.public_id, c.tries, c.email, e.public_id as event, e.event_type, e.data, e.created_at as event_at,
    o.name as organization, w.public_id as webhook, w.url, w.secret_serial, w.previous_secret_until,
    coalesce(w.deleted_at is null and (w.enabled or e.event_type = 'webhook.test'), true) as wanted
from claimed as c
inner join control.outbox_events as e on e.id = c.event_id
inner join control.organizations as o on o.id = c.org_id
left join control.webhooks as w on w.id = c.webhook_id

-- name: note_delivered
update control.outbox_deliveries
set status = 'delivered', delivered_at = now(), http_status = %(http_status)s, error = null
where id = %(id)s and status = 'waiting' and tries = %(tries)s

-- name: note_try
update control.outbox_deliveries
set next_try_at = now() + make_interval(secs => %(pause_s)s), http_status = %(http_status)s, error = %(error)s
where id = %(id)s and status = 'waiting' and tries = %(tries)s

-- name: note_failed
update control.outbox_deliveries
set status = 'failed', http_status = %(http_status)s, error = %(error)s
where id = %(id)s and status = 'waiting' and tries = %(tries)s

-- name: forget
delete from control.outbox_events
where id in (
    select e.id from control.outbox_events as e
    where e.created_at < now() - make_interval(days => %(days)s)
        and not exists (select from control.outbox_deliveries as d where d.event_id = e.id and d.status = 'waiting')
    order by e.created_at
    limit %(rows_max)s
)
