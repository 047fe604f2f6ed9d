-- name: lock_head
select sequence, mac from control.audit_head for update

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

-- name: head
select sequence, mac, head_mac from control.audit_head

-- name: chain
select
    sequence, public_id, org_id, project_id, effective_at, event_type, actor_type, actor_id, actor_email, ip::text as ip,
    request_id, target_id, before, after, previous_mac, mac
from control.audit_log
where sequence > %(after)s
order by sequence
limit %(rows_max)s

-- name: page
select
    l.sequence, l.public_id, l.effective_at, l.event_type, l.actor_type, l.actor_id, l.actor_email, host(l.ip) as ip,
    l.request_id, l.target_id, l.before, l.after, p.public_id as project
from control.audit_log as l
left join control.projects as p on p.id = l.project_id
where l.org_id = %(org_id)s
    and (%(after)s::text is null or l.sequence < (select a.sequence from control.audit_log as a where a.public_id = %(after)s))
    and (%(event_types)s::text[] is null or l.event_type = any(%(event_types)s::text[]))
    and (%(actor_ids)s::text[] is null or l.actor_id = any(%(actor_ids)s::text[]))
    and (%(target_ids)s::text[] is null or l.target_id = any(%(target_ids)s::text[]))
    and (%(project_ids)s::text[] is null or p.public_id = any(%(project_ids)s::text[]))
    and (%(since)s::timestamptz is null or l.effective_at >= %(since)s)
    and (%(until)s::timestamptz is null or l.effective_at < %(until)s)
order by l.sequence desc
limit %(rows_max)s
