-- name: find
select id, public_id, name, time_zone, suspended_at, created_at, version, key_days_max, keys_per_member_max, key_models,
    key_cidrs::text[] as key_cidrs, totp_required, answers_kept_s, when_redis_is_down
from control.organizations
where id = %(org_id)s

-- name: lock
select id, public_id, name, time_zone, suspended_at, created_at, version, key_days_max, keys_per_member_max, key_models,
    key_cidrs::text[] as key_cidrs, totp_required, answers_kept_s, when_redis_is_down
from control.organizations
where id = %(org_id)s
for no key update

-- name: change
update control.organizations
set name = %(name)s, time_zone = %(time_zone)s, key_days_max = %(key_days_max)s, keys_per_member_max = %(keys_per_member_max)s,
    key_models = %(key_models)s, key_cidrs = %(key_cidrs)s::cidr[], totp_required = %(totp_required)s,
    answers_kept_s = %(answers_kept_s)s, when_redis_is_down = %(when_redis_is_down)s, version = version + 1
where id = %(org_id)s
returning id, public_id, name, time_zone, suspended_at, created_at, version, key_days_max, keys_per_member_max, key_models,
    key_cidrs::text[] as key_cidrs, totp_required, answers_kept_s, when_redis_is_down

-- name: above
with in_force as (
    select k.user_id, k.expires_at, coalesce(k.rotated_at, k.created_at) as since
    from control.api_keys as k
    where k.org_id = %(org_id)s and k.kind = 'inference' and k.revoked_at is null
        and (k.expires_at is null or k.expires_at > now())
)

select
    (
        select count(*) from in_force as f
        where o.key_days_max is not null
            and (f.expires_at is null or f.expires_at > f.since + make_interval(days => o.key_days_max, mins => 1))
    ) as keys_above_days_max,
    (
        select count(*) from (
            select f.user_id from in_force as f where f.user_id is not null group by f.user_id having count(*) > o.keys_per_member_max
        ) as holders
    ) as members_above_keys_max
from control.organizations as o
where o.id = %(org_id)s
