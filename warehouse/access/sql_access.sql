-- name: page
select role_name::text as login, name, created_by, created_at, rotated_at, current_database()::text as database
from control.sql_logins
where org_id = %(org_id)s and (%(after)s::text is null or role_name > %(after)s::name)
order by role_name
limit %(rows_max)s

-- name: find
select role_name::text as login, name, created_by, created_at, rotated_at, current_database()::text as database
from control.sql_logins
where org_id = %(org_id)s and role_name = %(login)s::name

-- name: count
select count(*)::integer from control.sql_logins where org_id = %(org_id)s

-- name: lock
select pg_advisory_xact_lock(hashtextextended('inferhouse.sql_access', %(org_id)s::bigint))

-- name: add
select control.add_sql_access(%(login)s, %(org_id)s, %(name)s, %(verifier)s, %(created_by)s)

-- name: rotate
select control.rotate_sql_access(%(login)s, %(org_id)s, %(verifier)s)

-- name: remove
select control.drop_sql_access(%(login)s, %(org_id)s)
