-- Who may do what: roles in projects, invitations, sessions, what keys may do, budgets and limits, and the audit log.
-- Tables of people and keys have at most some 100,000 rows: their locks are held for less than a second.
-- squawk-ignore-file constraint-missing-not-valid, disallowed-unique-constraint, require-concurrent-index-creation, ban-drop-constraint

alter table control.organizations
add column deleted_at timestamptz,
add column version integer not null default 1,
add column key_days_max integer check (key_days_max between 1 and 3650),
add column keys_per_member_max integer check (keys_per_member_max between 0 and 10000),
add column key_models text[],
add column key_cidrs cidr[],
add column totp_required boolean not null default false;
comment on column control.organizations.key_days_max is
'Caps on the keys that members make, with keys_per_member_max, key_models and key_cidrs; null means no cap.';

alter table control.projects add column version integer not null default 1;

alter table control.users
add column version integer not null default 1,
add column totp_secret bytea,
add column totp_enabled_at timestamptz,
add column totp_step_last bigint,
add column recovery_hashes bytea[] not null default '{}',
add column oidc_issuer text,
add column oidc_subject text,
add constraint users_oidc_check check ((oidc_issuer is null) = (oidc_subject is null)),
add constraint users_oidc_key unique (oidc_issuer, oidc_subject);
comment on column control.users.totp_secret is 'Encrypted with a key that only processes know.';
comment on column control.users.recovery_hashes is 'Keyed hashes of the codes that stand in for a lost second factor, each once.';

alter table control.org_members
add column version integer not null default 1,
add column by_group boolean not null default false;
comment on column control.org_members.by_group is
'Made by a group of the identity provider: the next sign-in changes or ends it by the groups of then.';

create table control.project_members (
    org_id bigint not null,
    project_id bigint not null,
    user_id bigint not null,
    role text not null check (role in ('admin', 'member', 'viewer')),
    version integer not null default 1,
    created_at timestamptz not null default now(),
    primary key (project_id, user_id),
    foreign key (org_id, project_id) references control.projects (org_id, id),
    foreign key (org_id, user_id) references control.org_members (org_id, user_id) on delete cascade
);
create index project_members_user_id_idx on control.project_members (org_id, user_id);

create table control.sessions (
    id bigint generated always as identity primary key,
    public_id text not null unique check (public_id ~ '^sess_[0-9a-z]{12,32}$'),
    user_id bigint not null references control.users (id),
    serial integer not null default 1,
    rotated_at timestamptz not null default now(),
    created_at timestamptz not null default now(),
    expires_at timestamptz not null,
    revoked_at timestamptz,
    method text not null check (method in ('password', 'oidc', 'device')),
    second_factor boolean not null,
    ip inet,
    user_agent text check (length(user_agent) <= 300)
);
create index sessions_user_id_idx on control.sessions (user_id) where revoked_at is null;
create index sessions_expires_at_idx on control.sessions (expires_at);
comment on column control.sessions.serial is
'Which token of this session is the newest. One that was replaced before the last rotation ends the session: it was copied.';

create table control.login_failures (
    subject bytea primary key check (length(subject) = 32),
    failures integer not null,
    last_at timestamptz not null,
    blocked_until timestamptz
);
create index login_failures_last_at_idx on control.login_failures (last_at);
comment on column control.login_failures.subject is
'Keyed hash of an e-mail address or of a network address: neither is stored for somebody who only tried.';

create table control.device_logins (
    id bigint generated always as identity primary key,
    device_code_hash bytea not null unique check (length(device_code_hash) = 32),
    user_code text not null unique,
    user_id bigint references control.users (id),
    created_at timestamptz not null default now(),
    expires_at timestamptz not null,
    polled_at timestamptz,
    second_factor boolean not null default false,
    approved_at timestamptz,
    denied_at timestamptz,
    ip inet,
    user_agent text check (length(user_agent) <= 300)
);
create index device_logins_expires_at_idx on control.device_logins (expires_at);
comment on table control.device_logins is 'Sign-ins of devices without a browser (RFC 8628); each row is used once.';

create table control.oidc_logins (
    state_hash bytea primary key check (length(state_hash) = 32),
    nonce text not null,
    code_verifier text not null,
    redirect_uri text not null,
    created_at timestamptz not null default now(),
    expires_at timestamptz not null
);
create index oidc_logins_expires_at_idx on control.oidc_logins (expires_at);
comment on table control.oidc_logins is 'Sign-ins under way at an identity provider; each row is used once.';

