-- Control tables: who may call what, at which price. Written by the management API, read by everyone else.
create schema control;

create extension if not exists btree_gist;

create table control.organizations (
    id bigint generated always as identity primary key,
    public_id text not null unique check (public_id ~ '^org_[0-9a-z]{12,32}$'),
    name text not null check (length(name) between 1 and 200),
    time_zone text not null default 'UTC',
    currency text not null default 'USD' check (currency = 'USD'),
    suspended_at timestamptz,
    created_at timestamptz not null default now()
);
comment on table control.organizations is 'A tenant. Everything below carries its id.';

create table control.projects (
    id bigint generated always as identity primary key,
    public_id text not null unique check (public_id ~ '^proj_[0-9a-z]{12,32}$'),
    org_id bigint not null references control.organizations (id),
    name text not null check (length(name) between 1 and 200),
    archived_at timestamptz,
    created_at timestamptz not null default now(),
    unique (org_id, id),
    unique (org_id, name)
);

create table control.users (
    id bigint generated always as identity primary key,
    public_id text not null unique check (public_id ~ '^user_[0-9a-z]{12,32}$'),
    email text not null check (email ~ '^[^@\s]+@[^@\s]+$' and length(email) <= 320),
    name text not null,
    password_hash text,
    platform_admin boolean not null default false,
    disabled_at timestamptz,
    created_at timestamptz not null default now()
);
create unique index users_email_key on control.users (lower(email));
comment on column control.users.password_hash is 'argon2id; null for users who sign in elsewhere.';

create table control.org_members (
    org_id bigint not null references control.organizations (id),
    user_id bigint not null references control.users (id),
    role text not null check (role in ('owner', 'admin', 'billing', 'member', 'auditor')),
    created_at timestamptz not null default now(),
    primary key (org_id, user_id)
);
create index org_members_user_id_idx on control.org_members (user_id);

create table control.service_accounts (
    id bigint generated always as identity primary key,
    public_id text not null unique check (public_id ~ '^svc_[0-9a-z]{12,32}$'),
    org_id bigint not null,
    project_id bigint not null,
    name text not null check (length(name) between 1 and 200),
    created_at timestamptz not null default now(),
    foreign key (org_id, project_id) references control.projects (org_id, id)
);

create table control.models (
    id integer generated always as identity primary key,
    name text not null unique check (name ~ '^[A-Za-z0-9][A-Za-z0-9._:/-]{0,127}$'),
    context_tokens_max integer not null check (context_tokens_max > 0),
    output_tokens_max integer not null check (output_tokens_max > 0),
    retired_at timestamptz,
    created_at timestamptz not null default now()
);

create table control.engines (
    id integer generated always as identity primary key,
    name text not null unique check (name ~ '^[a-z0-9][a-z0-9-]{0,62}$'),
    kind text not null check (kind in ('vllm', 'simulated')),
    base_url text not null check (base_url ~ '^https?://[^/]+$'),
    model_id integer not null references control.models (id),
    enabled boolean not null default true,
    created_at timestamptz not null default now()
);
comment on column control.engines.base_url is 'Scheme, host and port; paths such as /v1/chat/completions are added by the router.';

create table control.api_keys (
    id bigint generated always as identity primary key,
    public_id text not null unique check (public_id ~ '^[0-9A-Za-z]{16}$'),
    secret_hash bytea not null check (length(secret_hash) = 32),
    kind text not null check (kind in ('inference', 'platform')),
    name text not null check (length(name) between 1 and 200),
    org_id bigint references control.organizations (id),
    project_id bigint,
    user_id bigint references control.users (id),
    service_account_id bigint references control.service_accounts (id),
    models text[],
    expires_at timestamptz,
    revoked_at timestamptz,
    created_at timestamptz not null default now(),
    foreign key (org_id, project_id) references control.projects (org_id, id),
    check (kind = 'platform' or (org_id is not null and project_id is not null)),
    check (user_id is null or service_account_id is null)
);
comment on column control.api_keys.secret_hash is 'HMAC-SHA256 of the secret under the pepper that only processes know.';
comment on column control.api_keys.models is 'Names this key may use; null means every model.';
create index api_keys_org_id_idx on control.api_keys (org_id);

create table control.prices (
    id integer generated always as identity primary key,
    model_id integer not null references control.models (id),
    org_id bigint references control.organizations (id),
    input_picousd bigint not null check (input_picousd between 0 and 1000000000000),
    cached_input_picousd bigint not null check (cached_input_picousd between 0 and 1000000000000),
    output_picousd bigint not null check (output_picousd between 0 and 1000000000000),
    effective tstzrange not null check (not isempty(effective) and lower_inc(effective) and not upper_inc(effective)),
    reason text not null check (length(reason) between 1 and 500),
    created_at timestamptz not null default now(),
    constraint prices_no_overlap exclude using gist (
        model_id with =, (coalesce(org_id, 0)) with =, effective with &&
    )
);
comment on table control.prices is 'Price book. Pico-dollars (1e-12 USD) per token; org_id null is the list price, otherwise an override.';

-- A list price may change, never lapse: between two versions there is no instant without a price.
create function control.refuse_price_gap() returns trigger
language plpgsql as $$
declare
    gap record;
begin
    select model_id, previous_end, effective into gap
    from (
        select model_id, effective, lag(upper(effective)) over (partition by model_id order by lower(effective)) as previous_end
        from control.prices
        where model_id in (new.model_id, old.model_id) and org_id is null
    ) as versions
    where previous_end is distinct from lower(effective) and previous_end is not null
    limit 1;
    if found then
        raise exception 'price gap for model %: nothing is in force from % until %',
            gap.model_id, gap.previous_end, lower(gap.effective)
            using errcode = 'exclusion_violation', constraint = 'prices_no_gap';
    end if;
    return null;
end
$$;

create constraint trigger prices_no_gap
after insert or update or delete on control.prices
deferrable initially deferred
for each row execute function control.refuse_price_gap();

create table control.sql_logins (
    role_name name primary key,
    org_id bigint not null references control.organizations (id),
    created_at timestamptz not null default now()
);
comment on table control.sql_logins is 'Which organization a read-only SQL login belongs to; read by control.current_org_id().';

-- Every change is announced at commit, so that routers drop what they cached at once.
create function control.announce_change() returns trigger
language plpgsql as $$
begin
    perform pg_notify('control_changed', tg_table_name);
    return null;
end
$$;

create trigger announce_change after insert or update or delete or truncate on control.organizations
for each statement execute function control.announce_change();
create trigger announce_change after insert or update or delete or truncate on control.projects
for each statement execute function control.announce_change();
create trigger announce_change after insert or update or delete or truncate on control.users
for each statement execute function control.announce_change();
create trigger announce_change after insert or update or delete or truncate on control.api_keys
for each statement execute function control.announce_change();
create trigger announce_change after insert or update or delete or truncate on control.models
for each statement execute function control.announce_change();
create trigger announce_change after insert or update or delete or truncate on control.engines
for each statement execute function control.announce_change();
create trigger announce_change after insert or update or delete or truncate on control.prices
for each statement execute function control.announce_change();
