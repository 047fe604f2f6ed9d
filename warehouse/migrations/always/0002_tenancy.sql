-- The second wall between tenants: whose rows may this session see?
create or replace function control.current_org_id() returns bigint
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
as $$
begin
    -- Only the portal may choose by a setting; it checks the viewer's membership first. A SQL login is bound to its
    -- organization by name, whatever it sets.
    if session_user = 'inferhouse_portal' then
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