create table control.invites (
    id bigint generated always as identity primary key,
    public_id text not null unique check (public_id ~ '^invite_[0-9a-z]{12,32}$'),
    org_id bigint not null references control.organizations (id),
    email text not null check (email ~ '^[^@\s]+@[^@\s]+$' and length(email) <= 320),
    role text not null check (role in ('owner', 'admin', 'billing', 'member', 'auditor')),
    projects jsonb not null default '[]',
    token_hash bytea not null unique check (length(token_hash) = 32),
    invited_by text not null,
    created_at timestamptz not null default now(),
    expires_at timestamptz not null,
    accepted_at timestamptz,
    revoked_at timestamptz,
    version integer not null default 1
);
create index invites_org_id_idx on control.invites (org_id, id);
create unique index invites_open_key on control.invites (org_id, lower(email)) where accepted_at is null and revoked_at is null;
comment on column control.invites.projects is '[{"id": "proj_…", "role": "member"}]: what the invited person gets beside the role.';

alter table control.service_accounts
add column role text not null default 'member' check (role in ('member', 'viewer')),
add column created_by text,
add column deleted_at timestamptz,
add column version integer not null default 1;
create index service_accounts_project_id_idx on control.service_accounts (org_id, project_id, id);

alter table control.api_keys
drop constraint api_keys_kind_check,
drop constraint api_keys_check,
add constraint api_keys_kind_check check (kind in ('inference', 'admin', 'platform')),
add constraint api_keys_home_check check (
    (kind = 'platform' and org_id is null and project_id is null)
    or (kind = 'admin' and org_id is not null and project_id is null)
    or (kind = 'inference' and org_id is not null and project_id is not null)
) not valid,
add column scopes text[] not null default '{inference}'
check (scopes <@ '{inference,usage.read,admin}' and cardinality(scopes) between 1 and 3),
add column cidrs cidr[],
add column previous_secret_hash bytea check (length(previous_secret_hash) = 32),
add column previous_secret_until timestamptz,
add column rotated_at timestamptz,
add column last_used_at timestamptz,
add column created_by text,
add column version integer not null default 1;
comment on column control.api_keys.cidrs is 'Networks that the key works from; null means from everywhere.';
comment on column control.api_keys.previous_secret_hash is 'The secret before the last rotation; works until previous_secret_until.';
create index api_keys_project_id_idx on control.api_keys (org_id, project_id, id);
create index api_keys_user_id_idx on control.api_keys (user_id) where user_id is not null;

alter table control.models add column version integer not null default 1;
alter table control.engines add column version integer not null default 1;

alter table control.sql_logins
add column name text not null default 'SQL access' check (length(name) between 1 and 200),
add column created_by text,
add column rotated_at timestamptz;
create index sql_logins_org_id_idx on control.sql_logins (org_id, role_name);

create table control.budgets (
    id bigint generated always as identity primary key,
    public_id text not null unique check (public_id ~ '^budget_[0-9a-z]{12,32}$'),
    org_id bigint not null references control.organizations (id),
    project_id bigint,
    user_id bigint references control.users (id),
    service_account_id bigint references control.service_accounts (id),
    api_key_id bigint references control.api_keys (id),
    model_id integer references control.models (id),
    period text not null check (period in ('day', 'week', 'month', 'lifetime')),
    limit_picousd numeric(38, 0) not null check (limit_picousd >= 0),
    mode text not null default 'hard' check (mode in ('hard', 'soft', 'shadow')),
    alert_percents integer[] not null default '{}',
    version integer not null default 1,
    created_at timestamptz not null default now(),
    deleted_at timestamptz,
    foreign key (org_id, project_id) references control.projects (org_id, id),
    check (num_nonnulls(project_id, user_id, service_account_id, api_key_id) <= 1)
);
create index budgets_org_id_idx on control.budgets (org_id, id) where deleted_at is null;
comment on table control.budgets is
'What may be spent in a window of the organization''s time zone, by the whole organization or a part of it.';

create table control.limits (
    id bigint generated always as identity primary key,
    public_id text not null unique check (public_id ~ '^limit_[0-9a-z]{12,32}$'),
    org_id bigint not null references control.organizations (id),
    project_id bigint,
    api_key_id bigint references control.api_keys (id),
    model_id integer references control.models (id),
    requests_per_minute bigint check (requests_per_minute >= 0),
    input_tokens_per_minute bigint check (input_tokens_per_minute >= 0),
    output_tokens_per_minute bigint check (output_tokens_per_minute >= 0),
    requests_at_once bigint check (requests_at_once >= 0),
    version integer not null default 1,
    created_at timestamptz not null default now(),
    deleted_at timestamptz,
    foreign key (org_id, project_id) references control.projects (org_id, id),
    check (num_nonnulls(project_id, api_key_id) <= 1),
    check (num_nonnulls(requests_per_minute, input_tokens_per_minute, output_tokens_per_minute, requests_at_once) >= 1)
);
create index limits_org_id_idx on control.limits (org_id, id) where deleted_at is null;

