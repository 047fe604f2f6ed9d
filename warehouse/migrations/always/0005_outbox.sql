-- An event and a delivery for each who is to be told of it, in the transaction of what has happened. Whoever may call it may
-- add an event of any type and is told its public id; a second one of the same `once` is none, and null comes back.
create or replace function control.put_event(
    for_org_id bigint, type_of text, about jsonb, once text, only_webhook_id bigint default null
) returns text
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    made bigint;
    named text;
begin
    -- The management API speaks for one organization a transaction; the other callers work for all.
    if session_user = 'inferhouse_management' and for_org_id is distinct from control.current_org_id() then
        raise exception 'this transaction was not opened for organization %', for_org_id using errcode = 'insufficient_privilege';
    end if;
    insert into control.outbox_events (public_id, org_id, event_type, data, happened_once)
    values ('event_' || replace(gen_random_uuid()::text, '-', ''), for_org_id, type_of, about, once)
    on conflict (org_id, happened_once) do nothing
    returning id, public_id into made, named;
    if made is null then
        return null;
    end if;
    insert into control.outbox_deliveries (public_id, org_id, event_id, webhook_id)
    select 'delivery_' || replace(gen_random_uuid()::text, '-', ''), for_org_id, made, w.id
    from control.webhooks as w
    where w.org_id = for_org_id and w.deleted_at is null
        and case
            when only_webhook_id is null then w.enabled and (w.event_types is null or type_of = any (w.event_types))
            else w.id = only_webhook_id
        end;
    if only_webhook_id is null then
        insert into control.outbox_deliveries (public_id, org_id, event_id, email)
        select 'delivery_' || replace(gen_random_uuid()::text, '-', ''), for_org_id, made, told.email
        from (
            select lower(u.email) as email
            from control.org_members as m
            inner join control.users as u on u.id = m.user_id
            where m.org_id = for_org_id and u.disabled_at is null
                and m.role = any (coalesce(
                    (select r.roles from control.alert_recipients as r where r.org_id = for_org_id), '{owner,billing}'
                ))
            union
            select lower(unnest(r.emails)) from control.alert_recipients as r where r.org_id = for_org_id
            order by 1
            limit 100
        ) as told;
    end if;
    return named;
end
$$;
revoke all on function control.put_event(bigint, text, jsonb, text, bigint) from public;
grant execute on function control.put_event(bigint, text, jsonb, text, bigint) to inferhouse_management, inferhouse_transform;

-- A share of a budget was reached: told in the same transaction, whoever noted it.
create or replace function control.announce_budget_alert() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    made text;
begin
    -- Multiplied and not divided: exact to the pico-dollar.
    select control.put_event(
        new.org_id,
        case when new.percent >= 100 then 'budget.exhausted' else 'budget.threshold_reached' end,
        jsonb_build_object(
            'budget_id', b.public_id, 'period', b.period, 'mode', b.mode, 'project_id', p.public_id,
            'window_start', to_char(new.window_start at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
            'percent', new.percent,
            'spent_usd', trim_scale(new.spent_picousd * 0.000000000001)::text,
            'limit_usd', trim_scale(new.limit_picousd * 0.000000000001)::text
        ),
        'budget ' || new.budget_id || ' ' || extract(epoch from new.window_start)::bigint || ' ' || new.percent
    ) into made
    from control.budgets as b
    left join control.projects as p on p.id = b.project_id
    where b.id = new.budget_id;
    return null;
end
$$;
revoke all on function control.announce_budget_alert() from public;
create or replace trigger announce_budget_alert after insert on control.budget_alerts
for each row execute function control.announce_budget_alert();

-- Events and deliveries are written by the function above; the management API reads them, and sends a failed one again.
revoke insert, update, delete, truncate on control.outbox_events, control.outbox_deliveries from inferhouse_management;
grant update (status, tries, next_try_at, error) on control.outbox_deliveries to inferhouse_management;
-- The deliverer runs in Dagster.
grant select on control.webhooks, control.outbox_events, control.outbox_deliveries to inferhouse_transform;
grant update (status, tries, next_try_at, tried_at, delivered_at, http_status, error)
on control.outbox_deliveries to inferhouse_transform;
grant delete on control.outbox_events to inferhouse_transform;

do $$
declare
    of_organization text;
begin
    foreach of_organization in array array['webhooks', 'alert_recipients', 'outbox_events', 'outbox_deliveries'] loop
        execute format('alter table control.%I enable row level security', of_organization);
        execute format('drop policy if exists management_rows on control.%I', of_organization);
        execute format(
            'create policy management_rows on control.%I to inferhouse_management '
            'using ((select control.sees_platform()) or org_id = (select control.current_org_id())) '
            'with check ((select control.sees_platform()) or org_id is not distinct from (select control.current_org_id()))',
            of_organization
        );
        execute format('drop policy if exists services_rows on control.%I', of_organization);
        execute format('create policy services_rows on control.%I for select to inferhouse_transform using (true)', of_organization);
    end loop;
end
$$;
drop policy if exists deliverer_notes on control.outbox_deliveries;
create policy deliverer_notes on control.outbox_deliveries for update to inferhouse_transform using (true) with check (true);
drop policy if exists deliverer_forgets on control.outbox_events;
create policy deliverer_forgets on control.outbox_events for delete to inferhouse_transform using (true);

-- The router notes that a share of a budget was reached; the trigger above does the rest.
grant select, insert on control.budget_alerts to inferhouse_router;
alter table control.budget_alerts enable row level security;
drop policy if exists management_rows on control.budget_alerts;
create policy management_rows on control.budget_alerts to inferhouse_management
using ((select control.sees_platform()) or org_id = (select control.current_org_id()))
with check ((select control.sees_platform()) or org_id is not distinct from (select control.current_org_id()));
drop policy if exists services_rows on control.budget_alerts;
create policy services_rows on control.budget_alerts for select to inferhouse_router, inferhouse_transform using (true);
drop policy if exists router_adds on control.budget_alerts;
create policy router_adds on control.budget_alerts for insert to inferhouse_router with check (true);
