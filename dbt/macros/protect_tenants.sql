{# After each mart is built: only its tenant sees a row, and what is of no tenant only the platform sees. Changes nothing where
   it is so already, so that readers are not locked out by every run. A view filters in its own text, since policies are for
   tables. #}
{% macro protect_tenants() %}
{% if model.config.materialized != 'view' %}
do $protect$
declare
    of_tenants constant boolean not null := exists (
        select from pg_attribute where attrelid = '{{ this }}'::regclass and attname = 'org_id' and not attisdropped
    );
begin
    if not (select relrowsecurity from pg_class where oid = '{{ this }}'::regclass) then
        alter table {{ this }} enable row level security;
        if of_tenants then
            create policy tenant_rows on {{ this }} for select to inferhouse_portal, inferhouse_tenant
            using (org_id = (select control.current_org_id()));
        end if;
        create policy platform_rows on {{ this }} for select to inferhouse_platform using (true);
    end if;
    -- By its own name: marts that an earlier version built have the others already.
    if not exists (select from pg_policy where polrelid = '{{ this }}'::regclass and polname = 'management_rows') then
        if of_tenants then
            create policy management_rows on {{ this }} for select to inferhouse_management
            using ((select control.sees_platform()) or org_id = (select control.current_org_id()));
        else
            create policy management_rows on {{ this }} for select to inferhouse_management
            using ((select control.sees_platform()));
        end if;
    end if;
end
$protect$
{% else %}
select 1
{% endif %}
{% endmacro %}


{# For views of marts: is this row the session's to see? What builds other marts of them sees every row. #}
{% macro visible_to_session(org_id) -%}
(
    {{ org_id }} = (select control.current_org_id())
    or (select pg_has_role(session_user, 'inferhouse_platform', 'member') or session_user = 'inferhouse_transform')
    or (select control.sees_platform())
)
{%- endmacro %}


{# For views that are of no tenant: does the session work for the platform? #}
{% macro visible_to_platform() -%}
((select pg_has_role(session_user, 'inferhouse_platform', 'member')) or (select control.sees_platform()))
{%- endmacro %}
