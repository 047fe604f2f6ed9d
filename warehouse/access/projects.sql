-- name: page
select id, public_id, name, archived_at, created_at, version
from control.projects
where org_id = %(org_id)s
    and (%(member_user_id)s::bigint is null or exists (
        select from control.project_members as m where m.project_id = projects.id and m.user_id = %(member_user_id)s
    ))
    and (%(include_archived)s or archived_at is null)
    and (%(after)s::text is null or id > (select a.id from control.projects as a where a.public_id = %(after)s))
order by id
limit %(rows_max)s

-- name: add
insert into control.projects (public_id, org_id, name) values (%(public_id)s, %(org_id)s, %(name)s)
returning id, public_id, name, archived_at, created_at, version

-- name: lock
select id, public_id, name, archived_at, created_at, version
from control.projects
where org_id = %(org_id)s and id = %(project_id)s
for update

-- name: rename
update control.projects set name = %(name)s, version = version + 1
where org_id = %(org_id)s and id = %(project_id)s
returning id, public_id, name, archived_at, created_at, version

-- name: archive
update control.projects set archived_at = now(), version = version + 1
where org_id = %(org_id)s and id = %(project_id)s
returning id, public_id, name, archived_at, created_at, version
