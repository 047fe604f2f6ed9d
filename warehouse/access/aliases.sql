-- name: page
select id, public_id, name, stages, version, created_at
from control.model_aliases
where org_id is not distinct from %(org_id)s::bigint and deleted_at is null
    and (%(after)s::text is null or id > (select a.id from control.model_aliases as a where a.public_id = %(after)s))
order by id
limit %(rows_max)s

-- name: find
select id, public_id, name, stages, version, created_at
from control.model_aliases
where org_id is not distinct from %(org_id)s::bigint and public_id = %(public_id)s and deleted_at is null

-- name: lock
select id, public_id, name, stages, version, created_at
from control.model_aliases
where org_id is not distinct from %(org_id)s::bigint and public_id = %(public_id)s and deleted_at is null
for update

-- name: add
insert into control.model_aliases (public_id, org_id, name, stages)
values (%(public_id)s, %(org_id)s, %(name)s, %(stages)s)

-- name: change
update control.model_aliases set stages = %(stages)s, version = version + 1 where id = %(id)s

-- name: remove
update control.model_aliases set deleted_at = now(), version = version + 1 where id = %(id)s

-- name: is_name
-- Whether any alias of anybody has this name, and whether a model has it.
select
    exists (select from control.model_aliases where name = %(name)s and deleted_at is null) as is_alias,
    exists (select from control.models where name = %(name)s) as is_model

-- name: in_service
-- Which of these are models in service.
select name from control.models where name = any(%(names)s) and retired_at is null

-- name: hold_names
-- Models and aliases share their names: one transaction at a time makes some.
select pg_advisory_xact_lock(hashtext('control.model_aliases'))

-- name: count
select count(*) from control.model_aliases where org_id is not distinct from %(org_id)s::bigint and deleted_at is null
