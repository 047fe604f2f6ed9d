-- The price book whole: prices of a request and of reasoning, conditions as data, discounts of organizations, volume tiers.
-- The price book is at most some thousand rows: its lock is held for less than a second.
-- squawk-ignore-file constraint-missing-not-valid, ban-drop-constraint
alter table control.prices
add column request_picousd bigint not null default 0 check (request_picousd between 0 and 1000000000000000),
add column reasoning_picousd bigint check (reasoning_picousd between 0 and 1000000000000),
add column priority smallint not null default 0 check (priority between 0 and 1000),
add column endpoint raw.endpoint,
add column input_tokens_range int4range not null default '[0,)'
check (not isempty(input_tokens_range) and lower(input_tokens_range) >= 0),
add column tags jsonb not null default '{}' check (
    jsonb_typeof(tags) = 'object' and pg_column_size(tags) <= 2048
    and not jsonb_path_exists(tags, '$.* ? (@.type() != "string")')
),
add constraint prices_conditions_have_priority check (
    (priority = 0) = (endpoint is null and input_tokens_range = '[0,)' and tags = '{}')
),
drop constraint prices_no_overlap,
add constraint prices_no_overlap exclude using gist (
    model_id with =, (coalesce(org_id, 0)) with =, priority with =, input_tokens_range with &&, effective with &&
);
comment on table control.prices is
'Price book. Pico-dollars (1e-12 USD). Of the versions in force whose conditions a row meets, the one of its organization comes
before the list price, then the highest priority; priority 0 has no condition.';
comment on column control.prices.request_picousd is 'For each attempt that is charged, beside its tokens.';
comment on column control.prices.reasoning_picousd is 'Per reasoning token; null: as any other output token.';
comment on column control.prices.endpoint is 'Only requests of this endpoint; null: of any.';
comment on column control.prices.input_tokens_range is 'Only requests with so many input tokens: tiers by length of context.';
comment on column control.prices.tags is 'Only requests that carry all of these tags.';

-- A version with a condition may begin and end as it likes: below it there is the one without.
create or replace function control.refuse_price_gap() returns trigger
language plpgsql as $$
declare
    gap record;
begin
    select model_id, previous_end, effective into gap
    from (
        select model_id, effective, lag(upper(effective)) over (partition by model_id order by lower(effective)) as previous_end
        from control.prices
        where model_id in (new.model_id, old.model_id) and org_id is null and priority = 0
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

create table control.discounts (
    id integer generated always as identity primary key,
    org_id bigint not null references control.organizations (id),
    model_id integer references control.models (id),
    basis_points integer not null check (basis_points between 1 and 10000),
    months daterange not null check (
        not isempty(months) and lower_inc(months) and not upper_inc(months)
        and lower(months) = date_trunc('month', lower(months))
        and (upper_inf(months) or upper(months) = date_trunc('month', upper(months)))
    ),
    reason text not null check (length(reason) between 1 and 500),
    created_at timestamptz not null default now(),
    constraint discounts_no_overlap exclude using gist (org_id with =, (coalesce(model_id, 0)) with =, months with &&)
);
comment on table control.discounts is
'Taken from the lines of whole months of an organization; the one of the model comes before the one of all models.';

create table control.volume_tiers (
    id integer generated always as identity primary key,
    model_id integer not null references control.models (id),
    org_id bigint references control.organizations (id),
    token_class text not null check (token_class in ('input', 'cached_input', 'output', 'reasoning', 'request')),
    above_quantity bigint not null check (above_quantity > 0),
    basis_points integer not null check (basis_points between 1 and 10000),
    months daterange not null check (
        not isempty(months) and lower_inc(months) and not upper_inc(months)
        and lower(months) = date_trunc('month', lower(months))
        and (upper_inf(months) or upper(months) = date_trunc('month', upper(months)))
    ),
    reason text not null check (length(reason) between 1 and 500),
    created_at timestamptz not null default now(),
    constraint volume_tiers_no_overlap exclude using gist (
        model_id with =, (coalesce(org_id, 0)) with =, token_class with =, above_quantity with =, months with &&
    )
);
comment on table control.volume_tiers is
'What an organization uses of a model in a month above a quantity costs so much less, up to the next tier. Tiers of the
organization take the place of those for everybody.';

create trigger announce_change after insert or update or delete or truncate on control.discounts
for each statement execute function control.announce_change();
create trigger announce_change after insert or update or delete or truncate on control.volume_tiers
for each statement execute function control.announce_change();
