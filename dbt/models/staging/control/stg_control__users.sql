-- Column by column: this role sees no password, and nobody who is a member of nothing.
with source as (
    select
        id,
        public_id,
        email,
        name
    from {{ source('control', 'users') }}
),

members as (
    select
        org_id,
        user_id,
        role
    from {{ source('control', 'org_members') }}
)

select
    member.org_id,
    source.id as user_id,
    source.public_id as member,
    source.email,
    source.name,
    member.role
from source
inner join members as member on source.id = member.user_id
