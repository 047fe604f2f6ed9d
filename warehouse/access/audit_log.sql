-- name: lock_head
select sequence, mac, head_mac from control.audit_head for update

-- name: add_entry
insert into control.audit_log (
    sequence, public_id, org_id, project_id, effective_at, event_type, actor_type, actor_id, actor_email, ip, request_id,
    target_id, before, after, previous_mac, mac
) values (
    %(sequence)s, %(public_id)s, %(org_id)s, %(project_id)s, %(effective_at)s, %(event_type)s, %(actor_type)s, %(actor_id)s,
    %(actor_email)s, %(ip)s, %(request_id)s, %(target_id)s, %(before)s, %(after)s, %(previous_mac)s, %(mac)s
)

-- name: move_head
update control.audit_head set sequence = %(sequence)s, mac = %(mac)s, head_mac = %(head_mac)s

-- name: chain
-- As text what a client's types would round or cannot hold: instants in microseconds (an owner could write infinity), JSON.
select
    sequence, public_id, org_id, project_id, trunc(extract(epoch from effective_at) * 1000000)::text as effective_at,
    event_type, actor_type, actor_id, actor_email, abbrev(ip) as ip, request_id::text as request_id, target_id,
    before::text as before, after::text as after, previous_mac, mac
from control.audit_log
where sequence > %(after)s
order by sequence

-- name: find
select effective_at, sequence
from control.audit_log
where public_id = %(public_id)s and (%(org_id)s::bigint is null or org_id = %(org_id)s)

-- name: page
-- One value is compared by itself: of one value an index gives the entries in the order of time, of several it does not.
select
    l.sequence, l.public_id, l.effective_at, l.event_type, l.actor_type, l.actor_id, l.actor_email, host(l.ip) as ip,
    l.request_id, l.target_id, l.before, l.after, p.public_id as project, p.name as project_name,
    o.public_id as organization
from control.audit_log as l
left join control.projects as p on p.id = l.project_id
left join control.organizations as o on o.id = l.org_id
where (%(org_id)s::bigint is null or l.org_id = %(org_id)s)
    and (
        %(after_at)s::timestamptz is null
        or (l.effective_at, l.sequence) < (%(after_at)s::timestamptz, %(after_sequence)s::bigint)
    )
    and (
        %(event_types)s::text[] is null
        or (cardinality(%(event_types)s::text[]) = 1 and l.event_type = (%(event_types)s::text[])[1])
        or (cardinality(%(event_types)s::text[]) <> 1 and l.event_type = any(%(event_types)s::text[]))
    )
    and (
        %(actor_ids)s::text[] is null
        or (cardinality(%(actor_ids)s::text[]) = 1 and l.actor_id = (%(actor_ids)s::text[])[1])
        or (cardinality(%(actor_ids)s::text[]) <> 1 and l.actor_id = any(%(actor_ids)s::text[]))
    )
    and (
        %(actor_emails)s::text[] is null
        or (cardinality(%(actor_emails)s::text[]) = 1 and l.actor_email = (%(actor_emails)s::text[])[1])
        or (cardinality(%(actor_emails)s::text[]) <> 1 and l.actor_email = any(%(actor_emails)s::text[]))
    )
    and (
        %(target_ids)s::text[] is null
        or (cardinality(%(target_ids)s::text[]) = 1 and l.target_id = (%(target_ids)s::text[])[1])
        or (cardinality(%(target_ids)s::text[]) <> 1 and l.target_id = any(%(target_ids)s::text[]))
    )
    and (
        %(project_ids)s::bigint[] is null
        or (cardinality(%(project_ids)s::bigint[]) = 1 and l.project_id = (%(project_ids)s::bigint[])[1])
        or (cardinality(%(project_ids)s::bigint[]) <> 1 and l.project_id = any(%(project_ids)s::bigint[]))
    )
    and (%(since)s::timestamptz is null or l.effective_at >= %(since)s)
    and (%(until)s::timestamptz is null or l.effective_at < %(until)s)
order by l.effective_at desc, l.sequence desc
limit %(rows_max)s

-- name: project_ids
select id from control.projects
where public_id = any(%(public_ids)s::text[]) and (%(org_id)s::bigint is null or org_id = %(org_id)s)
