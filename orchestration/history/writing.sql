-- name: has_history
select exists (select from control.organizations as o where o.public_id like 'org\_demo%')

-- name: has_other_rows
-- An organization of a demonstration has a member at the domain that RFC 2606 keeps for examples, as `make up` makes one.
select exists (
    select from raw.usage_events as e
    inner join control.organizations as o on e.org_id = o.id
    where not exists (
        select from control.org_members as m
        inner join control.users as u on m.user_id = u.id
        where m.org_id = o.id and u.email like '%@demo.example'
    )
)

-- name: copy_organizations
copy control.organizations (id, public_id, name, time_zone, created_at) from stdin

-- name: copy_projects
copy control.projects (id, public_id, org_id, name, created_at) from stdin

-- name: copy_users
copy control.users (id, public_id, email, name, created_at) from stdin

-- name: copy_members
copy control.org_members (org_id, user_id, role, created_at) from stdin

-- name: copy_service_accounts
copy control.service_accounts (id, public_id, org_id, project_id, name, created_at) from stdin

-- name: copy_models
copy control.models (id, name, context_tokens_max, output_tokens_max, retired_at, created_at) from stdin

-- name: copy_prices
copy control.prices (id, model_id, org_id, input_picousd, cached_input_picousd, output_picousd, effective, reason, created_at)
from stdin

-- name: copy_engines
copy control.engines (id, name, kind, base_url, model_id, enabled, created_at) from stdin

-- name: copy_api_keys
copy control.api_keys
(id, public_id, secret_hash, kind, name, org_id, project_id, user_id, service_account_id, created_at) from stdin

-- name: put_owner
insert into control.org_members (org_id, user_id, role)
select o.id, u.id, 'owner'
from control.organizations as o cross join control.users as u
where o.public_id like 'org\_demo%' and lower(u.email) = lower(%(email)s)

-- name: create_sent_again
create temporary table sent_again (like raw.usage_events including defaults) on commit delete rows

-- name: insert_sent_again
insert into raw.usage_events select * from sent_again on conflict do nothing

-- name: size
-- Without indexes, and the indexes.
select
    coalesce(sum(pg_table_size(c.oid)), 0)::bigint as table_bytes,
    coalesce(sum(pg_indexes_size(c.oid)), 0)::bigint as index_bytes
from pg_catalog.pg_inherits as i
inner join pg_catalog.pg_class as c on i.inhrelid = c.oid
where i.inhparent = 'raw.usage_events'::regclass
