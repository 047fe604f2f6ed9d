-- name: page
select id, public_id, name, role, created_by, created_at, version
from control.service_accounts
where org_id = %(org_id)s and project_id = %(project_id)s and deleted_at is null
    and (%(after)s::text is null or id > (
        select a.id from control.service_accounts as a where a.public_id = %(after)s and a.org_id = %(org_id)s
    ))
order by id
limit %(rows_max)s

-- name: find
select id, public_id, name, role, created_by, created_at, version
from control.service_accounts
where org_id = %(org_id)s and project_id = %(project_id)s and public_id = %(public_id)s and deleted_at is null

-- name: add
insert into control.service_accounts (public_id, org_id, project_id, name, role, created_by)
values (%(public_id)s, %(org_id)s, %(project_id)s, %(name)s, %(role)s, %(created_by)s)
returning id, public_id, name, role, created_by, created_at, version

-- name: remove
update control.service_accounts set deleted_at = now(), version = version + 1
where org_id = %(org_id)s and id = %(account_id)s and deleted_at is null
