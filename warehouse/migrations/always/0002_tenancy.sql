-- The second wall between tenants: whose rows may this session see?
create or replace function control.current_org_id() returns bigint
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    -- Only the portal and the management API may choose by a setting; they check the caller's membership first. A SQL
    -- login is bound to its organization by name, whatever it sets.
    if session_user in ('inferhouse_portal', 'inferhouse_management') then
        return nullif(current_setting('inferhouse.org_id', true), '')::bigint;
    end if;
    return (select org_id from control.sql_logins where role_name = session_user);
end
$$;
revoke all on function control.current_org_id() from public;
grant execute on function control.current_org_id() to
inferhouse_portal, inferhouse_platform, inferhouse_tenant, inferhouse_transform, inferhouse_management;

-- Creates or replaces the read-only login of one organization.
create or replace function control.create_sql_login(login name, for_org_id bigint, login_password text) returns void
language plpgsql as $$
begin
    if not exists (select from pg_roles where rolname = login) then
        execute format('create role %I login in role inferhouse_tenant connection limit 10', login);
    elsif login = current_user or not pg_has_role(login, 'inferhouse_tenant', 'member') then
        -- Its password would be replaced below: a service would be locked out, or an organization let in as one.
        raise exception '% is no SQL login of an organization', login using errcode = 'invalid_role_specification';
    end if;
    execute format('alter role %I password %L', login, login_password);
    execute format('alter role %I set statement_timeout = ''60s''', login);
    execute format('alter role %I set default_transaction_read_only = on', login);
    execute format('alter role %I set search_path = marts', login);
    insert into control.sql_logins (role_name, org_id) values (login, for_org_id)
    on conflict (role_name) do update set org_id = excluded.org_id;
end
$$;
revoke all on function control.create_sql_login(name, bigint, text) from public;

-- Whether this session of the management API works for the platform (sign-in, platform admins) and not for one organization.
create or replace function control.sees_platform() returns boolean
language sql stable
set search_path = pg_catalog, pg_temp
as $$
select session_user = 'inferhouse_management' and current_setting('inferhouse.platform', true) = 'on'
$$;

-- The management API writes as a role that sees one organization a transaction, even if a query forgets to say which.
do $$
declare
    of_organization text;
begin
    foreach of_organization in array array[
        'projects', 'org_members', 'project_members', 'invites', 'service_accounts', 'api_keys', 'budgets', 'limits',
        'audit_log', 'sql_logins'
    ] loop
        execute format('alter table control.%I enable row level security', of_organization);
        execute format('drop policy if exists management_rows on control.%I', of_organization);
        execute format(
            'create policy management_rows on control.%I to inferhouse_management '
            'using ((select control.sees_platform()) or org_id = (select control.current_org_id())) '
            'with check ((select control.sees_platform()) or org_id is not distinct from (select control.current_org_id()))',
            of_organization
        );
        execute format('drop policy if exists services_rows on control.%I', of_organization);
        execute format(
            'create policy services_rows on control.%I for select to inferhouse_router, inferhouse_transform using (true)',
            of_organization
        );
    end loop;
end
$$;
alter table control.organizations enable row level security;
drop policy if exists management_rows on control.organizations;
create policy management_rows on control.organizations to inferhouse_management
using ((select control.sees_platform()) or id = (select control.current_org_id()))
with check ((select control.sees_platform()) or id = (select control.current_org_id()));
drop policy if exists services_rows on control.organizations;
create policy services_rows on control.organizations for select to inferhouse_router, inferhouse_transform using (true);
