-- Roles and what each may do. Applied on every deploy: the file is the truth, grants made by hand are not kept.
do $$
declare
    wanted text;
begin
    foreach wanted in array array[
        'inferhouse_router', 'inferhouse_management', 'inferhouse_transform',
        'inferhouse_portal', 'inferhouse_platform', 'inferhouse_dagster'
    ] loop
        if not exists (select from pg_roles where rolname = wanted) then
            execute format('create role %I login', wanted);
        end if;
    end loop;
    if not exists (select from pg_roles where rolname = 'inferhouse_tenant') then
        create role inferhouse_tenant nologin;
    end if;
    -- As whom the query of an invoice line is run: nobody logs in as it.
    if not exists (select from pg_roles where rolname = 'inferhouse_lines') then
        create role inferhouse_lines nologin;
    end if;
end
$$;

revoke create on schema public from public;
create schema if not exists staging;
create schema if not exists intermediate;
create schema if not exists marts;
create schema if not exists dagster;

-- Schemas and functions are handed over to other roles; the owner must be a member to do so.
do $$
begin
    if not pg_has_role(current_user, 'inferhouse_lines', 'member') then
        execute format('grant inferhouse_lines to %I', current_user);
    end if;
    if not pg_has_role(current_user, 'inferhouse_transform', 'member') then
        execute format('grant inferhouse_transform to %I', current_user);
    end if;
    if not pg_has_role(current_user, 'inferhouse_dagster', 'member') then
        execute format('grant inferhouse_dagster to %I', current_user);
    end if;
    execute format('grant create on database %I to inferhouse_transform', current_database());
    -- Dagster makes its tables without naming a schema.
    execute format('alter role inferhouse_dagster in database %I set search_path = dagster', current_database());
end
$$;
alter schema staging owner to inferhouse_transform;
alter schema intermediate owner to inferhouse_transform;
alter schema marts owner to inferhouse_transform;
alter schema dagster owner to inferhouse_dagster;

revoke all on all tables in schema control, raw from
inferhouse_router, inferhouse_management, inferhouse_transform, inferhouse_portal, inferhouse_platform, inferhouse_tenant,
inferhouse_lines;

grant usage on schema control, raw to inferhouse_router, inferhouse_management, inferhouse_transform;
grant usage on schema control to inferhouse_portal, inferhouse_platform, inferhouse_tenant;
grant usage on schema marts to inferhouse_portal, inferhouse_platform, inferhouse_tenant, inferhouse_management;

-- The router reads what it needs to admit and price a request, and adds usage rows; it can neither change nor delete one.
grant select on control.organizations, control.projects, control.api_keys, control.models, control.engines, control.prices,
control.model_aliases, control.budgets, control.limits
to inferhouse_router;
-- What budgets and limits on trial would have refused.
grant select, insert, update on control.shadow_refusals to inferhouse_router;
-- A router that finds a canary worse than the other engines stops it for all routers.
grant update (canary_stopped_at, canary_stopped_why) on control.engines to inferhouse_router;
-- Whose keys still work; nothing else of a person.
grant select (id, disabled_at, platform_admin) on control.users to inferhouse_router;
grant select (id, deleted_at) on control.service_accounts to inferhouse_router;
grant select (org_id, user_id, role) on control.org_members to inferhouse_router;
grant update (last_used_at) on control.api_keys to inferhouse_router;
grant select, insert on raw.usage_events to inferhouse_router;
grant select, insert, update, delete on raw.idempotent_answers to inferhouse_router;
grant select, insert, update, delete on raw.journal_positions to inferhouse_router;

grant select, insert, update, delete on all tables in schema control to inferhouse_management;
revoke update, delete, truncate on control.audit_log from inferhouse_management;
revoke insert, delete, truncate on control.audit_head from inferhouse_management;
-- SQL logins are made, changed and dropped by functions only, which check whose they are.
revoke insert, update, delete, truncate on control.sql_logins from inferhouse_management;
grant usage on all sequences in schema control to inferhouse_management;
grant select on raw.journal_positions to inferhouse_management;

grant select on raw.usage_events, raw.journal_positions to inferhouse_transform;
grant select (id, public_id, name, time_zone, currency, suspended_at, created_at)
on control.organizations to inferhouse_transform;
grant select on control.projects, control.service_accounts, control.models, control.prices, control.discounts,
control.volume_tiers
to inferhouse_transform;
grant select (id, name, kind, base_url, model_id, enabled, created_at) on control.engines to inferhouse_transform;
grant select (id, public_id, email, name) on control.users to inferhouse_transform;
grant select (id, public_id, kind, name, org_id, project_id, user_id, service_account_id, created_at, revoked_at)
on control.api_keys to inferhouse_transform;

alter default privileges for role inferhouse_transform in schema marts
grant select on tables to inferhouse_portal, inferhouse_platform, inferhouse_tenant, inferhouse_management;
