-- name: find_organization
select id, public_id, name, time_zone, suspended_at, totp_required, version
from control.organizations
where public_id = %(public_id)s and deleted_at is null

-- name: find_organization_by_id
select id, public_id, name, time_zone, suspended_at, totp_required, version
from control.organizations
where id = %(org_id)s and deleted_at is null

-- name: organizations_of_user
select o.id, o.public_id, o.name, o.time_zone, o.suspended_at, o.totp_required, o.version
from control.organizations as o
inner join control.org_members as m on m.org_id = o.id
where m.user_id = %(user_id)s and o.deleted_at is null
order by o.id
limit 2

-- name: roles
select
    (select m.role from control.org_members as m where m.org_id = %(org_id)s and m.user_id = %(user_id)s) as organization_role,
    (
        select coalesce(jsonb_object_agg(p.project_id::text, p.role), '{}')
        from control.project_members as p
        where p.org_id = %(org_id)s and p.user_id = %(user_id)s
    ) as project_roles

-- name: find_project
select id, public_id, name, archived_at, created_at, version
from control.projects
where org_id = %(org_id)s and public_id = %(public_id)s
