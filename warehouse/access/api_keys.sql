-- name: find_by_public_id
select
    k.id, k.public_id, k.secret_hash, k.kind, k.org_id, k.project_id, k.user_id, k.service_account_id,
    k.models, k.scopes, k.expires_at
from control.api_keys as k
left join control.organizations as o on o.id = k.org_id
left join control.projects as p on p.id = k.project_id
where k.public_id = %(public_id)s
    and k.revoked_at is null
    and (k.expires_at is null or k.expires_at > now())
    and o.suspended_at is null
    and o.deleted_at is null
    and p.archived_at is null
