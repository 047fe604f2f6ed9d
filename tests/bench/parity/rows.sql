-- name: book
with models as (
    insert into control.models (name, context_tokens_max, output_tokens_max)
    select 'model-' || n, 131072, 131072 from generate_series(1, 4) as n
    returning id
),

organizations as (
    insert into control.organizations (public_id, name, time_zone)
    select
        'org_bench' || lpad(n::text, 8, '0'),
        'Bench ' || n,
        (array['UTC', 'Asia/Kathmandu', 'America/New_York', 'Pacific/Apia', 'Europe/Berlin'])[1 + n %% 5]
    from generate_series(1, %(organizations)s) as n
    returning id
),

projects as (
    insert into control.projects (public_id, org_id, name)
    select 'proj_bench' || lpad(o.id::text, 6, '0') || n, o.id, 'Project ' || n
    from organizations as o cross join generate_series(1, 2) as n
    returning id, org_id
),

keys as (
    insert into control.api_keys (public_id, secret_hash, kind, name, org_id, project_id)
    select 'benchkey' || lpad(id::text, 8, '0'), decode(repeat('00', 32), 'hex'), 'inference', 'key', org_id, id
    from projects
    returning id
),

versions as (
    insert into control.prices (
        model_id, org_id, priority, endpoint, input_tokens_range, tags, input_picousd, cached_input_picousd, output_picousd,
        reasoning_picousd, request_picousd, effective, reason
    )
    select m.id, v.org_id, v.priority, v.endpoint::raw.endpoint, v.length::int4range, v.tags::jsonb, v.input, v.input / 7, v.output,
        v.reasoning, v.request, v.effective::tstzrange, 'bench'
    from models as m
    cross join lateral (
        values
        (null::bigint, 0, null, '[0,)', '{}', 150001, 600007, null::bigint, 0, '[2025-01-01+00,2026-03-11 05:17+00)'),
        (null, 0, null, '[0,)', '{}', 130003, 550009, 450007, 0, '[2026-03-11 05:17+00,)'),
        (null, 10, 'embeddings', '[0,)', '{}', 20011, 0, null, 100003, '[2025-01-01+00,)'),
        (null, 20, null, '[1500,)', '{}', 300007, 1200013, null, 0, '[2026-03-05+00,)'),
        (null, 30, null, '[0,)', '{"batch": "yes"}', 75011, 300017, 299993, 0, '[2025-01-01+00,)'),
        ((select min(id) from organizations), 0, null, '[0,)', '{}', 99991, 400009, null, 7, '[2026-03-02+00,2026-03-20+00)')
    ) as v (org_id, priority, endpoint, length, tags, input, output, reasoning, request, effective)
    returning model_id
),

discounted as (
    insert into control.discounts (org_id, model_id, basis_points, months, reason)
    select o.id, case when o.id %% 2 = 0 then (select min(id) from models) end, 100 + o.id %% 700, '[2026-01-01,)', 'bench'
    from organizations as o
    where o.id %% 3 = 0
)

insert into control.volume_tiers (model_id, token_class, above_quantity, basis_points, months, reason)
select m.id, t.token_class, t.above_quantity, t.basis_points, '[2026-01-01,)', 'bench'
from models as m
cross join lateral (
    values ('input', 1000000, 333), ('input', 10000000, 777), ('output', 500000, 1234), ('request', 100, 5000)
) as t (token_class, above_quantity, basis_points)

-- name: rows
insert into raw.usage_events (
    request_id, started_at, finished_at, org_id, project_id, api_key_id, cost_picousd, endpoint, status, token_source,
    charge_class, model_id, price_id, input_tokens, cached_input_tokens, output_tokens, reasoning_tokens, duration_us, attempt,
    http_status, stream, tags
)
select
    gen_random_uuid(), d.started_at, d.started_at, k.org_id, k.project_id, k.id,
    case when d.charged then
        (d.input - d.cached)::bigint * p.input_picousd + d.cached::bigint * p.cached_input_picousd
        + (d.output - d.reasoning)::bigint * p.output_picousd
        + d.reasoning::bigint * coalesce(p.reasoning_picousd, p.output_picousd) + p.request_picousd
    else 0 end,
    d.endpoint, 'completed', 'engine', case when d.charged then 'charged' else 'free_timed_out' end::raw.charge_class,
    d.model_id, p.id, d.input, d.cached, d.output, d.reasoning, 1, 1, 200, false, d.tags
from (
    select
        drawn.n, '2026-02-28 00:00+00'::timestamptz + drawn.moment * interval '33 days' as started_at,
        (drawn.input * 3000)::integer as input, (drawn.input * drawn.cached * 3000)::integer as cached,
        (drawn.output * 800)::integer as output, (drawn.output * drawn.cached * 700)::integer as reasoning,
        1 + drawn.n %% 4 as model_id, (case when drawn.n %% 11 = 0 then 'embeddings' else 'chat.completions' end)::raw.endpoint as endpoint,
        case drawn.n %% 13 when 0 then '{"batch": "yes", "team": "a"}'::jsonb when 1 then '{"batch": "no"}' end as tags,
        drawn.n %% 29 <> 0 as charged
    from (
        select n, random() as moment, random() as input, random() as cached, random() as output
        from generate_series(%(first)s::bigint, %(last)s::bigint) as n
    ) as drawn
) as d
inner join control.api_keys as k on k.id = 1 + d.n %% (select count(*) from control.api_keys)
cross join lateral (
    select v.* from control.prices as v
    where v.model_id = d.model_id and (v.org_id is null or v.org_id = k.org_id) and v.effective @> d.started_at
        and (v.endpoint is null or v.endpoint = d.endpoint) and v.input_tokens_range @> d.input
        and coalesce(d.tags, '{}') @> v.tags
    order by v.org_id nulls last, v.priority desc
    limit 1
) as p