create table control.idempotent_answers (
    actor text not null,
    idempotency_key text not null check (length(idempotency_key) between 1 and 255),
    request_hash bytea not null check (length(request_hash) = 32),
    status integer not null,
    answer jsonb not null,
    created_at timestamptz not null default now(),
    primary key (actor, idempotency_key)
);
create index idempotent_answers_created_at_idx on control.idempotent_answers (created_at);
comment on table control.idempotent_answers is 'What a create answered, without secrets, so that its repetition changes nothing.';

-- One chain for the installation: each entry's mac covers the one before, under a key that the database does not have.
create table control.audit_log (
    sequence bigint primary key check (sequence > 0),
    public_id text not null unique check (public_id ~ '^audit_[0-9a-z]{12,32}$'),
    org_id bigint references control.organizations (id),
    project_id bigint references control.projects (id),
    effective_at timestamptz not null,
    event_type text not null check (event_type ~ '^[a-z_]+(\.[a-z_]+)+$'),
    actor_type text not null check (actor_type in ('user', 'api_key', 'system')),
    actor_id text not null,
    actor_email text,
    ip inet,
    request_id uuid,
    target_id text not null,
    before jsonb,
    after jsonb,
    previous_mac bytea not null check (length(previous_mac) = 32),
    mac bytea not null check (length(mac) = 32)
);
-- The newest first, of an organization or of the platform, by whatever a reader filters: each an index range, none a scan.
create index audit_log_org_id_idx on control.audit_log (org_id, effective_at, sequence);
create index audit_log_org_id_event_type_idx on control.audit_log (org_id, event_type, effective_at, sequence);
create index audit_log_effective_at_idx on control.audit_log (effective_at, sequence);
create index audit_log_event_type_idx on control.audit_log (event_type, effective_at, sequence);
create index audit_log_actor_id_idx on control.audit_log (actor_id, effective_at, sequence);
create index audit_log_actor_email_idx on control.audit_log (actor_email, effective_at, sequence);
create index audit_log_target_id_idx on control.audit_log (target_id, effective_at, sequence);
create index audit_log_project_id_idx on control.audit_log (project_id, effective_at, sequence) where project_id is not null;
comment on table control.audit_log is 'Every change, by whom, from where, what was and what is. Added to, never changed.';

create table control.audit_head (
    is_head boolean primary key default true check (is_head),
    sequence bigint not null,
    mac bytea not null check (length(mac) = 32),
    head_mac bytea not null
);
comment on table control.audit_head is
'The newest entry. head_mac covers its sequence and mac, so that an end that was cut off is noticed.';
insert into control.audit_head (sequence, mac, head_mac)
values (0, decode(repeat('00', 32), 'hex'), '');

create trigger announce_change after insert or update or delete or truncate on control.budgets
for each statement execute function control.announce_change();
create trigger announce_change after insert or update or delete or truncate on control.limits
for each statement execute function control.announce_change();

-- What decides about keys is announced row by row as `table:value of a column`, so that a router forgets only the keys that it
-- is about, and only where a column changes that decides: `last_used_at` and a sign-in's columns are written all the time.
create function control.announce_row() returns trigger
language plpgsql as $$
declare
    changed jsonb := to_jsonb(case when tg_op = 'DELETE' then old else new end);
begin
    perform pg_notify('control_changed', tg_table_name || ':' || (changed ->> tg_argv[0]));
    return null;
end
$$;

drop trigger announce_change on control.organizations;
drop trigger announce_change on control.projects;
drop trigger announce_change on control.users;
drop trigger announce_change on control.api_keys;
create trigger announce_row after insert or delete or update of suspended_at, deleted_at, key_models, key_cidrs
on control.organizations for each row execute function control.announce_row('id');
create trigger announce_row after delete or update of archived_at
on control.projects for each row execute function control.announce_row('id');
create trigger announce_row after delete or update of disabled_at, platform_admin
on control.users for each row execute function control.announce_row('id');
create trigger announce_row after delete or update of deleted_at
on control.service_accounts for each row execute function control.announce_row('id');
create trigger announce_row after insert or delete or update
on control.org_members for each row execute function control.announce_row('user_id');
create trigger announce_row
after insert or delete or update of
secret_hash, previous_secret_hash, previous_secret_until, kind, org_id, project_id, user_id, service_account_id, scopes, models, cidrs,
expires_at, revoked_at
on control.api_keys for each row execute function control.announce_row('public_id');
create trigger announce_truncate after truncate on control.organizations
for each statement execute function control.announce_change();
create trigger announce_truncate after truncate on control.projects
for each statement execute function control.announce_change();
create trigger announce_truncate after truncate on control.users
for each statement execute function control.announce_change();
create trigger announce_truncate after truncate on control.service_accounts
for each statement execute function control.announce_change();
create trigger announce_truncate after truncate on control.org_members
for each statement execute function control.announce_change();
create trigger announce_truncate after truncate on control.api_keys
for each statement execute function control.announce_change();
