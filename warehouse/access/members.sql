-- name: page
select u.id as user_id, u.public_id, u.email, u.name, m.role, m.created_at, m.version
from control.org_members as m
inner join control.users as u on u.id = m.user_id
where m.org_id = %(org_id)s
    and (%(emails)s::text[] is null or lower(u.email) = any(%(emails)s::text[]))
    and (%(role)s::text is null or m.role = %(role)s)
    and (%(after)s::text is null or u.id > (select a.id from control.users as a where a.public_id = %(after)s))
order by u.id
limit %(rows_max)s

-- name: find
select u.id as user_id, u.public_id, u.email, u.name, m.role, m.created_at, m.version
from control.org_members as m
inner join control.users as u on u.id = m.user_id
where m.org_id = %(org_id)s and u.public_id = %(public_id)s

-- name: lock
select id from control.organizations where id = %(org_id)s for no key update

-- name: owners
select count(*)::integer
from control.org_members as m
inner join control.users as u on u.id = m.user_id
where m.org_id = %(org_id)s and m.role = 'owner' and u.disabled_at is null

-- name: set_role
update control.org_members set role = %(role)s, version = version + 1
where org_id = %(org_id)s and user_id = %(user_id)s

-- name: remove
delete from control.org_members where org_id = %(org_id)s and user_id = %(user_id)s

-- name: project_page
select u.id as user_id, u.public_id, u.email, u.name, p.role, p.created_at, p.version
from control.project_members as p
inner join control.users as u on u.id = p.user_id
where p.org_id = %(org_id)s and p.project_id = %(project_id)s
    and (%(after)s::text is null or u.id > (select a.id from control.users as a where a.public_id = %(after)s))
order by u.id
limit %(rows_max)s

-- name: project_find
select u.id as user_id, u.public_id, u.email, u.name, p.role, p.created_at, p.version
from control.project_members as p
inner join control.users as u on u.id = p.user_id
where p.org_id = %(org_id)s and p.project_id = %(project_id)s and u.public_id = %(public_id)s

-- name: project_add
insert into control.project_members (org_id, project_id, user_id, role)
values (%(org_id)s, %(project_id)s, %(user_id)s, %(role)s)

-- name: project_set_role
update control.project_members set role = %(role)s, version = version + 1
where org_id = %(org_id)s and project_id = %(project_id)s and user_id = %(user_id)s

-- name: project_remove
delete from control.project_members
where org_id = %(org_id)s and project_id = %(project_id)s and user_id = %(user_id)s

-- name: forget_totp
update control.users
set totp_secret = null, totp_enabled_at = null, totp_step_last = null, version = version + 1
where id = %(user_id)s and totp_secret is not null
    and exists (select from control.org_members as m where m.org_id = %(org_id)s and m.user_id = users.id)
