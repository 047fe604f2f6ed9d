-- name: add
insert into control.shadow_refusals (org_id, budget_id, limit_id, day, requests)
select new.org_id, case when new.kind = 'budget' then new.rule_id end, case when new.kind = 'limit' then new.rule_id end, new.day, new.requests
from unnest(%(kinds)s::text[], %(rule_ids)s::bigint[], %(org_ids)s::bigint[], %(days)s::date[], %(requests)s::bigint[])
    as new (kind, rule_id, org_id, day, requests)
on conflict (budget_id, limit_id, day) do update set requests = shadow_refusals.requests + excluded.requests

-- name: page
select s.day, b.public_id as budget_id, l.public_id as limit_id, s.requests
from control.shadow_refusals as s
left join control.budgets as b on b.id = s.budget_id
left join control.limits as l on l.id = s.limit_id
where s.org_id = %(org_id)s and s.day >= %(start)s::date and s.day < %(end)s::date
order by s.day, s.budget_id, s.limit_id
