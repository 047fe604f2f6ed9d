-- name: is_known
select case %(list)s::text
    when 'aliases' then exists (
        select from control.model_aliases where public_id = %(after)s::text and org_id is not distinct from %(org_id)s::bigint
    )
    when 'api_keys' then exists (
        select from control.api_keys
        where public_id = %(after)s::text and kind = %(kind)s::text
            and org_id is not distinct from %(org_id)s::bigint and project_id is not distinct from %(project_id)s::bigint
    )
    when 'budgets' then exists (
        select from control.budgets where public_id = %(after)s::text and org_id = %(org_id)s::bigint
    )
    when 'credits' then exists (
        select from ledger.credits
        where public_id = %(after)s::text and (%(org_id)s::bigint is null or org_id = %(org_id)s::bigint)
    )
    when 'deliveries' then exists (
        select from control.outbox_deliveries where public_id = %(after)s::text and org_id = %(org_id)s::bigint
    )
    when 'engines' then exists (select from control.engines where name = %(after)s::text)
    when 'events' then exists (
        select from control.outbox_events where public_id = %(after)s::text and org_id = %(org_id)s::bigint
    )
    when 'invites' then exists (
        select from control.invites where public_id = %(after)s::text and org_id = %(org_id)s::bigint
    )
    when 'invoice_lines' then exists (
        select from billing.invoice_lines as l
        inner join billing.invoices as i on i.id = l.invoice_id
        where l.public_id = %(after)s::text and i.org_id = %(org_id)s::bigint
    )
    when 'invoices' then exists (
        select from billing.invoices
        where public_id = %(after)s::text and (%(org_id)s::bigint is null or org_id = %(org_id)s::bigint)
    )
    when 'limits' then exists (
        select from control.limits where public_id = %(after)s::text and org_id = %(org_id)s::bigint
    )
    when 'models' then exists (select from control.models where name = %(after)s::text)
    when 'organizations' then exists (select from control.organizations where public_id = %(after)s::text)
    when 'projects' then exists (
        select from control.projects where public_id = %(after)s::text and org_id = %(org_id)s::bigint
    )
    when 'service_accounts' then exists (
        select from control.service_accounts where public_id = %(after)s::text and org_id = %(org_id)s::bigint
    )
    when 'sessions' then exists (
        select from control.sessions where public_id = %(after)s::text and user_id = %(user_id)s::bigint
    )
    when 'users' then exists (select from control.users where public_id = %(after)s::text)
    when 'webhooks' then exists (
        select from control.webhooks where public_id = %(after)s::text and org_id = %(org_id)s::bigint
    )
end
