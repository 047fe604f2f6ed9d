-- What routers need to hold budgets and limits, and to bound what a request can cost before it runs.
-- Tables of rules, keys and models have at most some 100,000 rows: their locks are held for less than a second.
-- squawk-ignore-file constraint-missing-not-valid, disallowed-unique-constraint, require-concurrent-index-creation
alter table control.budgets
add column raised_limit_picousd numeric(38, 0),
add column raised_until timestamptz,
add constraint budgets_raise_check check ((raised_limit_picousd is null) = (raised_until is null)),
add constraint budgets_raised_limit_check check (raised_limit_picousd >= 0);
comment on column control.budgets.raised_until is 'Until then raised_limit_picousd is the limit, where it is the higher one.';

alter table control.limits add column mode text not null default 'hard' check (mode in ('hard', 'shadow'));
comment on column control.limits.mode is 'A shadow limit refuses nobody; control.shadow_refusals counts whom it would have refused.';

alter table control.organizations
add column when_redis_is_down text not null default 'refuse' check (when_redis_is_down in ('refuse', 'share'));
comment on column control.organizations.when_redis_is_down is
'refuse: requests under a budget or a limit get 503. share: each router goes on within its share of what was left.';

alter table control.api_keys
add column choices_max integer check (choices_max >= 1),
add column output_tokens_max integer check (output_tokens_max >= 1);
comment on column control.api_keys.choices_max is 'The largest `n` that a request of this key may ask for; null is no cap.';
comment on column control.api_keys.output_tokens_max is 'The largest `max_tokens` that a request of this key may ask for.';

alter table control.models
add column template_tokens_per_call integer not null default 256 check (template_tokens_per_call >= 0),
add column template_tokens_per_message integer not null default 16 check (template_tokens_per_message >= 0),
add column template_tokens_for_tools integer not null default 512 check (template_tokens_for_tools >= 0),
add column media_tokens_max integer check (media_tokens_max >= 0);
comment on column control.models.template_tokens_per_call is
'Tokens that the chat template adds to a call at most; with the ones below, the bound of a call''s input before it is tokenized.';
comment on column control.models.media_tokens_max is 'Tokens of an image, a sound or a film at most; null: as many as the context has.';

comment on column raw.usage_events.router_life is
'The account that the router had the row in: a random number, new at its start and whenever an account is opened anew.
A sum over rows leaves out those of the accounts that routers hold now, which Redis counts.';

create table control.shadow_refusals (
    org_id bigint not null references control.organizations (id),
    budget_id bigint references control.budgets (id),
    limit_id bigint references control.limits (id),
    day date not null,
    requests bigint not null check (requests > 0),
    check (num_nonnulls(budget_id, limit_id) = 1),
    unique nulls not distinct (budget_id, limit_id, day)
);
create index shadow_refusals_org_id_idx on control.shadow_refusals (org_id, day);
comment on table control.shadow_refusals is
'How many requests a budget or limit in shadow mode would have refused, by the day (UTC) of the request.';

-- Row by row, so that a router reads the rules of that organization only.
drop trigger announce_change on control.budgets;
drop trigger announce_change on control.limits;
create trigger announce_row after insert or delete or update
on control.budgets for each row execute function control.announce_row('org_id');
create trigger announce_row after insert or delete or update
on control.limits for each row execute function control.announce_row('org_id');
create trigger announce_truncate after truncate on control.budgets
for each statement execute function control.announce_change();
create trigger announce_truncate after truncate on control.limits
for each statement execute function control.announce_change();
drop trigger announce_row on control.organizations;
create trigger announce_row
after insert or delete or update of
suspended_at, deleted_at, key_models, key_cidrs, answers_kept_s, time_zone, when_redis_is_down
on control.organizations for each row execute function control.announce_row('id');
drop trigger announce_row on control.api_keys;
create trigger announce_row
after insert or delete or update of
secret_hash, previous_secret_hash, previous_secret_until, kind, org_id, project_id, user_id, service_account_id, scopes, models, cidrs,
expires_at, revoked_at, choices_max, output_tokens_max
on control.api_keys for each row execute function control.announce_row('public_id');
