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
    return (
        select l.org_id
        from control.sql_logins as l
        inner join control.organizations as o on o.id = l.org_id
        where l.role_name = session_user and o.suspended_at is null and o.deleted_at is null
    );
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

-- The management API may not make roles. It asks these functions of the owner, which work for the organization that its
-- transaction was opened for and refuse every role that is not a login of it. `verifier`: what SCRAM makes of a password,
-- so that the password itself is in no statement and no log.
create or replace function control.check_sql_access(login name, for_org_id bigint) returns void
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    if for_org_id is distinct from control.current_org_id() then
        raise exception 'this transaction was not opened for organization %', for_org_id using errcode = 'insufficient_privilege';
    end if;
    if not exists (
        select from control.sql_logins as l
        inner join pg_roles as r on r.rolname = l.role_name
        where l.role_name = login and l.org_id = for_org_id and not r.rolsuper and not r.rolcreaterole
            and pg_has_role(r.oid, 'inferhouse_tenant', 'member')
    ) then
        raise exception '% is no SQL login of this organization', login using errcode = 'invalid_role_specification';
    end if;
end
$$;

create or replace function control.add_sql_access(
    login name, for_org_id bigint, label text, verifier text, made_by text
) returns void
language plpgsql security definer
set search_path = pg_catalog, pg_temp
set createrole_self_grant = 'set, inherit'
as $$
begin
    if for_org_id is distinct from control.current_org_id() then
        raise exception 'this transaction was not opened for organization %', for_org_id using errcode = 'insufficient_privilege';
    end if;
    if login !~ '^inferhouse_sql_[0-9a-z_]{8,48}$' or verifier !~ '^SCRAM-SHA-256\$' then
        raise exception '% is no name of a SQL login, or there is no SCRAM verifier', login
            using errcode = 'invalid_role_specification';
    end if;
    if exists (select from pg_roles where rolname = login) then
        raise exception 'there is a role % already', login using errcode = 'duplicate_object';
    end if;
    perform control.create_sql_login(login, for_org_id, verifier);
    update control.sql_logins set name = label, created_by = made_by where role_name = login;
end
$$;

-- A new password. Sessions that began with the old one end.
create or replace function control.rotate_sql_access(login name, for_org_id bigint, verifier text) returns void
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    perform control.check_sql_access(login, for_org_id);
    if verifier !~ '^SCRAM-SHA-256\$' then
        raise exception 'there is no SCRAM verifier' using errcode = 'invalid_password';
    end if;
    perform control.create_sql_login(login, for_org_id, verifier);
    update control.sql_logins set rotated_at = now() where role_name = login;
    perform pg_terminate_backend(a.pid, 5000) from pg_stat_activity as a where a.usename = login;
end
$$;

-- The login goes, and its sessions with it. One that begins meanwhile belongs to no organization and sees nothing.
create or replace function control.drop_sql_access(login name, for_org_id bigint) returns void
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    perform control.check_sql_access(login, for_org_id);
    delete from control.sql_logins where role_name = login;
    perform pg_terminate_backend(a.pid, 5000) from pg_stat_activity as a where a.usename = login;
    execute format('drop owned by %I', login);
    execute format('drop role %I', login);
end
$$;
revoke all on function control.check_sql_access(name, bigint) from public;
revoke all on function control.add_sql_access(name, bigint, text, text, text) from public;
revoke all on function control.rotate_sql_access(name, bigint, text) from public;
revoke all on function control.drop_sql_access(name, bigint) from public;
grant execute on function control.add_sql_access(name, bigint, text, text, text) to inferhouse_management;
grant execute on function control.rotate_sql_access(name, bigint, text) to inferhouse_management;
grant execute on function control.drop_sql_access(name, bigint) to inferhouse_management;

-- Whether this session of the management API works for the platform (sign-in, platform admins) and not for one organization.
create or replace function control.sees_platform() returns boolean
language sql stable
set search_path = pg_catalog, pg_temp
as $$
-- Never null, which is what a setting is that nobody made: `not null` would let a check of it pass.
select session_user = 'inferhouse_management' and coalesce(current_setting('inferhouse.platform', true), '') = 'on'
$$;

-- For functions that work as the owner, whom no policy holds: the management API sees one organization a transaction, or the
-- platform; Dagster works for all.
create or replace function control.check_reach(for_org_id bigint, platform_only boolean) returns void
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    if session_user = 'inferhouse_management' and not control.sees_platform()
        and (platform_only or for_org_id is distinct from control.current_org_id()) then
        raise exception 'this transaction was not opened for that' using errcode = 'insufficient_privilege';
    end if;
end
$$;
revoke all on function control.check_reach(bigint, boolean) from public;

-- The management API writes as a role that sees one organization a transaction, even if a query forgets to say which.
do $$
declare
    of_organization text;
begin
    foreach of_organization in array array[
        'projects', 'org_members', 'project_members', 'invites', 'service_accounts', 'api_keys', 'budgets', 'limits',
        'model_aliases', 'audit_log', 'sql_logins', 'shadow_refusals'
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
-- Everybody's aliases are everybody's to name, in the lists of models of keys.
drop policy if exists aliases_of_everybody on control.model_aliases;
create policy aliases_of_everybody on control.model_aliases for select to inferhouse_management
using (org_id is null and (select control.current_org_id()) is not null);
-- The router notes when a key was used; its grant is for that column only.
drop policy if exists router_uses on control.api_keys;
create policy router_uses on control.api_keys for update to inferhouse_router using (true) with check (true);
drop policy if exists router_counts on control.shadow_refusals;
create policy router_counts on control.shadow_refusals to inferhouse_router using (true) with check (true);
-- What holds for everybody, such as a list price, is everybody's to read. The price book is the platform's to write, and what
-- is for one organization too.
do $$
declare
    of_price_book text;
begin
    foreach of_price_book in array array['prices', 'discounts', 'volume_tiers'] loop
        execute format('alter table control.%I enable row level security', of_price_book);
        execute format('drop policy if exists management_rows on control.%I', of_price_book);
        execute format(
            'create policy management_rows on control.%I to inferhouse_management '
            'using ((select control.sees_platform()) or org_id = (select control.current_org_id())) '
            'with check ((select control.sees_platform()))',
            of_price_book
        );
        execute format('drop policy if exists list_prices on control.%I', of_price_book);
        execute format(
            'create policy list_prices on control.%I for select to inferhouse_management using (org_id is null)', of_price_book
        );
        execute format('drop policy if exists services_rows on control.%I', of_price_book);
        execute format(
            'create policy services_rows on control.%I for select to inferhouse_router, inferhouse_transform using (true)',
            of_price_book
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
