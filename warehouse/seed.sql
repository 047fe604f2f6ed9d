-- name: put_model
insert into control.models (name, context_tokens_max, output_tokens_max)
values (%(name)s, %(context_tokens_max)s, %(output_tokens_max)s)
on conflict (name) do update
set context_tokens_max = excluded.context_tokens_max, output_tokens_max = excluded.output_tokens_max, retired_at = null
where (models.context_tokens_max, models.output_tokens_max, models.retired_at)
    is distinct from (excluded.context_tokens_max, excluded.output_tokens_max, null)

-- name: put_first_list_price
insert into control.prices (model_id, input_picousd, cached_input_picousd, output_picousd, effective, reason)
select m.id, %(input_picousd)s, %(cached_input_picousd)s, %(output_picousd)s, tstzrange('2020-01-01 00:00+00', null), 'catalogue'
from control.models as m
where m.name = %(name)s
    and not exists (select from control.prices as p where p.model_id = m.id and p.org_id is null and p.priority = 0)

-- name: put_engine
insert into control.engines (name, kind, base_url, model_id)
select %(name)s, %(kind)s, %(base_url)s, m.id from control.models as m where m.name = %(model)s
on conflict (name) do update
set kind = excluded.kind, base_url = excluded.base_url, model_id = excluded.model_id, enabled = true
where (engines.kind, engines.base_url, engines.model_id, engines.enabled)
    is distinct from (excluded.kind, excluded.base_url, excluded.model_id, true)

-- name: disable_other_engines
update control.engines set enabled = false where enabled and name <> all(%(names)s)

-- name: put_organization
insert into control.organizations (public_id, name, time_zone) values (%(public_id)s, %(name)s, %(time_zone)s)
on conflict (public_id) do nothing

-- name: put_project
insert into control.projects (public_id, org_id, name)
select %(public_id)s, o.id, %(name)s from control.organizations as o where o.public_id = %(organization)s
on conflict (public_id) do nothing

-- name: put_user
insert into control.users (public_id, email, name, password_hash, platform_admin)
values (%(public_id)s, %(email)s, %(name)s, %(password_hash)s, true)
on conflict (public_id) do nothing

-- name: put_owner
insert into control.org_members (org_id, user_id, role)
select o.id, u.id, 'owner'
from control.organizations as o cross join control.users as u
where o.public_id = %(organization)s and u.public_id = %(user)s
on conflict do nothing

-- name: put_inference_key
insert into control.api_keys (public_id, secret_hash, kind, name, org_id, project_id, user_id)
select %(public_id)s, %(secret_hash)s, 'inference', 'demo', p.org_id, p.id, u.id
from control.projects as p cross join control.users as u
where p.public_id = %(project)s and u.public_id = %(user)s
on conflict (public_id) do nothing

-- name: put_platform_key
insert into control.api_keys (public_id, secret_hash, kind, name)
values (%(public_id)s, %(secret_hash)s, 'platform', 'platform admin')
on conflict (public_id) do nothing

-- name: put_sql_login
select control.create_sql_login(%(login)s, o.id, %(password)s)
from control.organizations as o
where o.public_id = %(organization)s
