-- What organizations are told of: webhooks and who gets mail, the events, and one delivery of an event for each of them.
create table control.webhooks (
    id bigint generated always as identity primary key,
    public_id text not null unique check (public_id ~ '^webhook_[0-9a-z]{12,32}$'),
    org_id bigint not null references control.organizations (id),
    name text not null check (length(name) between 1 and 200),
    url text not null check (url ~ '^https?://' and length(url) <= 2000),
    event_types text[],
    enabled boolean not null default true,
    secret_serial integer not null default 1 check (secret_serial > 0),
    previous_secret_until timestamptz,
    version integer not null default 1,
    created_at timestamptz not null default now(),
    deleted_at timestamptz,
    unique (org_id, id)
);
comment on column control.webhooks.event_types is 'Types that it is told of; null means all.';
comment on column control.webhooks.secret_serial is
'Which of its secrets signs. The secret is made of this, of public_id and of a key that only processes know: none is stored.';

create table control.alert_recipients (
    org_id bigint primary key references control.organizations (id),
    roles text[] not null check (roles <@ '{owner,admin,billing,member,auditor}'),
    emails text[] not null default '{}',
    version integer not null default 1
);
comment on table control.alert_recipients is
'Who gets mail. An organization without a row has its owners and billing users told.';

create table control.outbox_events (
    id bigint generated always as identity primary key,
    public_id text not null unique check (public_id ~ '^event_[0-9a-z]{12,32}$'),
    org_id bigint not null references control.organizations (id),
    event_type text not null check (event_type ~ '^[a-z_]+(\.[a-z_]+)+$'),
    data jsonb not null,
    happened_once text not null check (length(happened_once) between 1 and 200),
    created_at timestamptz not null default now(),
    unique (org_id, happened_once),
    unique (org_id, id)
);
create index outbox_events_created_at_idx on control.outbox_events (created_at);
comment on column control.outbox_events.happened_once is 'What the event is about, in a word: a second event of the same word is none.';

create table control.outbox_deliveries (
    id bigint generated always as identity primary key,
    public_id text not null unique check (public_id ~ '^delivery_[0-9a-z]{12,32}$'),
    org_id bigint not null,
    event_id bigint not null,
    webhook_id bigint,
    email text check (length(email) <= 320),
    status text not null default 'waiting' check (status in ('waiting', 'delivered', 'failed')),
    tries integer not null default 0 check (tries >= 0),
    next_try_at timestamptz not null default now(),
    tried_at timestamptz,
    delivered_at timestamptz,
    http_status integer,
    error text check (length(error) <= 300),
    created_at timestamptz not null default now(),
    foreign key (org_id, event_id) references control.outbox_events (org_id, id) on delete cascade,
    foreign key (org_id, webhook_id) references control.webhooks (org_id, id),
    unique nulls not distinct (event_id, webhook_id, email),
    check (num_nonnulls(webhook_id, email) = 1)
);
create index outbox_deliveries_due_idx on control.outbox_deliveries (next_try_at) where status = 'waiting';
create index outbox_deliveries_org_id_idx on control.outbox_deliveries (org_id, id);
comment on column control.outbox_deliveries.next_try_at is
'While a try is under way: when it counts as lost and is made again, so that a killed deliverer loses nothing.';
