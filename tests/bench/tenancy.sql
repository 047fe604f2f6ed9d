-- 10,000 organizations, 100,000 keys and a million audit entries; the first organization has a tenth of everything.
insert into control.organizations (public_id, name)
select 'org_' || lpad(i::text, 12, '0'), 'Organization ' || i from generate_series(1, 10000) as i;

insert into control.projects (public_id, org_id, name)
select 'proj_' || lpad(i::text, 12, '0'), case when i <= 2000 then 1 else 1 + i % 10000 end, 'Project ' || i
from generate_series(1, 20000) as i;

insert into control.users (public_id, email, name)
select 'user_' || lpad(i::text, 12, '0'), 'user' || i || '@bench.example', 'User ' || i from generate_series(1, 20000) as i;

insert into control.org_members (org_id, user_id, role)
select case when id <= 2000 then 1 else 1 + id % 10000 end, id, 'member' from control.users;

insert into control.project_members (org_id, project_id, user_id, role)
select m.org_id, p.id, m.user_id, 'member'
from control.org_members as m
inner join lateral (select p.id from control.projects as p where p.org_id = m.org_id order by p.id limit 3) as p on true;

insert into control.service_accounts (public_id, org_id, project_id, name)
select 'svc_' || lpad(id::text, 12, '0'), org_id, id, 'Account ' || id from control.projects;

insert into control.api_keys (public_id, secret_hash, kind, name, org_id, project_id, user_id)
select lpad(i::text, 16, '0'), decode(md5(i::text) || md5(i::text), 'hex'), 'inference', 'Key ' || i, p.org_id, p.id, m.user_id
from generate_series(1, 98000) as i
inner join control.projects as p on p.id = case when i <= 10000 then 1 + i % 20 else 1 + i % 20000 end
left join lateral (select user_id from control.project_members as m where m.project_id = p.id limit 1) as m on true;

insert into control.api_keys (public_id, secret_hash, kind, name, org_id, scopes)
select 'a' || lpad(i::text, 15, '0'), decode(md5(i::text) || md5(i::text), 'hex'), 'admin', 'Admin key ' || i,
    case when i <= 200 then 1 else 1 + i % 10000 end, '{admin}'
from generate_series(1, 2000) as i;

insert into control.invites (public_id, org_id, email, role, token_hash, invited_by, expires_at)
select 'invite_' || lpad(i::text, 12, '0'), case when i <= 1000 then 1 else 1 + i % 10000 end, 'new' || i || '@bench.example',
    'member', decode(md5(i::text) || md5(i::text), 'hex'), 'user_000000000001', now() + interval '7 days'
from generate_series(1, 10000) as i;

insert into control.budgets (public_id, org_id, project_id, period, limit_picousd)
select 'budget_' || lpad(id::text, 12, '0'), org_id, id, 'month', 1000000000000 from control.projects;

insert into control.limits (public_id, org_id, project_id, requests_per_minute)
select 'limit_' || lpad(id::text, 12, '0'), org_id, id, 100 from control.projects;

insert into control.audit_log (
    sequence, public_id, org_id, project_id, effective_at, event_type, actor_type, actor_id, actor_email, ip, request_id,
    target_id, before, after, previous_mac, mac
)
select i, 'audit_' || lpad(i::text, 12, '0'), s.org_id, case when i % 3 = 0 then s.org_id end,
    now() - (1000000 - i) * interval '30 seconds',
    (array['project.created', 'project.updated', 'api_key.created', 'api_key.deleted', 'user.updated', 'invite.sent', 'budget.created',
        'login.succeeded', 'login.failed', 'service_account.created'])[1 + (i / 7) % 10],
    'user', 'user_' || lpad((1 + (i * 7919) % 20000)::text, 12, '0'), 'user' || (1 + (i * 7919) % 20000) || '@bench.example',
    '192.0.2.1', gen_random_uuid(), 'proj_' || lpad((1 + (i * 31) % 20000)::text, 12, '0'),
    '{"name": "before", "version": 1}', '{"name": "after", "version": 2}', repeat('a', 32)::bytea, repeat('b', 32)::bytea
from generate_series(1::bigint, 1000000) as i
cross join lateral (select case when i % 10 = 0 then 1 else 1 + i % 10000 end as org_id) as s;

update control.audit_head set sequence = 1000000;
analyze;
