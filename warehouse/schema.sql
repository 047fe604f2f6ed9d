-- What all migrations add up to. Written by `make schema`, kept true by tests/integration/warehouse/test_migrations.py.
-- For reading and for reviews; a database is made by `python -m warehouse.migrations`.

CREATE EXTENSION IF NOT EXISTS timescaledb WITH SCHEMA public;

COMMENT ON EXTENSION timescaledb IS 'Enables scalable inserts and complex queries for time-series data (Apache 2 Edition)';

CREATE SCHEMA archive;
CREATE SCHEMA billing;
CREATE SCHEMA control;
CREATE SCHEMA dagster;
CREATE SCHEMA findings;
CREATE SCHEMA intermediate;
CREATE SCHEMA ledger;
CREATE SCHEMA marts;
CREATE SCHEMA migrations;
CREATE SCHEMA raw;
CREATE SCHEMA staging;
CREATE EXTENSION IF NOT EXISTS btree_gist WITH SCHEMA public;

COMMENT ON EXTENSION btree_gist IS 'support for indexing common datatypes in GiST';

CREATE TYPE raw.charge_class AS ENUM (
    'charged',
    'free_refused',
    'free_engine_failed',
    'free_timed_out',
    'free_router_lost',
    'free_replayed'
);

CREATE TYPE raw.endpoint AS ENUM (
    'chat.completions',
    'completions',
    'responses',
    'embeddings',
    'rerank',
    'score',
    'messages',
    'tokenize',
    'detokenize'
);

CREATE TYPE raw.finish_reason AS ENUM (
    'stop',
    'length',
    'tool_calls',
    'content_filter',
    'abort',
    'error',
    'other'
);

CREATE TYPE raw.request_status AS ENUM (
    'completed',
    'refused',
    'client_closed',
    'engine_failed',
    'timed_out',
    'router_lost'
);

CREATE TYPE raw.token_source AS ENUM (
    'engine',
    'running',
    'estimate',
    'none'
);

CREATE FUNCTION control.add_sql_access(login name, for_org_id bigint, label text, verifier text, made_by text) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    SET createrole_self_grant TO 'set, inherit'
    AS $_$
begin
    if for_org_id is distinct from control.current_org_id() then
        raise exception 'this transaction was not opened for organization %', for_org_id using errcode = 'insufficient_privilege';
    end if;
    if login !~ '^inferhouse_sql_[0-9a-z_]{8,48}$' or verifier !~ '^SCRAM-SHA-256\$' then
        raise exception '% is no name of a SQL login, or there is no SCRAM verifier', login
            using errcode = 'invalid_role_specification';
    end if;
    if exists (select from pg_roles where rolname = login) then
        raise exception 'there is a role % already', login using errcode = 'duplicate_object';
    end if;
    perform control.create_sql_login(login, for_org_id, verifier);
    update control.sql_logins set name = label, created_by = made_by where role_name = login;
end
$_$;

CREATE FUNCTION control.announce_budget_alert() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    made text;
begin
    -- Multiplied and not divided: exact to the pico-dollar.
    select control.put_event(
        new.org_id,
        case when new.percent >= 100 then 'budget.exhausted' else 'budget.threshold_reached' end,
        jsonb_build_object(
            'budget_id', b.public_id, 'period', b.period, 'mode', b.mode, 'project_id', p.public_id,
            'window_start', to_char(new.window_start at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
            'percent', new.percent,
            'spent_usd', trim_scale(new.spent_picousd * 0.000000000001)::text,
            'limit_usd', trim_scale(new.limit_picousd * 0.000000000001)::text
        ),
        'budget ' || new.budget_id || ' ' || extract(epoch from new.window_start)::bigint || ' ' || new.percent
    ) into made
    from control.budgets as b
    left join control.projects as p on p.id = b.project_id
    where b.id = new.budget_id;
    return null;
end
$$;

CREATE FUNCTION control.announce_change() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
begin
    perform pg_notify('control_changed', tg_table_name);
    return null;
end
$$;

CREATE FUNCTION control.announce_row() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
declare
    changed jsonb := to_jsonb(case when tg_op = 'DELETE' then old else new end);
begin
    perform pg_notify('control_changed', tg_table_name || ':' || (changed ->> tg_argv[0]));
    return null;
end
$$;

CREATE FUNCTION control.check_sql_access(login name, for_org_id bigint) RETURNS void
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    if for_org_id is distinct from control.current_org_id() then
        raise exception 'this transaction was not opened for organization %', for_org_id using errcode = 'insufficient_privilege';
    end if;
    if not exists (
        select from control.sql_logins as l
        inner join pg_roles as r on r.rolname = l.role_name
        where l.role_name = login and l.org_id = for_org_id and not r.rolsuper and not r.rolcreaterole
            and pg_has_role(r.oid, 'inferhouse_tenant', 'member')
    ) then
        raise exception '% is no SQL login of this organization', login using errcode = 'invalid_role_specification';
    end if;
end
$$;

CREATE FUNCTION control.create_sql_login(login name, for_org_id bigint, login_password text) RETURNS void
    LANGUAGE plpgsql
    AS $$
begin
    if not exists (select from pg_roles where rolname = login) then
        execute format('create role %I login in role inferhouse_tenant connection limit 10', login);
    elsif login = current_user or not pg_has_role(login, 'inferhouse_tenant', 'member') then
        -- Its password would be replaced below: a service would be locked out, or an organization let in as one.
        raise exception '% is no SQL login of an organization', login using errcode = 'invalid_role_specification';
    end if;
    execute format('alter role %I password %L', login, login_password);
    execute format('alter role %I set statement_timeout = ''60s''', login);
    execute format('alter role %I set default_transaction_read_only = on', login);
    execute format('alter role %I set search_path = marts', login);
    insert into control.sql_logins (role_name, org_id) values (login, for_org_id)
    on conflict (role_name) do update set org_id = excluded.org_id;
end
$$;

CREATE FUNCTION control.current_org_id() RETURNS bigint
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    -- Only the portal and the management API may choose by a setting; they check the caller's membership first. A SQL
    -- login is bound to its organization by name, whatever it sets.
    if session_user in ('inferhouse_portal', 'inferhouse_management') then
        return nullif(current_setting('inferhouse.org_id', true), '')::bigint;
    end if;
    return (
        select l.org_id
        from control.sql_logins as l
        inner join control.organizations as o on o.id = l.org_id
        where l.role_name = session_user and o.suspended_at is null and o.deleted_at is null
    );
end
$$;

CREATE FUNCTION control.drop_sql_access(login name, for_org_id bigint) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
begin
    perform control.check_sql_access(login, for_org_id);
    delete from control.sql_logins where role_name = login;
    perform pg_terminate_backend(a.pid, 5000) from pg_stat_activity as a where a.usename = login;
    execute format('drop owned by %I', login);
    execute format('drop role %I', login);
end
$$;

CREATE FUNCTION control.health() RETURNS TABLE(applied jsonb, raw_rows bigint, mart_rows bigint, complete_to timestamp with time zone, marts_built boolean, last_request timestamp with time zone)
    LANGUAGE plpgsql STABLE SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
declare
    today timestamptz := date_trunc('day', now(), 'UTC');
begin
    select coalesce(jsonb_object_agg(a.name, a.sha256), '{}') into applied from migrations.applied as a;
    select count(*) into raw_rows from raw.usage_events as e
    where e.started_at >= today - interval '1 day' and e.started_at < today;
    select max(e.started_at) into last_request from raw.usage_events as e where e.started_at >= today - interval '1 day';
    marts_built := to_regclass('marts.usage_daily') is not null and to_regclass('marts.completeness') is not null;
    if marts_built then
        execute 'select coalesce(sum(usage_rows), 0)::bigint from marts.usage_daily where day_utc = $1'
        into mart_rows using ((today - interval '1 day') at time zone 'UTC')::date;
        execute 'select min(complete_to) from marts.completeness' into complete_to;
    end if;
    return next;
end
$_$;

CREATE FUNCTION control.hold_budget_anew() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
begin
    if (old.mode = 'soft' or old.deleted_at is not null) and new.mode <> 'soft' and new.deleted_at is null then
        new.hold_version := old.hold_version + 1;
    end if;
    return new;
end
$$;

CREATE FUNCTION control.note_budget_alerts() RETURNS integer
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
select control.note_budget_alerts_as_of(now())
$$;

CREATE FUNCTION control.note_budget_alerts_as_of(as_of timestamp with time zone) RETURNS integer
    LANGUAGE sql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
with windows as (
    select distinct on (b.id, w.window_start) b.*, w.window_start, w.window_end,
        case when b.raised_until > looked.at then greatest(b.limit_picousd, b.raised_limit_picousd) else b.limit_picousd end as in_force_picousd
    from control.budgets as b
    inner join control.organizations as o on o.id = b.org_id
    cross join (values (as_of), (as_of - interval '10 minutes')) as looked (at)
    cross join lateral (
        select
            case when b.period = 'lifetime' then b.created_at
                else date_trunc(b.period, looked.at at time zone o.time_zone) at time zone o.time_zone
            end as window_start,
            case when b.period = 'lifetime' then 'infinity'
                else (date_trunc(b.period, looked.at at time zone o.time_zone) + ('1 ' || b.period)::interval) at time zone o.time_zone
            end as window_end
    ) as w
    where b.deleted_at is null and o.deleted_at is null and cardinality(b.alert_percents) > 0 and b.created_at < w.window_end
    order by b.id, w.window_start, looked.at desc
),
spends as (
    select w.id, w.org_id, w.window_start, w.in_force_picousd as limit_picousd, w.alert_percents, spend.picousd
    from windows as w
    cross join lateral (
        select coalesce(sum(e.cost_picousd), 0) as picousd
        from raw.usage_events as e
        where e.org_id = w.org_id and e.started_at >= w.window_start and e.started_at < w.window_end
            and (w.project_id is null or e.project_id = w.project_id)
            and (w.user_id is null or e.user_id = w.user_id)
            and (w.service_account_id is null or e.service_account_id = w.service_account_id)
            and (w.api_key_id is null or e.api_key_id = w.api_key_id)
            and (w.model_id is null or e.model_id = w.model_id)
    ) as spend
),
noted as (
    insert into control.budget_alerts (org_id, budget_id, window_start, percent, spent_picousd, limit_picousd)
    select s.org_id, s.id, s.window_start, reached.percent, s.picousd, s.limit_picousd
    from spends as s
    cross join lateral unnest(s.alert_percents) as reached (percent)
    -- Multiplied and not divided: exact to the pico-dollar. A budget of nothing is reached by the first cost.
    where s.picousd > 0 and s.picousd * 100 >= s.limit_picousd * reached.percent
    on conflict (budget_id, window_start, percent) do nothing
    returning 1
)

select count(*)::integer from noted
$$;

CREATE FUNCTION control.put_event(for_org_id bigint, type_of text, about jsonb, once text, only_webhook_id bigint DEFAULT NULL::bigint) RETURNS text
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
declare
    made bigint;
    named text;
begin
    -- The management API speaks for one organization a transaction; the other callers work for all.
    if session_user = 'inferhouse_management' and for_org_id is distinct from control.current_org_id() then
        raise exception 'this transaction was not opened for organization %', for_org_id using errcode = 'insufficient_privilege';
    end if;
    insert into control.outbox_events (public_id, org_id, event_type, data, happened_once)
    values ('event_' || replace(gen_random_uuid()::text, '-', ''), for_org_id, type_of, about, once)
    on conflict (org_id, happened_once) do nothing
    returning id, public_id into made, named;
    if made is null then
        return null;
    end if;
    insert into control.outbox_deliveries (public_id, org_id, event_id, webhook_id)
    select 'delivery_' || replace(gen_random_uuid()::text, '-', ''), for_org_id, made, w.id
    from control.webhooks as w
    where w.org_id = for_org_id and w.deleted_at is null
        and case
            when only_webhook_id is null then w.enabled and (w.event_types is null or type_of = any (w.event_types))
            else w.id = only_webhook_id
        end;
    if only_webhook_id is null then
        insert into control.outbox_deliveries (public_id, org_id, event_id, email)
        select 'delivery_' || replace(gen_random_uuid()::text, '-', ''), for_org_id, made, told.email
        from (
            select lower(u.email) as email
            from control.org_members as m
            inner join control.users as u on u.id = m.user_id
            where m.org_id = for_org_id and u.disabled_at is null
                and m.role = any (coalesce(
                    (select r.roles from control.alert_recipients as r where r.org_id = for_org_id), '{owner,billing}'
                ))
            union
            select lower(unnest(r.emails)) from control.alert_recipients as r where r.org_id = for_org_id
            order by 1
            limit 100
        ) as told;
    end if;
    return named;
end
$$;

CREATE FUNCTION control.refuse_price_gap() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
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

CREATE FUNCTION control.rotate_sql_access(login name, for_org_id bigint, verifier text) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
begin
    perform control.check_sql_access(login, for_org_id);
    if verifier !~ '^SCRAM-SHA-256\$' then
        raise exception 'there is no SCRAM verifier' using errcode = 'invalid_password';
    end if;
    perform control.create_sql_login(login, for_org_id, verifier);
    update control.sql_logins set rotated_at = now() where role_name = login;
    perform pg_terminate_backend(a.pid, 5000) from pg_stat_activity as a where a.usename = login;
end
$_$;

CREATE FUNCTION control.sees_platform() RETURNS boolean
    LANGUAGE sql STABLE
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
select session_user = 'inferhouse_management' and current_setting('inferhouse.platform', true) = 'on'
$$;

CREATE TABLE raw.usage_events (
    request_id uuid NOT NULL,
    trace_id uuid,
    started_at timestamp with time zone NOT NULL,
    finished_at timestamp with time zone NOT NULL,
    recorded_at timestamp with time zone DEFAULT now() NOT NULL,
    recorded_xid xid8 DEFAULT pg_current_xact_id() NOT NULL,
    org_id bigint NOT NULL,
    project_id bigint NOT NULL,
    api_key_id bigint NOT NULL,
    user_id bigint,
    service_account_id bigint,
    cost_picousd bigint,
    endpoint raw.endpoint NOT NULL,
    status raw.request_status NOT NULL,
    finish_reason raw.finish_reason,
    token_source raw.token_source NOT NULL,
    charge_class raw.charge_class NOT NULL,
    model_id integer,
    engine_id integer,
    price_id integer,
    input_tokens integer NOT NULL,
    cached_input_tokens integer NOT NULL,
    output_tokens integer NOT NULL,
    reasoning_tokens integer NOT NULL,
    queue_us integer,
    ttft_us integer,
    duration_us integer NOT NULL,
    overhead_us integer,
    attempt smallint NOT NULL,
    http_status smallint NOT NULL,
    stream boolean NOT NULL,
    model_asked text,
    error_code text,
    end_user text,
    tags jsonb,
    router_life integer,
    CONSTRAINT usage_events_attempt_check CHECK ((attempt >= 0)),
    CONSTRAINT usage_events_check CHECK (((cached_input_tokens >= 0) AND (cached_input_tokens <= input_tokens))),
    CONSTRAINT usage_events_check1 CHECK (((reasoning_tokens >= 0) AND (reasoning_tokens <= output_tokens))),
    CONSTRAINT usage_events_check2 CHECK (((cost_picousd IS NULL) OR (price_id IS NOT NULL) OR (cost_picousd = 0))),
    CONSTRAINT usage_events_check3 CHECK ((finished_at >= started_at)),
    CONSTRAINT usage_events_cost_picousd_check CHECK ((cost_picousd >= 0)),
    CONSTRAINT usage_events_duration_us_check CHECK ((duration_us >= 0)),
    CONSTRAINT usage_events_end_user_check CHECK ((length(end_user) <= 128)),
    CONSTRAINT usage_events_error_code_check CHECK ((length(error_code) <= 64)),
    CONSTRAINT usage_events_input_tokens_check CHECK ((input_tokens >= 0)),
    CONSTRAINT usage_events_model_asked_check CHECK ((length(model_asked) <= 128)),
    CONSTRAINT usage_events_output_tokens_check CHECK ((output_tokens >= 0)),
    CONSTRAINT usage_events_overhead_us_check CHECK ((overhead_us >= 0)),
    CONSTRAINT usage_events_queue_us_check CHECK ((queue_us >= 0)),
    CONSTRAINT usage_events_tags_check CHECK ((pg_column_size(tags) <= 2048)),
    CONSTRAINT usage_events_ttft_us_check CHECK ((ttft_us >= 0))
);

COMMENT ON TABLE raw.usage_events IS 'One row per attempt on an engine (attempt >= 1), plus one per request refused before any (attempt 0).';
COMMENT ON COLUMN raw.usage_events.recorded_xid IS 'Commit order: readers take rows below pg_snapshot_xmin of their own snapshot, so a row committed late is never missed.';
COMMENT ON COLUMN raw.usage_events.model_asked IS 'Only where it differs from the model that served, or where none served.';
COMMENT ON COLUMN raw.usage_events.router_life IS 'The account that the router had the row in: a random number, new at its start and whenever an account is opened anew.
A sum over rows leaves out those of the accounts that routers hold now, which Redis counts.';

CREATE FUNCTION raw.row_digest(event raw.usage_events) RETURNS bytea
    LANGUAGE sql STABLE PARALLEL SAFE
    RETURN sha256(convert_to(concat_ws('|'::text, (event).request_id, (event).attempt, COALESCE(((event).trace_id)::text, ''::text), ((EXTRACT(epoch FROM (event).started_at) * (1000000)::numeric))::bigint, ((EXTRACT(epoch FROM (event).finished_at) * (1000000)::numeric))::bigint, (event).org_id, (event).project_id, (event).api_key_id, COALESCE(((event).user_id)::text, ''::text), COALESCE(((event).service_account_id)::text, ''::text), (event).endpoint, ((event).stream)::integer, (event).status, (event).http_status, COALESCE(((event).finish_reason)::text, ''::text), COALESCE(((event).model_id)::text, ''::text), COALESCE(((event).engine_id)::text, ''::text), (event).input_tokens, (event).cached_input_tokens, (event).output_tokens, (event).reasoning_tokens, (event).token_source, COALESCE(((event).queue_us)::text, ''::text), COALESCE(((event).ttft_us)::text, ''::text), (event).duration_us, COALESCE(((event).overhead_us)::text, ''::text), COALESCE(((event).price_id)::text, ''::text), COALESCE(((event).cost_picousd)::text, ''::text), (event).charge_class, COALESCE((to_json((event).model_asked))::text, ''::text), COALESCE((to_json((event).error_code))::text, ''::text), COALESCE((to_json((event).end_user))::text, ''::text), COALESCE(((event).tags)::text, ''::text)), 'UTF8'::name));

COMMENT ON FUNCTION raw.row_digest(event raw.usage_events) IS 'SHA-256 over the columns of a row, in the order of the function. When and by whom it was recorded is left out: a row that is
replayed or restored has the same digest. Free text is quoted as JSON, so that no two rows have the same bytes.';

CREATE TABLE control.alert_recipients (
    org_id bigint NOT NULL,
    roles text[] NOT NULL,
    emails text[] DEFAULT '{}'::text[] NOT NULL,
    version integer DEFAULT 1 NOT NULL,
    CONSTRAINT alert_recipients_roles_check CHECK ((roles <@ '{owner,admin,billing,member,auditor}'::text[]))
);

COMMENT ON TABLE control.alert_recipients IS 'Who gets mail. An organization without a row has its owners and billing users told.';

CREATE TABLE control.api_keys (
    id bigint NOT NULL,
    public_id text NOT NULL,
    secret_hash bytea NOT NULL,
    kind text NOT NULL,
    name text NOT NULL,
    org_id bigint,
    project_id bigint,
    user_id bigint,
    service_account_id bigint,
    models text[],
    expires_at timestamp with time zone,
    revoked_at timestamp with time zone,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    scopes text[] DEFAULT '{inference}'::text[] NOT NULL,
    cidrs cidr[],
    previous_secret_hash bytea,
    previous_secret_until timestamp with time zone,
    rotated_at timestamp with time zone,
    last_used_at timestamp with time zone,
    created_by text,
    version integer DEFAULT 1 NOT NULL,
    choices_max integer,
    output_tokens_max integer,
    CONSTRAINT api_keys_check1 CHECK (((user_id IS NULL) OR (service_account_id IS NULL))),
    CONSTRAINT api_keys_choices_max_check CHECK ((choices_max >= 1)),
    CONSTRAINT api_keys_kind_check CHECK ((kind = ANY (ARRAY['inference'::text, 'admin'::text, 'platform'::text]))),
    CONSTRAINT api_keys_name_check CHECK (((length(name) >= 1) AND (length(name) <= 200))),
    CONSTRAINT api_keys_output_tokens_max_check CHECK ((output_tokens_max >= 1)),
    CONSTRAINT api_keys_previous_secret_hash_check CHECK ((length(previous_secret_hash) = 32)),
    CONSTRAINT api_keys_public_id_check CHECK ((public_id ~ '^[0-9A-Za-z]{16}$'::text)),
    CONSTRAINT api_keys_scopes_check CHECK (((scopes <@ '{inference,usage.read,admin}'::text[]) AND ((cardinality(scopes) >= 1) AND (cardinality(scopes) <= 3)))),
    CONSTRAINT api_keys_secret_hash_check CHECK ((length(secret_hash) = 32))
);

COMMENT ON COLUMN control.api_keys.secret_hash IS 'HMAC-SHA256 of the secret under the pepper that only processes know.';
COMMENT ON COLUMN control.api_keys.models IS 'Names this key may use; null means every model.';
COMMENT ON COLUMN control.api_keys.cidrs IS 'Networks that the key works from; null means from everywhere.';
COMMENT ON COLUMN control.api_keys.previous_secret_hash IS 'The secret before the last rotation; works until previous_secret_until.';
COMMENT ON COLUMN control.api_keys.choices_max IS 'The largest `n` that a request of this key may ask for; null is no cap.';
COMMENT ON COLUMN control.api_keys.output_tokens_max IS 'The largest `max_tokens` that a request of this key may ask for.';

ALTER TABLE control.api_keys ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME control.api_keys_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE control.audit_head (
    is_head boolean DEFAULT true NOT NULL,
    sequence bigint NOT NULL,
    mac bytea NOT NULL,
    head_mac bytea NOT NULL,
    CONSTRAINT audit_head_is_head_check CHECK (is_head),
    CONSTRAINT audit_head_mac_check CHECK ((length(mac) = 32))
);

COMMENT ON TABLE control.audit_head IS 'The newest entry. head_mac covers its sequence and mac, so that an end that was cut off is noticed.';

CREATE TABLE control.audit_log (
    sequence bigint NOT NULL,
    public_id text NOT NULL,
    org_id bigint,
    project_id bigint,
    effective_at timestamp with time zone NOT NULL,
    event_type text NOT NULL,
    actor_type text NOT NULL,
    actor_id text NOT NULL,
    actor_email text,
    ip inet,
    request_id uuid,
    target_id text NOT NULL,
    before jsonb,
    after jsonb,
    previous_mac bytea NOT NULL,
    mac bytea NOT NULL,
    CONSTRAINT audit_log_actor_type_check CHECK ((actor_type = ANY (ARRAY['user'::text, 'api_key'::text, 'system'::text]))),
    CONSTRAINT audit_log_event_type_check CHECK ((event_type ~ '^[a-z_]+(\.[a-z_]+)+$'::text)),
    CONSTRAINT audit_log_mac_check CHECK ((length(mac) = 32)),
    CONSTRAINT audit_log_previous_mac_check CHECK ((length(previous_mac) = 32)),
    CONSTRAINT audit_log_public_id_check CHECK ((public_id ~ '^audit_[0-9a-z]{12,32}$'::text)),
    CONSTRAINT audit_log_sequence_check CHECK ((sequence > 0))
);

COMMENT ON TABLE control.audit_log IS 'Every change, by whom, from where, what was and what is. Added to, never changed.';

CREATE TABLE control.budget_alerts (
    id bigint NOT NULL,
    org_id bigint NOT NULL,
    budget_id bigint NOT NULL,
    window_start timestamp with time zone NOT NULL,
    percent integer NOT NULL,
    spent_picousd numeric(38,0) NOT NULL,
    limit_picousd numeric(38,0) NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL
);

ALTER TABLE control.budget_alerts ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME control.budget_alerts_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE control.budgets (
    id bigint NOT NULL,
    public_id text NOT NULL,
    org_id bigint NOT NULL,
    project_id bigint,
    user_id bigint,
    service_account_id bigint,
    api_key_id bigint,
    model_id integer,
    period text NOT NULL,
    limit_picousd numeric(38,0) NOT NULL,
    mode text DEFAULT 'hard'::text NOT NULL,
    alert_percents integer[] DEFAULT '{}'::integer[] NOT NULL,
    version integer DEFAULT 1 NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    deleted_at timestamp with time zone,
    raised_limit_picousd numeric(38,0),
    raised_until timestamp with time zone,
    hold_version integer DEFAULT 1 NOT NULL,
    CONSTRAINT budgets_check CHECK ((num_nonnulls(project_id, user_id, service_account_id, api_key_id) <= 1)),
    CONSTRAINT budgets_limit_picousd_check CHECK ((limit_picousd >= (0)::numeric)),
    CONSTRAINT budgets_mode_check CHECK ((mode = ANY (ARRAY['hard'::text, 'soft'::text, 'shadow'::text]))),
    CONSTRAINT budgets_period_check CHECK ((period = ANY (ARRAY['day'::text, 'week'::text, 'month'::text, 'lifetime'::text]))),
    CONSTRAINT budgets_public_id_check CHECK ((public_id ~ '^budget_[0-9a-z]{12,32}$'::text)),
    CONSTRAINT budgets_raise_check CHECK (((raised_limit_picousd IS NULL) = (raised_until IS NULL))),
    CONSTRAINT budgets_raised_limit_check CHECK ((raised_limit_picousd >= (0)::numeric))
);

COMMENT ON TABLE control.budgets IS 'What may be spent in a window of the organization''s time zone, by the whole organization or a part of it.';
COMMENT ON COLUMN control.budgets.raised_until IS 'Until then raised_limit_picousd is the limit, where it is the higher one.';
COMMENT ON COLUMN control.budgets.hold_version IS 'Another one whenever it begins to be held again, after it was soft or deleted: its windows are then summed up anew.';

ALTER TABLE control.budgets ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME control.budgets_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE control.device_logins (
    id bigint NOT NULL,
    device_code_hash bytea NOT NULL,
    user_code text NOT NULL,
    user_id bigint,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    expires_at timestamp with time zone NOT NULL,
    polled_at timestamp with time zone,
    second_factor boolean DEFAULT false NOT NULL,
    approved_at timestamp with time zone,
    denied_at timestamp with time zone,
    ip inet,
    user_agent text,
    CONSTRAINT device_logins_device_code_hash_check CHECK ((length(device_code_hash) = 32)),
    CONSTRAINT device_logins_user_agent_check CHECK ((length(user_agent) <= 300))
);

COMMENT ON TABLE control.device_logins IS 'Sign-ins of devices without a browser (RFC 8628); each row is used once.';

ALTER TABLE control.device_logins ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME control.device_logins_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE control.discounts (
    id integer NOT NULL,
    org_id bigint NOT NULL,
    model_id integer,
    basis_points integer NOT NULL,
    months daterange NOT NULL,
    reason text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT discounts_basis_points_check CHECK (((basis_points >= 1) AND (basis_points <= 10000))),
    CONSTRAINT discounts_months_check CHECK (((NOT isempty(months)) AND lower_inc(months) AND (NOT upper_inc(months)) AND (lower(months) = date_trunc('month'::text, (lower(months))::timestamp with time zone)) AND (upper_inf(months) OR (upper(months) = date_trunc('month'::text, (upper(months))::timestamp with time zone))))),
    CONSTRAINT discounts_reason_check CHECK (((length(reason) >= 1) AND (length(reason) <= 500)))
);

COMMENT ON TABLE control.discounts IS 'Taken from the lines of whole months of an organization; the one of the model comes before the one of all models.';

ALTER TABLE control.discounts ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME control.discounts_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE control.engines (
    id integer NOT NULL,
    name text NOT NULL,
    kind text NOT NULL,
    base_url text NOT NULL,
    model_id integer NOT NULL,
    enabled boolean DEFAULT true NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    version integer DEFAULT 1 NOT NULL,
    weight integer DEFAULT 100 NOT NULL,
    requests_at_once integer,
    served_model text,
    sealed_key bytea,
    canary_stopped_at timestamp with time zone,
    canary_stopped_why text,
    canary_percent integer,
    gpus smallint DEFAULT 0 NOT NULL,
    gpu_hour_picousd bigint DEFAULT 0 NOT NULL,
    CONSTRAINT engines_base_url_check CHECK ((base_url ~ '^https?://[^/]+(/[^/]+)*$'::text)),
    CONSTRAINT engines_canary_percent_check CHECK (((canary_percent >= 1) AND (canary_percent <= 50))),
    CONSTRAINT engines_canary_stopped_why_check CHECK ((length(canary_stopped_why) <= 300)),
    CONSTRAINT engines_gpu_hour_picousd_check CHECK (((gpu_hour_picousd >= 0) AND (gpu_hour_picousd <= '1000000000000000'::bigint))),
    CONSTRAINT engines_gpus_check CHECK (((gpus >= 0) AND (gpus <= 1024))),
    CONSTRAINT engines_kind_check CHECK ((kind = ANY (ARRAY['vllm'::text, 'simulated'::text, 'sglang'::text, 'openai'::text]))),
    CONSTRAINT engines_name_check CHECK ((name ~ '^[a-z0-9][a-z0-9-]{0,62}$'::text)),
    CONSTRAINT engines_requests_at_once_check CHECK ((requests_at_once > 0)),
    CONSTRAINT engines_served_model_check CHECK (((length(served_model) >= 1) AND (length(served_model) <= 200))),
    CONSTRAINT engines_weight_check CHECK (((weight >= 0) AND (weight <= 1000)))
);

COMMENT ON COLUMN control.engines.base_url IS 'Scheme, host, port and what stands before /v1; paths such as /v1/chat/completions are added by the router.';
COMMENT ON COLUMN control.engines.weight IS 'Share of the load, relative to the other engines of the model; 0 takes no new requests.';
COMMENT ON COLUMN control.engines.requests_at_once IS 'For each worker of a router; null: as many as there may be connections.';
COMMENT ON COLUMN control.engines.served_model IS 'What the engine itself calls the model; null: as it is called here.';
COMMENT ON COLUMN control.engines.sealed_key IS 'Key of a hosted provider, encrypted under a key that only processes know.';
COMMENT ON COLUMN control.engines.canary_stopped_at IS 'A router found it worse than the others; nothing goes to it until a change.';
COMMENT ON COLUMN control.engines.canary_percent IS 'Share of its model''s requests that it gets on trial; null: it is no canary.';
COMMENT ON COLUMN control.engines.gpu_hour_picousd IS 'Cost of one GPU for an hour, in pico-dollars.';

ALTER TABLE control.engines ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME control.engines_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE control.idempotent_answers (
    actor text NOT NULL,
    idempotency_key text NOT NULL,
    request_hash bytea NOT NULL,
    status integer NOT NULL,
    answer jsonb NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT idempotent_answers_idempotency_key_check CHECK (((length(idempotency_key) >= 1) AND (length(idempotency_key) <= 255))),
    CONSTRAINT idempotent_answers_request_hash_check CHECK ((length(request_hash) = 32))
);

COMMENT ON TABLE control.idempotent_answers IS 'What a create answered, without secrets, so that its repetition changes nothing.';

CREATE TABLE control.invites (
    id bigint NOT NULL,
    public_id text NOT NULL,
    org_id bigint NOT NULL,
    email text NOT NULL,
    role text NOT NULL,
    projects jsonb DEFAULT '[]'::jsonb NOT NULL,
    token_hash bytea NOT NULL,
    invited_by text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    expires_at timestamp with time zone NOT NULL,
    accepted_at timestamp with time zone,
    revoked_at timestamp with time zone,
    version integer DEFAULT 1 NOT NULL,
    CONSTRAINT invites_email_check CHECK (((email ~ '^[^@\s]+@[^@\s]+$'::text) AND (length(email) <= 320))),
    CONSTRAINT invites_public_id_check CHECK ((public_id ~ '^invite_[0-9a-z]{12,32}$'::text)),
    CONSTRAINT invites_role_check CHECK ((role = ANY (ARRAY['owner'::text, 'admin'::text, 'billing'::text, 'member'::text, 'auditor'::text]))),
    CONSTRAINT invites_token_hash_check CHECK ((length(token_hash) = 32))
);

COMMENT ON COLUMN control.invites.projects IS '[{"id": "proj_…", "role": "member"}]: what the invited person gets beside the role.';

ALTER TABLE control.invites ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME control.invites_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE control.limits (
    id bigint NOT NULL,
    public_id text NOT NULL,
    org_id bigint NOT NULL,
    project_id bigint,
    api_key_id bigint,
    model_id integer,
    requests_per_minute bigint,
    input_tokens_per_minute bigint,
    output_tokens_per_minute bigint,
    requests_at_once bigint,
    version integer DEFAULT 1 NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    deleted_at timestamp with time zone,
    mode text DEFAULT 'hard'::text NOT NULL,
    CONSTRAINT limits_check CHECK ((num_nonnulls(project_id, api_key_id) <= 1)),
    CONSTRAINT limits_check1 CHECK ((num_nonnulls(requests_per_minute, input_tokens_per_minute, output_tokens_per_minute, requests_at_once) >= 1)),
    CONSTRAINT limits_input_tokens_per_minute_check CHECK ((input_tokens_per_minute >= 0)),
    CONSTRAINT limits_mode_check CHECK ((mode = ANY (ARRAY['hard'::text, 'shadow'::text]))),
    CONSTRAINT limits_output_tokens_per_minute_check CHECK ((output_tokens_per_minute >= 0)),
    CONSTRAINT limits_public_id_check CHECK ((public_id ~ '^limit_[0-9a-z]{12,32}$'::text)),
    CONSTRAINT limits_requests_at_once_check CHECK ((requests_at_once >= 0)),
    CONSTRAINT limits_requests_per_minute_check CHECK ((requests_per_minute >= 0))
);

COMMENT ON COLUMN control.limits.mode IS 'A shadow limit refuses nobody; control.shadow_refusals counts whom it would have refused.';

ALTER TABLE control.limits ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME control.limits_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE control.login_failures (
    subject bytea NOT NULL,
    failures integer NOT NULL,
    last_at timestamp with time zone NOT NULL,
    blocked_until timestamp with time zone,
    CONSTRAINT login_failures_subject_check CHECK ((length(subject) = 32))
);

COMMENT ON COLUMN control.login_failures.subject IS 'Keyed hash of an e-mail address or of a network address: neither is stored for somebody who only tried.';

CREATE TABLE control.model_aliases (
    id bigint NOT NULL,
    public_id text NOT NULL,
    org_id bigint,
    name text NOT NULL,
    stages jsonb NOT NULL,
    version integer DEFAULT 1 NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    deleted_at timestamp with time zone,
    CONSTRAINT model_aliases_name_check CHECK ((name ~ '^[A-Za-z0-9][A-Za-z0-9._:/-]{0,127}$'::text)),
    CONSTRAINT model_aliases_public_id_check CHECK ((public_id ~ '^alias_[0-9a-z]{12,32}$'::text)),
    CONSTRAINT model_aliases_stages_check CHECK ((jsonb_typeof(stages) = 'array'::text))
);

COMMENT ON TABLE control.model_aliases IS 'A name that stands for models; org_id null is for everybody, otherwise one organization''s own.';
COMMENT ON COLUMN control.model_aliases.stages IS '[[{"model": "name", "weight": 3}, …], …]: a model of the first stage by weight; what follows is for when it cannot answer.';

ALTER TABLE control.model_aliases ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME control.model_aliases_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE control.models (
    id integer NOT NULL,
    name text NOT NULL,
    context_tokens_max integer NOT NULL,
    output_tokens_max integer NOT NULL,
    retired_at timestamp with time zone,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    version integer DEFAULT 1 NOT NULL,
    template_tokens_per_call integer DEFAULT 256 NOT NULL,
    template_tokens_per_message integer DEFAULT 16 NOT NULL,
    template_tokens_for_tools integer DEFAULT 512 NOT NULL,
    media_tokens_max integer,
    CONSTRAINT models_context_tokens_max_check CHECK ((context_tokens_max > 0)),
    CONSTRAINT models_media_tokens_max_check CHECK ((media_tokens_max >= 0)),
    CONSTRAINT models_name_check CHECK ((name ~ '^[A-Za-z0-9][A-Za-z0-9._:/-]{0,127}$'::text)),
    CONSTRAINT models_output_tokens_max_check CHECK ((output_tokens_max > 0)),
    CONSTRAINT models_template_tokens_for_tools_check CHECK ((template_tokens_for_tools >= 0)),
    CONSTRAINT models_template_tokens_per_call_check CHECK ((template_tokens_per_call >= 0)),
    CONSTRAINT models_template_tokens_per_message_check CHECK ((template_tokens_per_message >= 0))
);

COMMENT ON COLUMN control.models.template_tokens_per_call IS 'Tokens that the chat template adds to a call at most; with the ones below, the bound of a call''s input before it is tokenized.';
COMMENT ON COLUMN control.models.media_tokens_max IS 'Tokens of an image, a sound or a film at most; null: as many as the context has.';

ALTER TABLE control.models ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME control.models_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE control.oidc_logins (
    state_hash bytea NOT NULL,
    nonce text NOT NULL,
    code_verifier text NOT NULL,
    redirect_uri text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    expires_at timestamp with time zone NOT NULL,
    CONSTRAINT oidc_logins_state_hash_check CHECK ((length(state_hash) = 32))
);

COMMENT ON TABLE control.oidc_logins IS 'Sign-ins under way at an identity provider; each row is used once.';

CREATE TABLE control.org_members (
    org_id bigint NOT NULL,
    user_id bigint NOT NULL,
    role text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    version integer DEFAULT 1 NOT NULL,
    by_group boolean DEFAULT false NOT NULL,
    CONSTRAINT org_members_role_check CHECK ((role = ANY (ARRAY['owner'::text, 'admin'::text, 'billing'::text, 'member'::text, 'auditor'::text])))
);

COMMENT ON COLUMN control.org_members.by_group IS 'Made by a group of the identity provider: the next sign-in changes or ends it by the groups of then.';

CREATE TABLE control.organizations (
    id bigint NOT NULL,
    public_id text NOT NULL,
    name text NOT NULL,
    time_zone text DEFAULT 'UTC'::text NOT NULL,
    currency text DEFAULT 'USD'::text NOT NULL,
    suspended_at timestamp with time zone,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    deleted_at timestamp with time zone,
    version integer DEFAULT 1 NOT NULL,
    key_days_max integer,
    keys_per_member_max integer,
    key_models text[],
    key_cidrs cidr[],
    totp_required boolean DEFAULT false NOT NULL,
    answers_kept_s integer DEFAULT 0 NOT NULL,
    when_redis_is_down text DEFAULT 'refuse'::text NOT NULL,
    queue_weight integer DEFAULT 1 NOT NULL,
    CONSTRAINT organizations_answers_kept_s_check CHECK (((answers_kept_s >= 0) AND (answers_kept_s <= 604800))),
    CONSTRAINT organizations_currency_check CHECK ((currency = 'USD'::text)),
    CONSTRAINT organizations_key_days_max_check CHECK (((key_days_max >= 1) AND (key_days_max <= 3650))),
    CONSTRAINT organizations_keys_per_member_max_check CHECK (((keys_per_member_max >= 0) AND (keys_per_member_max <= 10000))),
    CONSTRAINT organizations_name_check CHECK (((length(name) >= 1) AND (length(name) <= 200))),
    CONSTRAINT organizations_public_id_check CHECK ((public_id ~ '^org_[0-9a-z]{12,32}$'::text)),
    CONSTRAINT organizations_queue_weight_check CHECK (((queue_weight >= 1) AND (queue_weight <= 100))),
    CONSTRAINT organizations_when_redis_is_down_check CHECK ((when_redis_is_down = ANY (ARRAY['refuse'::text, 'share'::text])))
);

COMMENT ON TABLE control.organizations IS 'A tenant. Everything below carries its id.';
COMMENT ON COLUMN control.organizations.key_days_max IS 'Caps on the keys that members make, with keys_per_member_max, key_models and key_cidrs; null means no cap.';
COMMENT ON COLUMN control.organizations.answers_kept_s IS 'For how long the answers of requests with an Idempotency-Key are kept to be sent again; 0 keeps none.';
COMMENT ON COLUMN control.organizations.when_redis_is_down IS 'refuse: requests under a budget or a limit get 503. share: each router goes on within its share of what was left.';
COMMENT ON COLUMN control.organizations.queue_weight IS 'Share of full engines that its requests get, relative to the other organizations that wait for them.';

ALTER TABLE control.organizations ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME control.organizations_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE control.outbox_deliveries (
    id bigint NOT NULL,
    public_id text NOT NULL,
    org_id bigint NOT NULL,
    event_id bigint NOT NULL,
    webhook_id bigint,
    email text,
    status text DEFAULT 'waiting'::text NOT NULL,
    tries integer DEFAULT 0 NOT NULL,
    next_try_at timestamp with time zone DEFAULT now() NOT NULL,
    tried_at timestamp with time zone,
    delivered_at timestamp with time zone,
    http_status integer,
    error text,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT outbox_deliveries_check CHECK ((num_nonnulls(webhook_id, email) = 1)),
    CONSTRAINT outbox_deliveries_email_check CHECK ((length(email) <= 320)),
    CONSTRAINT outbox_deliveries_error_check CHECK ((length(error) <= 300)),
    CONSTRAINT outbox_deliveries_public_id_check CHECK ((public_id ~ '^delivery_[0-9a-z]{12,32}$'::text)),
    CONSTRAINT outbox_deliveries_status_check CHECK ((status = ANY (ARRAY['waiting'::text, 'delivered'::text, 'failed'::text]))),
    CONSTRAINT outbox_deliveries_tries_check CHECK ((tries >= 0))
);

COMMENT ON COLUMN control.outbox_deliveries.next_try_at IS 'While a try is under way: when it counts as lost and is made again, so that a killed deliverer loses nothing.';

ALTER TABLE control.outbox_deliveries ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME control.outbox_deliveries_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE control.outbox_events (
    id bigint NOT NULL,
    public_id text NOT NULL,
    org_id bigint NOT NULL,
    event_type text NOT NULL,
    data jsonb NOT NULL,
    happened_once text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT outbox_events_event_type_check CHECK ((event_type ~ '^[a-z_]+(\.[a-z_]+)+$'::text)),
    CONSTRAINT outbox_events_happened_once_check CHECK (((length(happened_once) >= 1) AND (length(happened_once) <= 200))),
    CONSTRAINT outbox_events_public_id_check CHECK ((public_id ~ '^event_[0-9a-z]{12,32}$'::text))
);

COMMENT ON COLUMN control.outbox_events.happened_once IS 'What the event is about, in a word: a second event of the same word is none.';

ALTER TABLE control.outbox_events ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME control.outbox_events_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE control.prices (
    id integer NOT NULL,
    model_id integer NOT NULL,
    org_id bigint,
    input_picousd bigint NOT NULL,
    cached_input_picousd bigint NOT NULL,
    output_picousd bigint NOT NULL,
    effective tstzrange NOT NULL,
    reason text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    request_picousd bigint DEFAULT 0 NOT NULL,
    reasoning_picousd bigint,
    priority smallint DEFAULT 0 NOT NULL,
    endpoint raw.endpoint,
    input_tokens_range int4range DEFAULT '[0,)'::int4range NOT NULL,
    tags jsonb DEFAULT '{}'::jsonb NOT NULL,
    CONSTRAINT prices_cached_input_picousd_check CHECK (((cached_input_picousd >= 0) AND (cached_input_picousd <= '1000000000000'::bigint))),
    CONSTRAINT prices_conditions_have_priority CHECK (((priority = 0) = ((endpoint IS NULL) AND (input_tokens_range = '[0,)'::int4range) AND (tags = '{}'::jsonb)))),
    CONSTRAINT prices_effective_check CHECK (((NOT isempty(effective)) AND lower_inc(effective) AND (NOT upper_inc(effective)))),
    CONSTRAINT prices_input_picousd_check CHECK (((input_picousd >= 0) AND (input_picousd <= '1000000000000'::bigint))),
    CONSTRAINT prices_input_tokens_range_check CHECK (((NOT isempty(input_tokens_range)) AND (lower(input_tokens_range) >= 0))),
    CONSTRAINT prices_output_picousd_check CHECK (((output_picousd >= 0) AND (output_picousd <= '1000000000000'::bigint))),
    CONSTRAINT prices_priority_check CHECK (((priority >= 0) AND (priority <= 1000))),
    CONSTRAINT prices_reason_check CHECK (((length(reason) >= 1) AND (length(reason) <= 500))),
    CONSTRAINT prices_reasoning_picousd_check CHECK (((reasoning_picousd >= 0) AND (reasoning_picousd <= '1000000000000'::bigint))),
    CONSTRAINT prices_request_picousd_check CHECK (((request_picousd >= 0) AND (request_picousd <= '1000000000000000'::bigint))),
    CONSTRAINT prices_tags_check CHECK (((jsonb_typeof(tags) = 'object'::text) AND (pg_column_size(tags) <= 2048)))
);

COMMENT ON TABLE control.prices IS 'Price book. Pico-dollars (1e-12 USD). Of the versions in force whose conditions a row meets, the one of its organization comes
before the list price, then the highest priority; priority 0 has no condition.';

COMMENT ON COLUMN control.prices.request_picousd IS 'For each attempt that is charged, beside its tokens.';
COMMENT ON COLUMN control.prices.reasoning_picousd IS 'Per reasoning token; null: as any other output token.';
COMMENT ON COLUMN control.prices.endpoint IS 'Only requests of this endpoint; null: of any.';
COMMENT ON COLUMN control.prices.input_tokens_range IS 'Only requests with so many input tokens: tiers by length of context.';
COMMENT ON COLUMN control.prices.tags IS 'Only requests that carry all of these tags.';

ALTER TABLE control.prices ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME control.prices_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE control.project_members (
    org_id bigint NOT NULL,
    project_id bigint NOT NULL,
    user_id bigint NOT NULL,
    role text NOT NULL,
    version integer DEFAULT 1 NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT project_members_role_check CHECK ((role = ANY (ARRAY['admin'::text, 'member'::text, 'viewer'::text])))
);

CREATE TABLE control.projects (
    id bigint NOT NULL,
    public_id text NOT NULL,
    org_id bigint NOT NULL,
    name text NOT NULL,
    archived_at timestamp with time zone,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    version integer DEFAULT 1 NOT NULL,
    CONSTRAINT projects_name_check CHECK (((length(name) >= 1) AND (length(name) <= 200))),
    CONSTRAINT projects_public_id_check CHECK ((public_id ~ '^proj_[0-9a-z]{12,32}$'::text))
);

ALTER TABLE control.projects ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME control.projects_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE control.service_accounts (
    id bigint NOT NULL,
    public_id text NOT NULL,
    org_id bigint NOT NULL,
    project_id bigint NOT NULL,
    name text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    role text DEFAULT 'member'::text NOT NULL,
    created_by text,
    deleted_at timestamp with time zone,
    version integer DEFAULT 1 NOT NULL,
    CONSTRAINT service_accounts_name_check CHECK (((length(name) >= 1) AND (length(name) <= 200))),
    CONSTRAINT service_accounts_public_id_check CHECK ((public_id ~ '^svc_[0-9a-z]{12,32}$'::text)),
    CONSTRAINT service_accounts_role_check CHECK ((role = ANY (ARRAY['member'::text, 'viewer'::text])))
);

ALTER TABLE control.service_accounts ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME control.service_accounts_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE control.sessions (
    id bigint NOT NULL,
    public_id text NOT NULL,
    user_id bigint NOT NULL,
    serial integer DEFAULT 1 NOT NULL,
    rotated_at timestamp with time zone DEFAULT now() NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    expires_at timestamp with time zone NOT NULL,
    revoked_at timestamp with time zone,
    method text NOT NULL,
    second_factor boolean NOT NULL,
    ip inet,
    user_agent text,
    CONSTRAINT sessions_method_check CHECK ((method = ANY (ARRAY['password'::text, 'oidc'::text, 'device'::text]))),
    CONSTRAINT sessions_public_id_check CHECK ((public_id ~ '^sess_[0-9a-z]{12,32}$'::text)),
    CONSTRAINT sessions_user_agent_check CHECK ((length(user_agent) <= 300))
);

COMMENT ON COLUMN control.sessions.serial IS 'Which token of this session is the newest. One that was replaced before the last rotation ends the session: it was copied.';

ALTER TABLE control.sessions ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME control.sessions_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE control.shadow_refusals (
    org_id bigint NOT NULL,
    budget_id bigint,
    limit_id bigint,
    day date NOT NULL,
    requests bigint NOT NULL,
    CONSTRAINT shadow_refusals_check CHECK ((num_nonnulls(budget_id, limit_id) = 1)),
    CONSTRAINT shadow_refusals_requests_check CHECK ((requests > 0))
);

COMMENT ON TABLE control.shadow_refusals IS 'How many requests a budget or limit in shadow mode would have refused, by the day (UTC) of the request.';

CREATE TABLE control.sql_logins (
    role_name name NOT NULL,
    org_id bigint NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    name text DEFAULT 'SQL access'::text NOT NULL,
    created_by text,
    rotated_at timestamp with time zone,
    CONSTRAINT sql_logins_name_check CHECK (((length(name) >= 1) AND (length(name) <= 200)))
);

COMMENT ON TABLE control.sql_logins IS 'Which organization a read-only SQL login belongs to; read by control.current_org_id().';

CREATE TABLE control.users (
    id bigint NOT NULL,
    public_id text NOT NULL,
    email text NOT NULL,
    name text NOT NULL,
    password_hash text,
    platform_admin boolean DEFAULT false NOT NULL,
    disabled_at timestamp with time zone,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    version integer DEFAULT 1 NOT NULL,
    totp_secret bytea,
    totp_enabled_at timestamp with time zone,
    totp_step_last bigint,
    recovery_hashes bytea[] DEFAULT '{}'::bytea[] NOT NULL,
    oidc_issuer text,
    oidc_subject text,
    CONSTRAINT users_email_check CHECK (((email ~ '^[^@\s]+@[^@\s]+$'::text) AND (length(email) <= 320))),
    CONSTRAINT users_oidc_check CHECK (((oidc_issuer IS NULL) = (oidc_subject IS NULL))),
    CONSTRAINT users_public_id_check CHECK ((public_id ~ '^user_[0-9a-z]{12,32}$'::text))
);

COMMENT ON COLUMN control.users.password_hash IS 'argon2id; null for users who sign in elsewhere.';
COMMENT ON COLUMN control.users.totp_secret IS 'Encrypted with a key that only processes know.';
COMMENT ON COLUMN control.users.recovery_hashes IS 'Keyed hashes of the codes that stand in for a lost second factor, each once.';

ALTER TABLE control.users ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME control.users_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE control.volume_tiers (
    id integer NOT NULL,
    model_id integer NOT NULL,
    org_id bigint,
    token_class text NOT NULL,
    above_quantity bigint NOT NULL,
    basis_points integer NOT NULL,
    months daterange NOT NULL,
    reason text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT volume_tiers_above_quantity_check CHECK ((above_quantity > 0)),
    CONSTRAINT volume_tiers_basis_points_check CHECK (((basis_points >= 1) AND (basis_points <= 10000))),
    CONSTRAINT volume_tiers_months_check CHECK (((NOT isempty(months)) AND lower_inc(months) AND (NOT upper_inc(months)) AND (lower(months) = date_trunc('month'::text, (lower(months))::timestamp with time zone)) AND (upper_inf(months) OR (upper(months) = date_trunc('month'::text, (upper(months))::timestamp with time zone))))),
    CONSTRAINT volume_tiers_reason_check CHECK (((length(reason) >= 1) AND (length(reason) <= 500))),
    CONSTRAINT volume_tiers_token_class_check CHECK ((token_class = ANY (ARRAY['input'::text, 'cached_input'::text, 'output'::text, 'reasoning'::text, 'request'::text])))
);

COMMENT ON TABLE control.volume_tiers IS 'What an organization uses of a model in a month above a quantity costs so much less, up to the next tier. Tiers of the
organization take the place of those for everybody.';

ALTER TABLE control.volume_tiers ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME control.volume_tiers_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE control.webhooks (
    id bigint NOT NULL,
    public_id text NOT NULL,
    org_id bigint NOT NULL,
    name text NOT NULL,
    url text NOT NULL,
    event_types text[],
    enabled boolean DEFAULT true NOT NULL,
    secret_serial integer DEFAULT 1 NOT NULL,
    previous_secret_until timestamp with time zone,
    version integer DEFAULT 1 NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    deleted_at timestamp with time zone,
    CONSTRAINT webhooks_name_check CHECK (((length(name) >= 1) AND (length(name) <= 200))),
    CONSTRAINT webhooks_public_id_check CHECK ((public_id ~ '^webhook_[0-9a-z]{12,32}$'::text)),
    CONSTRAINT webhooks_secret_serial_check CHECK ((secret_serial > 0)),
    CONSTRAINT webhooks_url_check CHECK (((url ~ '^https?://'::text) AND (length(url) <= 2000)))
);

COMMENT ON COLUMN control.webhooks.event_types IS 'Types that it is told of; null means all.';
COMMENT ON COLUMN control.webhooks.secret_serial IS 'Which of its secrets signs. The secret is made of this, of public_id and of a key that only processes know: none is stored.';

ALTER TABLE control.webhooks ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME control.webhooks_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE marts.spend_forecast (
    org_id bigint NOT NULL,
    day_utc date NOT NULL,
    cost_picousd numeric NOT NULL,
    cost_picousd_low numeric NOT NULL,
    cost_picousd_high numeric NOT NULL,
    interval_share numeric NOT NULL,
    days_of_history integer NOT NULL,
    forecast_at timestamp with time zone NOT NULL,
    CONSTRAINT spend_forecast_check CHECK (((cost_picousd_low >= (0)::numeric) AND (cost_picousd_low <= cost_picousd))),
    CONSTRAINT spend_forecast_check1 CHECK ((cost_picousd_high >= cost_picousd)),
    CONSTRAINT spend_forecast_cost_picousd_check CHECK ((cost_picousd >= (0)::numeric)),
    CONSTRAINT spend_forecast_days_of_history_check CHECK ((days_of_history > 0)),
    CONSTRAINT spend_forecast_interval_share_check CHECK (((interval_share > (0)::numeric) AND (interval_share < (1)::numeric)))
);

COMMENT ON TABLE marts.spend_forecast IS 'Expected spend per organization and UTC day to come. interval_share of past forecasts fell between low and high.';

CREATE TABLE migrations.applied (
    name text NOT NULL,
    sha256 text NOT NULL,
    applied_at timestamp with time zone DEFAULT now() NOT NULL
);

CREATE TABLE raw.idempotent_answers (
    api_key_id bigint NOT NULL,
    idempotency_key_hash bytea NOT NULL,
    request_hash bytea NOT NULL,
    request_id uuid NOT NULL,
    started_at timestamp with time zone NOT NULL,
    expires_at timestamp with time zone NOT NULL,
    finished boolean DEFAULT false NOT NULL,
    model_id integer,
    answer bytea,
    CONSTRAINT idempotent_answers_answer_check CHECK ((length(answer) <= 1048576)),
    CONSTRAINT idempotent_answers_idempotency_key_hash_check CHECK ((length(idempotency_key_hash) = 32)),
    CONSTRAINT idempotent_answers_request_hash_check CHECK ((length(request_hash) = 32))
);

COMMENT ON TABLE raw.idempotent_answers IS 'Requests with an Idempotency-Key: under way, or charged; the answer only where the organization has chosen to keep answers.';

CREATE TABLE raw.journal_positions (
    worker text NOT NULL,
    reported_at timestamp with time zone NOT NULL,
    recorded_xid xid8 DEFAULT pg_current_xact_id() NOT NULL,
    complete_to timestamp with time zone NOT NULL,
    CONSTRAINT journal_positions_worker_check CHECK ((length(worker) <= 128))
);

COMMENT ON TABLE raw.journal_positions IS 'Per router worker: every row started before complete_to is in raw.usage_events. A worker that is cleanly gone has none.';

ALTER TABLE ONLY control.alert_recipients
    ADD CONSTRAINT alert_recipients_pkey PRIMARY KEY (org_id);

ALTER TABLE control.api_keys
    ADD CONSTRAINT api_keys_home_check CHECK ((((kind = 'platform'::text) AND (org_id IS NULL) AND (project_id IS NULL)) OR ((kind = 'admin'::text) AND (org_id IS NOT NULL) AND (project_id IS NULL)) OR ((kind = 'inference'::text) AND (org_id IS NOT NULL) AND (project_id IS NOT NULL)))) NOT VALID;

ALTER TABLE ONLY control.api_keys
    ADD CONSTRAINT api_keys_pkey PRIMARY KEY (id);

ALTER TABLE ONLY control.api_keys
    ADD CONSTRAINT api_keys_public_id_key UNIQUE (public_id);

ALTER TABLE ONLY control.audit_head
    ADD CONSTRAINT audit_head_pkey PRIMARY KEY (is_head);

ALTER TABLE ONLY control.audit_log
    ADD CONSTRAINT audit_log_pkey PRIMARY KEY (sequence);

ALTER TABLE ONLY control.audit_log
    ADD CONSTRAINT audit_log_public_id_key UNIQUE (public_id);

ALTER TABLE ONLY control.budget_alerts
    ADD CONSTRAINT budget_alerts_budget_id_window_start_percent_key UNIQUE (budget_id, window_start, percent);

ALTER TABLE ONLY control.budget_alerts
    ADD CONSTRAINT budget_alerts_pkey PRIMARY KEY (id);

ALTER TABLE ONLY control.budgets
    ADD CONSTRAINT budgets_pkey PRIMARY KEY (id);

ALTER TABLE ONLY control.budgets
    ADD CONSTRAINT budgets_public_id_key UNIQUE (public_id);

ALTER TABLE ONLY control.device_logins
    ADD CONSTRAINT device_logins_device_code_hash_key UNIQUE (device_code_hash);

ALTER TABLE ONLY control.device_logins
    ADD CONSTRAINT device_logins_pkey PRIMARY KEY (id);

ALTER TABLE ONLY control.device_logins
    ADD CONSTRAINT device_logins_user_code_key UNIQUE (user_code);

ALTER TABLE ONLY control.discounts
    ADD CONSTRAINT discounts_no_overlap EXCLUDE USING gist (org_id WITH =, COALESCE(model_id, 0) WITH =, months WITH &&);

ALTER TABLE ONLY control.discounts
    ADD CONSTRAINT discounts_pkey PRIMARY KEY (id);

ALTER TABLE ONLY control.engines
    ADD CONSTRAINT engines_name_key UNIQUE (name);

ALTER TABLE ONLY control.engines
    ADD CONSTRAINT engines_pkey PRIMARY KEY (id);

ALTER TABLE ONLY control.idempotent_answers
    ADD CONSTRAINT idempotent_answers_pkey PRIMARY KEY (actor, idempotency_key);

ALTER TABLE ONLY control.invites
    ADD CONSTRAINT invites_pkey PRIMARY KEY (id);

ALTER TABLE ONLY control.invites
    ADD CONSTRAINT invites_public_id_key UNIQUE (public_id);

ALTER TABLE ONLY control.invites
    ADD CONSTRAINT invites_token_hash_key UNIQUE (token_hash);

ALTER TABLE ONLY control.limits
    ADD CONSTRAINT limits_pkey PRIMARY KEY (id);

ALTER TABLE ONLY control.limits
    ADD CONSTRAINT limits_public_id_key UNIQUE (public_id);

ALTER TABLE ONLY control.login_failures
    ADD CONSTRAINT login_failures_pkey PRIMARY KEY (subject);

ALTER TABLE ONLY control.model_aliases
    ADD CONSTRAINT model_aliases_pkey PRIMARY KEY (id);

ALTER TABLE ONLY control.model_aliases
    ADD CONSTRAINT model_aliases_public_id_key UNIQUE (public_id);

ALTER TABLE ONLY control.models
    ADD CONSTRAINT models_name_key UNIQUE (name);

ALTER TABLE ONLY control.models
    ADD CONSTRAINT models_pkey PRIMARY KEY (id);

ALTER TABLE ONLY control.oidc_logins
    ADD CONSTRAINT oidc_logins_pkey PRIMARY KEY (state_hash);

ALTER TABLE ONLY control.org_members
    ADD CONSTRAINT org_members_pkey PRIMARY KEY (org_id, user_id);

ALTER TABLE ONLY control.organizations
    ADD CONSTRAINT organizations_pkey PRIMARY KEY (id);

ALTER TABLE ONLY control.organizations
    ADD CONSTRAINT organizations_public_id_key UNIQUE (public_id);

ALTER TABLE ONLY control.outbox_deliveries
    ADD CONSTRAINT outbox_deliveries_event_id_webhook_id_email_key UNIQUE NULLS NOT DISTINCT (event_id, webhook_id, email);

ALTER TABLE ONLY control.outbox_deliveries
    ADD CONSTRAINT outbox_deliveries_pkey PRIMARY KEY (id);

ALTER TABLE ONLY control.outbox_deliveries
    ADD CONSTRAINT outbox_deliveries_public_id_key UNIQUE (public_id);

ALTER TABLE ONLY control.outbox_events
    ADD CONSTRAINT outbox_events_org_id_happened_once_key UNIQUE (org_id, happened_once);

ALTER TABLE ONLY control.outbox_events
    ADD CONSTRAINT outbox_events_org_id_id_key UNIQUE (org_id, id);

ALTER TABLE ONLY control.outbox_events
    ADD CONSTRAINT outbox_events_pkey PRIMARY KEY (id);

ALTER TABLE ONLY control.outbox_events
    ADD CONSTRAINT outbox_events_public_id_key UNIQUE (public_id);

ALTER TABLE ONLY control.prices
    ADD CONSTRAINT prices_no_overlap EXCLUDE USING gist (model_id WITH =, COALESCE(org_id, (0)::bigint) WITH =, priority WITH =, input_tokens_range WITH &&, effective WITH &&);

ALTER TABLE ONLY control.prices
    ADD CONSTRAINT prices_pkey PRIMARY KEY (id);

ALTER TABLE ONLY control.project_members
    ADD CONSTRAINT project_members_pkey PRIMARY KEY (project_id, user_id);

ALTER TABLE ONLY control.projects
    ADD CONSTRAINT projects_org_id_id_key UNIQUE (org_id, id);

ALTER TABLE ONLY control.projects
    ADD CONSTRAINT projects_org_id_name_key UNIQUE (org_id, name);

ALTER TABLE ONLY control.projects
    ADD CONSTRAINT projects_pkey PRIMARY KEY (id);

ALTER TABLE ONLY control.projects
    ADD CONSTRAINT projects_public_id_key UNIQUE (public_id);

ALTER TABLE ONLY control.service_accounts
    ADD CONSTRAINT service_accounts_pkey PRIMARY KEY (id);

ALTER TABLE ONLY control.service_accounts
    ADD CONSTRAINT service_accounts_public_id_key UNIQUE (public_id);

ALTER TABLE ONLY control.sessions
    ADD CONSTRAINT sessions_pkey PRIMARY KEY (id);

ALTER TABLE ONLY control.sessions
    ADD CONSTRAINT sessions_public_id_key UNIQUE (public_id);

ALTER TABLE ONLY control.shadow_refusals
    ADD CONSTRAINT shadow_refusals_budget_id_limit_id_day_key UNIQUE NULLS NOT DISTINCT (budget_id, limit_id, day);

ALTER TABLE ONLY control.sql_logins
    ADD CONSTRAINT sql_logins_pkey PRIMARY KEY (role_name);

ALTER TABLE ONLY control.users
    ADD CONSTRAINT users_oidc_key UNIQUE (oidc_issuer, oidc_subject);

ALTER TABLE ONLY control.users
    ADD CONSTRAINT users_pkey PRIMARY KEY (id);

ALTER TABLE ONLY control.users
    ADD CONSTRAINT users_public_id_key UNIQUE (public_id);

ALTER TABLE ONLY control.volume_tiers
    ADD CONSTRAINT volume_tiers_no_overlap EXCLUDE USING gist (model_id WITH =, COALESCE(org_id, (0)::bigint) WITH =, token_class WITH =, above_quantity WITH =, months WITH &&);

ALTER TABLE ONLY control.volume_tiers
    ADD CONSTRAINT volume_tiers_pkey PRIMARY KEY (id);

ALTER TABLE ONLY control.webhooks
    ADD CONSTRAINT webhooks_org_id_id_key UNIQUE (org_id, id);

ALTER TABLE ONLY control.webhooks
    ADD CONSTRAINT webhooks_pkey PRIMARY KEY (id);

ALTER TABLE ONLY control.webhooks
    ADD CONSTRAINT webhooks_public_id_key UNIQUE (public_id);

ALTER TABLE ONLY marts.spend_forecast
    ADD CONSTRAINT spend_forecast_pkey PRIMARY KEY (org_id, day_utc);

ALTER TABLE ONLY migrations.applied
    ADD CONSTRAINT applied_pkey PRIMARY KEY (name);

ALTER TABLE ONLY raw.idempotent_answers
    ADD CONSTRAINT idempotent_answers_pkey PRIMARY KEY (api_key_id, idempotency_key_hash);

ALTER TABLE ONLY raw.journal_positions
    ADD CONSTRAINT journal_positions_pkey PRIMARY KEY (worker);

CREATE INDEX api_keys_org_id_idx ON control.api_keys USING btree (org_id);
CREATE INDEX api_keys_project_id_idx ON control.api_keys USING btree (org_id, project_id, id);
CREATE INDEX api_keys_user_id_idx ON control.api_keys USING btree (user_id) WHERE (user_id IS NOT NULL);
CREATE INDEX audit_log_actor_email_idx ON control.audit_log USING btree (actor_email, effective_at, sequence);
CREATE INDEX audit_log_actor_id_idx ON control.audit_log USING btree (actor_id, effective_at, sequence);
CREATE INDEX audit_log_effective_at_idx ON control.audit_log USING btree (effective_at, sequence);
CREATE INDEX audit_log_event_type_idx ON control.audit_log USING btree (event_type, effective_at, sequence);
CREATE INDEX audit_log_org_id_event_type_idx ON control.audit_log USING btree (org_id, event_type, effective_at, sequence);
CREATE INDEX audit_log_org_id_idx ON control.audit_log USING btree (org_id, effective_at, sequence);
CREATE INDEX audit_log_project_id_idx ON control.audit_log USING btree (project_id, effective_at, sequence) WHERE (project_id IS NOT NULL);
CREATE INDEX audit_log_target_id_idx ON control.audit_log USING btree (target_id, effective_at, sequence);
CREATE INDEX budgets_org_id_idx ON control.budgets USING btree (org_id, id) WHERE (deleted_at IS NULL);
CREATE INDEX device_logins_expires_at_idx ON control.device_logins USING btree (expires_at);
CREATE INDEX idempotent_answers_created_at_idx ON control.idempotent_answers USING btree (created_at);
CREATE UNIQUE INDEX invites_open_key ON control.invites USING btree (org_id, lower(email)) WHERE ((accepted_at IS NULL) AND (revoked_at IS NULL));
CREATE INDEX invites_org_id_idx ON control.invites USING btree (org_id, id);
CREATE INDEX limits_org_id_idx ON control.limits USING btree (org_id, id) WHERE (deleted_at IS NULL);
CREATE INDEX login_failures_last_at_idx ON control.login_failures USING btree (last_at);
CREATE UNIQUE INDEX model_aliases_name_key ON control.model_aliases USING btree (COALESCE(org_id, (0)::bigint), name) WHERE (deleted_at IS NULL);
CREATE INDEX model_aliases_org_id_idx ON control.model_aliases USING btree (org_id, id);
CREATE INDEX oidc_logins_expires_at_idx ON control.oidc_logins USING btree (expires_at);
CREATE INDEX org_members_user_id_idx ON control.org_members USING btree (user_id);
CREATE INDEX outbox_deliveries_due_idx ON control.outbox_deliveries USING btree (next_try_at) WHERE (status = 'waiting'::text);
CREATE INDEX outbox_deliveries_org_id_idx ON control.outbox_deliveries USING btree (org_id, id);
CREATE INDEX outbox_events_created_at_idx ON control.outbox_events USING btree (created_at);
CREATE INDEX project_members_user_id_idx ON control.project_members USING btree (org_id, user_id);
CREATE INDEX service_accounts_project_id_idx ON control.service_accounts USING btree (org_id, project_id, id);
CREATE INDEX sessions_expires_at_idx ON control.sessions USING btree (expires_at);
CREATE INDEX sessions_user_id_idx ON control.sessions USING btree (user_id) WHERE (revoked_at IS NULL);
CREATE INDEX shadow_refusals_org_id_idx ON control.shadow_refusals USING btree (org_id, day);
CREATE INDEX sql_logins_org_id_idx ON control.sql_logins USING btree (org_id, role_name);
CREATE UNIQUE INDEX users_email_key ON control.users USING btree (lower(email));
CREATE INDEX idempotent_answers_expires_at_idx ON raw.idempotent_answers USING btree (expires_at);
CREATE UNIQUE INDEX usage_events_once ON raw.usage_events USING btree (started_at, request_id, attempt);
CREATE INDEX usage_events_recorded_xid_idx ON raw.usage_events USING btree (recorded_xid);
CREATE TRIGGER announce_budget_alert AFTER INSERT ON control.budget_alerts FOR EACH ROW EXECUTE FUNCTION control.announce_budget_alert();
CREATE TRIGGER announce_change AFTER INSERT OR DELETE OR UPDATE OR TRUNCATE ON control.discounts FOR EACH STATEMENT EXECUTE FUNCTION control.announce_change();
CREATE TRIGGER announce_change AFTER INSERT OR DELETE OR UPDATE OR TRUNCATE ON control.engines FOR EACH STATEMENT EXECUTE FUNCTION control.announce_change();
CREATE TRIGGER announce_change AFTER INSERT OR DELETE OR UPDATE OR TRUNCATE ON control.model_aliases FOR EACH STATEMENT EXECUTE FUNCTION control.announce_change();
CREATE TRIGGER announce_change AFTER INSERT OR DELETE OR UPDATE OR TRUNCATE ON control.models FOR EACH STATEMENT EXECUTE FUNCTION control.announce_change();
CREATE TRIGGER announce_change AFTER INSERT OR DELETE OR UPDATE OR TRUNCATE ON control.prices FOR EACH STATEMENT EXECUTE FUNCTION control.announce_change();
CREATE TRIGGER announce_change AFTER INSERT OR DELETE OR UPDATE OR TRUNCATE ON control.volume_tiers FOR EACH STATEMENT EXECUTE FUNCTION control.announce_change();
CREATE TRIGGER announce_row AFTER INSERT OR DELETE OR UPDATE OF secret_hash, previous_secret_hash, previous_secret_until, kind, org_id, project_id, user_id, service_account_id, scopes, models, cidrs, expires_at, revoked_at, choices_max, output_tokens_max ON control.api_keys FOR EACH ROW EXECUTE FUNCTION control.announce_row('public_id');
CREATE TRIGGER announce_row AFTER INSERT OR DELETE OR UPDATE ON control.budgets FOR EACH ROW EXECUTE FUNCTION control.announce_row('org_id');
CREATE TRIGGER announce_row AFTER INSERT OR DELETE OR UPDATE ON control.limits FOR EACH ROW EXECUTE FUNCTION control.announce_row('org_id');
CREATE TRIGGER announce_row AFTER INSERT OR DELETE OR UPDATE ON control.org_members FOR EACH ROW EXECUTE FUNCTION control.announce_row('user_id');
CREATE TRIGGER announce_row AFTER INSERT OR DELETE OR UPDATE OF suspended_at, deleted_at, key_models, key_cidrs, answers_kept_s, time_zone, when_redis_is_down, queue_weight ON control.organizations FOR EACH ROW EXECUTE FUNCTION control.announce_row('id');
CREATE TRIGGER announce_row AFTER DELETE OR UPDATE OF archived_at ON control.projects FOR EACH ROW EXECUTE FUNCTION control.announce_row('id');
CREATE TRIGGER announce_row AFTER DELETE OR UPDATE OF deleted_at ON control.service_accounts FOR EACH ROW EXECUTE FUNCTION control.announce_row('id');
CREATE TRIGGER announce_row AFTER DELETE OR UPDATE OF disabled_at, platform_admin ON control.users FOR EACH ROW EXECUTE FUNCTION control.announce_row('id');
CREATE TRIGGER announce_truncate AFTER TRUNCATE ON control.api_keys FOR EACH STATEMENT EXECUTE FUNCTION control.announce_change();
CREATE TRIGGER announce_truncate AFTER TRUNCATE ON control.budgets FOR EACH STATEMENT EXECUTE FUNCTION control.announce_change();
CREATE TRIGGER announce_truncate AFTER TRUNCATE ON control.limits FOR EACH STATEMENT EXECUTE FUNCTION control.announce_change();
CREATE TRIGGER announce_truncate AFTER TRUNCATE ON control.org_members FOR EACH STATEMENT EXECUTE FUNCTION control.announce_change();
CREATE TRIGGER announce_truncate AFTER TRUNCATE ON control.organizations FOR EACH STATEMENT EXECUTE FUNCTION control.announce_change();
CREATE TRIGGER announce_truncate AFTER TRUNCATE ON control.projects FOR EACH STATEMENT EXECUTE FUNCTION control.announce_change();
CREATE TRIGGER announce_truncate AFTER TRUNCATE ON control.service_accounts FOR EACH STATEMENT EXECUTE FUNCTION control.announce_change();
CREATE TRIGGER announce_truncate AFTER TRUNCATE ON control.users FOR EACH STATEMENT EXECUTE FUNCTION control.announce_change();
CREATE TRIGGER hold_budget_anew BEFORE UPDATE OF mode, deleted_at ON control.budgets FOR EACH ROW EXECUTE FUNCTION control.hold_budget_anew();
CREATE CONSTRAINT TRIGGER prices_no_gap AFTER INSERT OR DELETE OR UPDATE ON control.prices DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION control.refuse_price_gap();
CREATE TRIGGER ts_insert_blocker BEFORE INSERT ON raw.usage_events FOR EACH ROW EXECUTE FUNCTION _timescaledb_functions.insert_blocker();

ALTER TABLE ONLY control.alert_recipients
    ADD CONSTRAINT alert_recipients_org_id_fkey FOREIGN KEY (org_id) REFERENCES control.organizations(id);

ALTER TABLE ONLY control.api_keys
    ADD CONSTRAINT api_keys_org_id_fkey FOREIGN KEY (org_id) REFERENCES control.organizations(id);

ALTER TABLE ONLY control.api_keys
    ADD CONSTRAINT api_keys_org_id_project_id_fkey FOREIGN KEY (org_id, project_id) REFERENCES control.projects(org_id, id);

ALTER TABLE ONLY control.api_keys
    ADD CONSTRAINT api_keys_service_account_id_fkey FOREIGN KEY (service_account_id) REFERENCES control.service_accounts(id);

ALTER TABLE ONLY control.api_keys
    ADD CONSTRAINT api_keys_user_id_fkey FOREIGN KEY (user_id) REFERENCES control.users(id);

ALTER TABLE ONLY control.audit_log
    ADD CONSTRAINT audit_log_org_id_fkey FOREIGN KEY (org_id) REFERENCES control.organizations(id);

ALTER TABLE ONLY control.audit_log
    ADD CONSTRAINT audit_log_project_id_fkey FOREIGN KEY (project_id) REFERENCES control.projects(id);

ALTER TABLE ONLY control.budget_alerts
    ADD CONSTRAINT budget_alerts_budget_id_fkey FOREIGN KEY (budget_id) REFERENCES control.budgets(id);

ALTER TABLE ONLY control.budget_alerts
    ADD CONSTRAINT budget_alerts_org_id_fkey FOREIGN KEY (org_id) REFERENCES control.organizations(id);

ALTER TABLE ONLY control.budgets
    ADD CONSTRAINT budgets_api_key_id_fkey FOREIGN KEY (api_key_id) REFERENCES control.api_keys(id);

ALTER TABLE ONLY control.budgets
    ADD CONSTRAINT budgets_model_id_fkey FOREIGN KEY (model_id) REFERENCES control.models(id);

ALTER TABLE ONLY control.budgets
    ADD CONSTRAINT budgets_org_id_fkey FOREIGN KEY (org_id) REFERENCES control.organizations(id);

ALTER TABLE ONLY control.budgets
    ADD CONSTRAINT budgets_org_id_project_id_fkey FOREIGN KEY (org_id, project_id) REFERENCES control.projects(org_id, id);

ALTER TABLE ONLY control.budgets
    ADD CONSTRAINT budgets_service_account_id_fkey FOREIGN KEY (service_account_id) REFERENCES control.service_accounts(id);

ALTER TABLE ONLY control.budgets
    ADD CONSTRAINT budgets_user_id_fkey FOREIGN KEY (user_id) REFERENCES control.users(id);

ALTER TABLE ONLY control.device_logins
    ADD CONSTRAINT device_logins_user_id_fkey FOREIGN KEY (user_id) REFERENCES control.users(id);

ALTER TABLE ONLY control.discounts
    ADD CONSTRAINT discounts_model_id_fkey FOREIGN KEY (model_id) REFERENCES control.models(id);

ALTER TABLE ONLY control.discounts
    ADD CONSTRAINT discounts_org_id_fkey FOREIGN KEY (org_id) REFERENCES control.organizations(id);

ALTER TABLE ONLY control.engines
    ADD CONSTRAINT engines_model_id_fkey FOREIGN KEY (model_id) REFERENCES control.models(id);

ALTER TABLE ONLY control.invites
    ADD CONSTRAINT invites_org_id_fkey FOREIGN KEY (org_id) REFERENCES control.organizations(id);

ALTER TABLE ONLY control.limits
    ADD CONSTRAINT limits_api_key_id_fkey FOREIGN KEY (api_key_id) REFERENCES control.api_keys(id);

ALTER TABLE ONLY control.limits
    ADD CONSTRAINT limits_model_id_fkey FOREIGN KEY (model_id) REFERENCES control.models(id);

ALTER TABLE ONLY control.limits
    ADD CONSTRAINT limits_org_id_fkey FOREIGN KEY (org_id) REFERENCES control.organizations(id);

ALTER TABLE ONLY control.limits
    ADD CONSTRAINT limits_org_id_project_id_fkey FOREIGN KEY (org_id, project_id) REFERENCES control.projects(org_id, id);

ALTER TABLE ONLY control.model_aliases
    ADD CONSTRAINT model_aliases_org_id_fkey FOREIGN KEY (org_id) REFERENCES control.organizations(id);

ALTER TABLE ONLY control.org_members
    ADD CONSTRAINT org_members_org_id_fkey FOREIGN KEY (org_id) REFERENCES control.organizations(id);

ALTER TABLE ONLY control.org_members
    ADD CONSTRAINT org_members_user_id_fkey FOREIGN KEY (user_id) REFERENCES control.users(id);

ALTER TABLE ONLY control.outbox_deliveries
    ADD CONSTRAINT outbox_deliveries_org_id_event_id_fkey FOREIGN KEY (org_id, event_id) REFERENCES control.outbox_events(org_id, id) ON DELETE CASCADE;

ALTER TABLE ONLY control.outbox_deliveries
    ADD CONSTRAINT outbox_deliveries_org_id_webhook_id_fkey FOREIGN KEY (org_id, webhook_id) REFERENCES control.webhooks(org_id, id);

ALTER TABLE ONLY control.outbox_events
    ADD CONSTRAINT outbox_events_org_id_fkey FOREIGN KEY (org_id) REFERENCES control.organizations(id);

ALTER TABLE ONLY control.prices
    ADD CONSTRAINT prices_model_id_fkey FOREIGN KEY (model_id) REFERENCES control.models(id);

ALTER TABLE ONLY control.prices
    ADD CONSTRAINT prices_org_id_fkey FOREIGN KEY (org_id) REFERENCES control.organizations(id);

ALTER TABLE ONLY control.project_members
    ADD CONSTRAINT project_members_org_id_project_id_fkey FOREIGN KEY (org_id, project_id) REFERENCES control.projects(org_id, id);

ALTER TABLE ONLY control.project_members
    ADD CONSTRAINT project_members_org_id_user_id_fkey FOREIGN KEY (org_id, user_id) REFERENCES control.org_members(org_id, user_id) ON DELETE CASCADE;

ALTER TABLE ONLY control.projects
    ADD CONSTRAINT projects_org_id_fkey FOREIGN KEY (org_id) REFERENCES control.organizations(id);

ALTER TABLE ONLY control.service_accounts
    ADD CONSTRAINT service_accounts_org_id_project_id_fkey FOREIGN KEY (org_id, project_id) REFERENCES control.projects(org_id, id);

ALTER TABLE ONLY control.sessions
    ADD CONSTRAINT sessions_user_id_fkey FOREIGN KEY (user_id) REFERENCES control.users(id);

ALTER TABLE ONLY control.shadow_refusals
    ADD CONSTRAINT shadow_refusals_budget_id_fkey FOREIGN KEY (budget_id) REFERENCES control.budgets(id);

ALTER TABLE ONLY control.shadow_refusals
    ADD CONSTRAINT shadow_refusals_limit_id_fkey FOREIGN KEY (limit_id) REFERENCES control.limits(id);

ALTER TABLE ONLY control.shadow_refusals
    ADD CONSTRAINT shadow_refusals_org_id_fkey FOREIGN KEY (org_id) REFERENCES control.organizations(id);

ALTER TABLE ONLY control.sql_logins
    ADD CONSTRAINT sql_logins_org_id_fkey FOREIGN KEY (org_id) REFERENCES control.organizations(id);

ALTER TABLE ONLY control.volume_tiers
    ADD CONSTRAINT volume_tiers_model_id_fkey FOREIGN KEY (model_id) REFERENCES control.models(id);

ALTER TABLE ONLY control.volume_tiers
    ADD CONSTRAINT volume_tiers_org_id_fkey FOREIGN KEY (org_id) REFERENCES control.organizations(id);

ALTER TABLE ONLY control.webhooks
    ADD CONSTRAINT webhooks_org_id_fkey FOREIGN KEY (org_id) REFERENCES control.organizations(id);

ALTER TABLE control.alert_recipients ENABLE ROW LEVEL SECURITY;
ALTER TABLE control.api_keys ENABLE ROW LEVEL SECURITY;
ALTER TABLE control.audit_log ENABLE ROW LEVEL SECURITY;
ALTER TABLE control.budget_alerts ENABLE ROW LEVEL SECURITY;
ALTER TABLE control.budgets ENABLE ROW LEVEL SECURITY;

CREATE POLICY deliverer_forgets ON control.outbox_events FOR DELETE TO inferhouse_transform USING (true);
CREATE POLICY deliverer_notes ON control.outbox_deliveries FOR UPDATE TO inferhouse_transform USING (true) WITH CHECK (true);

ALTER TABLE control.discounts ENABLE ROW LEVEL SECURITY;
ALTER TABLE control.invites ENABLE ROW LEVEL SECURITY;
ALTER TABLE control.limits ENABLE ROW LEVEL SECURITY;

CREATE POLICY list_prices ON control.discounts FOR SELECT TO inferhouse_management USING ((org_id IS NULL));
CREATE POLICY list_prices ON control.prices FOR SELECT TO inferhouse_management USING ((org_id IS NULL));
CREATE POLICY list_prices ON control.volume_tiers FOR SELECT TO inferhouse_management USING ((org_id IS NULL));
CREATE POLICY management_rows ON control.alert_recipients TO inferhouse_management USING ((( SELECT control.sees_platform() AS sees_platform) OR (org_id = ( SELECT control.current_org_id() AS current_org_id)))) WITH CHECK ((( SELECT control.sees_platform() AS sees_platform) OR (NOT (org_id IS DISTINCT FROM ( SELECT control.current_org_id() AS current_org_id)))));
CREATE POLICY management_rows ON control.api_keys TO inferhouse_management USING ((( SELECT control.sees_platform() AS sees_platform) OR (org_id = ( SELECT control.current_org_id() AS current_org_id)))) WITH CHECK ((( SELECT control.sees_platform() AS sees_platform) OR (NOT (org_id IS DISTINCT FROM ( SELECT control.current_org_id() AS current_org_id)))));
CREATE POLICY management_rows ON control.audit_log TO inferhouse_management USING ((( SELECT control.sees_platform() AS sees_platform) OR (org_id = ( SELECT control.current_org_id() AS current_org_id)))) WITH CHECK ((( SELECT control.sees_platform() AS sees_platform) OR (NOT (org_id IS DISTINCT FROM ( SELECT control.current_org_id() AS current_org_id)))));
CREATE POLICY management_rows ON control.budget_alerts TO inferhouse_management USING ((( SELECT control.sees_platform() AS sees_platform) OR (org_id = ( SELECT control.current_org_id() AS current_org_id)))) WITH CHECK ((( SELECT control.sees_platform() AS sees_platform) OR (NOT (org_id IS DISTINCT FROM ( SELECT control.current_org_id() AS current_org_id)))));
CREATE POLICY management_rows ON control.budgets TO inferhouse_management USING ((( SELECT control.sees_platform() AS sees_platform) OR (org_id = ( SELECT control.current_org_id() AS current_org_id)))) WITH CHECK ((( SELECT control.sees_platform() AS sees_platform) OR (NOT (org_id IS DISTINCT FROM ( SELECT control.current_org_id() AS current_org_id)))));
CREATE POLICY management_rows ON control.discounts TO inferhouse_management USING ((( SELECT control.sees_platform() AS sees_platform) OR (org_id = ( SELECT control.current_org_id() AS current_org_id)))) WITH CHECK (( SELECT control.sees_platform() AS sees_platform));
CREATE POLICY management_rows ON control.invites TO inferhouse_management USING ((( SELECT control.sees_platform() AS sees_platform) OR (org_id = ( SELECT control.current_org_id() AS current_org_id)))) WITH CHECK ((( SELECT control.sees_platform() AS sees_platform) OR (NOT (org_id IS DISTINCT FROM ( SELECT control.current_org_id() AS current_org_id)))));
CREATE POLICY management_rows ON control.limits TO inferhouse_management USING ((( SELECT control.sees_platform() AS sees_platform) OR (org_id = ( SELECT control.current_org_id() AS current_org_id)))) WITH CHECK ((( SELECT control.sees_platform() AS sees_platform) OR (NOT (org_id IS DISTINCT FROM ( SELECT control.current_org_id() AS current_org_id)))));
CREATE POLICY management_rows ON control.model_aliases TO inferhouse_management USING ((( SELECT control.sees_platform() AS sees_platform) OR (org_id = ( SELECT control.current_org_id() AS current_org_id)))) WITH CHECK ((( SELECT control.sees_platform() AS sees_platform) OR (NOT (org_id IS DISTINCT FROM ( SELECT control.current_org_id() AS current_org_id)))));
CREATE POLICY management_rows ON control.org_members TO inferhouse_management USING ((( SELECT control.sees_platform() AS sees_platform) OR (org_id = ( SELECT control.current_org_id() AS current_org_id)))) WITH CHECK ((( SELECT control.sees_platform() AS sees_platform) OR (NOT (org_id IS DISTINCT FROM ( SELECT control.current_org_id() AS current_org_id)))));
CREATE POLICY management_rows ON control.organizations TO inferhouse_management USING ((( SELECT control.sees_platform() AS sees_platform) OR (id = ( SELECT control.current_org_id() AS current_org_id)))) WITH CHECK ((( SELECT control.sees_platform() AS sees_platform) OR (id = ( SELECT control.current_org_id() AS current_org_id))));
CREATE POLICY management_rows ON control.outbox_deliveries TO inferhouse_management USING ((( SELECT control.sees_platform() AS sees_platform) OR (org_id = ( SELECT control.current_org_id() AS current_org_id)))) WITH CHECK ((( SELECT control.sees_platform() AS sees_platform) OR (NOT (org_id IS DISTINCT FROM ( SELECT control.current_org_id() AS current_org_id)))));
CREATE POLICY management_rows ON control.outbox_events TO inferhouse_management USING ((( SELECT control.sees_platform() AS sees_platform) OR (org_id = ( SELECT control.current_org_id() AS current_org_id)))) WITH CHECK ((( SELECT control.sees_platform() AS sees_platform) OR (NOT (org_id IS DISTINCT FROM ( SELECT control.current_org_id() AS current_org_id)))));
CREATE POLICY management_rows ON control.prices TO inferhouse_management USING ((( SELECT control.sees_platform() AS sees_platform) OR (org_id = ( SELECT control.current_org_id() AS current_org_id)))) WITH CHECK (( SELECT control.sees_platform() AS sees_platform));
CREATE POLICY management_rows ON control.project_members TO inferhouse_management USING ((( SELECT control.sees_platform() AS sees_platform) OR (org_id = ( SELECT control.current_org_id() AS current_org_id)))) WITH CHECK ((( SELECT control.sees_platform() AS sees_platform) OR (NOT (org_id IS DISTINCT FROM ( SELECT control.current_org_id() AS current_org_id)))));
CREATE POLICY management_rows ON control.projects TO inferhouse_management USING ((( SELECT control.sees_platform() AS sees_platform) OR (org_id = ( SELECT control.current_org_id() AS current_org_id)))) WITH CHECK ((( SELECT control.sees_platform() AS sees_platform) OR (NOT (org_id IS DISTINCT FROM ( SELECT control.current_org_id() AS current_org_id)))));
CREATE POLICY management_rows ON control.service_accounts TO inferhouse_management USING ((( SELECT control.sees_platform() AS sees_platform) OR (org_id = ( SELECT control.current_org_id() AS current_org_id)))) WITH CHECK ((( SELECT control.sees_platform() AS sees_platform) OR (NOT (org_id IS DISTINCT FROM ( SELECT control.current_org_id() AS current_org_id)))));
CREATE POLICY management_rows ON control.shadow_refusals TO inferhouse_management USING ((( SELECT control.sees_platform() AS sees_platform) OR (org_id = ( SELECT control.current_org_id() AS current_org_id)))) WITH CHECK ((( SELECT control.sees_platform() AS sees_platform) OR (NOT (org_id IS DISTINCT FROM ( SELECT control.current_org_id() AS current_org_id)))));
CREATE POLICY management_rows ON control.sql_logins TO inferhouse_management USING ((( SELECT control.sees_platform() AS sees_platform) OR (org_id = ( SELECT control.current_org_id() AS current_org_id)))) WITH CHECK ((( SELECT control.sees_platform() AS sees_platform) OR (NOT (org_id IS DISTINCT FROM ( SELECT control.current_org_id() AS current_org_id)))));
CREATE POLICY management_rows ON control.volume_tiers TO inferhouse_management USING ((( SELECT control.sees_platform() AS sees_platform) OR (org_id = ( SELECT control.current_org_id() AS current_org_id)))) WITH CHECK (( SELECT control.sees_platform() AS sees_platform));
CREATE POLICY management_rows ON control.webhooks TO inferhouse_management USING ((( SELECT control.sees_platform() AS sees_platform) OR (org_id = ( SELECT control.current_org_id() AS current_org_id)))) WITH CHECK ((( SELECT control.sees_platform() AS sees_platform) OR (NOT (org_id IS DISTINCT FROM ( SELECT control.current_org_id() AS current_org_id)))));

ALTER TABLE control.model_aliases ENABLE ROW LEVEL SECURITY;
ALTER TABLE control.org_members ENABLE ROW LEVEL SECURITY;
ALTER TABLE control.organizations ENABLE ROW LEVEL SECURITY;
ALTER TABLE control.outbox_deliveries ENABLE ROW LEVEL SECURITY;
ALTER TABLE control.outbox_events ENABLE ROW LEVEL SECURITY;
ALTER TABLE control.prices ENABLE ROW LEVEL SECURITY;
ALTER TABLE control.project_members ENABLE ROW LEVEL SECURITY;
ALTER TABLE control.projects ENABLE ROW LEVEL SECURITY;

CREATE POLICY router_adds ON control.budget_alerts FOR INSERT TO inferhouse_router WITH CHECK (true);
CREATE POLICY router_counts ON control.shadow_refusals TO inferhouse_router USING (true) WITH CHECK (true);
CREATE POLICY router_uses ON control.api_keys FOR UPDATE TO inferhouse_router USING (true) WITH CHECK (true);

ALTER TABLE control.service_accounts ENABLE ROW LEVEL SECURITY;

CREATE POLICY services_rows ON control.alert_recipients FOR SELECT TO inferhouse_transform USING (true);
CREATE POLICY services_rows ON control.api_keys FOR SELECT TO inferhouse_router, inferhouse_transform USING (true);
CREATE POLICY services_rows ON control.audit_log FOR SELECT TO inferhouse_router, inferhouse_transform USING (true);
CREATE POLICY services_rows ON control.budget_alerts FOR SELECT TO inferhouse_router, inferhouse_transform USING (true);
CREATE POLICY services_rows ON control.budgets FOR SELECT TO inferhouse_router, inferhouse_transform USING (true);
CREATE POLICY services_rows ON control.discounts FOR SELECT TO inferhouse_router, inferhouse_transform USING (true);
CREATE POLICY services_rows ON control.invites FOR SELECT TO inferhouse_router, inferhouse_transform USING (true);
CREATE POLICY services_rows ON control.limits FOR SELECT TO inferhouse_router, inferhouse_transform USING (true);
CREATE POLICY services_rows ON control.model_aliases FOR SELECT TO inferhouse_router, inferhouse_transform USING (true);
CREATE POLICY services_rows ON control.org_members FOR SELECT TO inferhouse_router, inferhouse_transform USING (true);
CREATE POLICY services_rows ON control.organizations FOR SELECT TO inferhouse_router, inferhouse_transform USING (true);
CREATE POLICY services_rows ON control.outbox_deliveries FOR SELECT TO inferhouse_transform USING (true);
CREATE POLICY services_rows ON control.outbox_events FOR SELECT TO inferhouse_transform USING (true);
CREATE POLICY services_rows ON control.prices FOR SELECT TO inferhouse_router, inferhouse_transform USING (true);
CREATE POLICY services_rows ON control.project_members FOR SELECT TO inferhouse_router, inferhouse_transform USING (true);
CREATE POLICY services_rows ON control.projects FOR SELECT TO inferhouse_router, inferhouse_transform USING (true);
CREATE POLICY services_rows ON control.service_accounts FOR SELECT TO inferhouse_router, inferhouse_transform USING (true);
CREATE POLICY services_rows ON control.shadow_refusals FOR SELECT TO inferhouse_router, inferhouse_transform USING (true);
CREATE POLICY services_rows ON control.sql_logins FOR SELECT TO inferhouse_router, inferhouse_transform USING (true);
CREATE POLICY services_rows ON control.volume_tiers FOR SELECT TO inferhouse_router, inferhouse_transform USING (true);
CREATE POLICY services_rows ON control.webhooks FOR SELECT TO inferhouse_transform USING (true);

ALTER TABLE control.shadow_refusals ENABLE ROW LEVEL SECURITY;
ALTER TABLE control.sql_logins ENABLE ROW LEVEL SECURITY;
ALTER TABLE control.volume_tiers ENABLE ROW LEVEL SECURITY;
ALTER TABLE control.webhooks ENABLE ROW LEVEL SECURITY;

CREATE POLICY platform_rows ON marts.spend_forecast FOR SELECT TO inferhouse_platform USING (true);

ALTER TABLE marts.spend_forecast ENABLE ROW LEVEL SECURITY;

CREATE POLICY tenant_rows ON marts.spend_forecast FOR SELECT TO inferhouse_portal, inferhouse_tenant USING ((org_id = ( SELECT control.current_org_id() AS current_org_id)));

GRANT USAGE ON SCHEMA control TO inferhouse_router;
GRANT USAGE ON SCHEMA control TO inferhouse_management;
GRANT USAGE ON SCHEMA control TO inferhouse_transform;
GRANT USAGE ON SCHEMA control TO inferhouse_portal;
GRANT USAGE ON SCHEMA control TO inferhouse_platform;
GRANT USAGE ON SCHEMA control TO inferhouse_tenant;
GRANT USAGE ON SCHEMA marts TO inferhouse_portal;
GRANT USAGE ON SCHEMA marts TO inferhouse_platform;
GRANT USAGE ON SCHEMA marts TO inferhouse_tenant;
GRANT USAGE ON SCHEMA marts TO inferhouse_management;
GRANT USAGE ON SCHEMA raw TO inferhouse_router;
GRANT USAGE ON SCHEMA raw TO inferhouse_management;
GRANT USAGE ON SCHEMA raw TO inferhouse_transform;

REVOKE ALL ON FUNCTION control.add_sql_access(login name, for_org_id bigint, label text, verifier text, made_by text) FROM PUBLIC;

GRANT ALL ON FUNCTION control.add_sql_access(login name, for_org_id bigint, label text, verifier text, made_by text) TO inferhouse_management;

REVOKE ALL ON FUNCTION control.announce_budget_alert() FROM PUBLIC;
REVOKE ALL ON FUNCTION control.check_sql_access(login name, for_org_id bigint) FROM PUBLIC;
REVOKE ALL ON FUNCTION control.create_sql_login(login name, for_org_id bigint, login_password text) FROM PUBLIC;
REVOKE ALL ON FUNCTION control.current_org_id() FROM PUBLIC;

GRANT ALL ON FUNCTION control.current_org_id() TO inferhouse_portal;
GRANT ALL ON FUNCTION control.current_org_id() TO inferhouse_platform;
GRANT ALL ON FUNCTION control.current_org_id() TO inferhouse_tenant;
GRANT ALL ON FUNCTION control.current_org_id() TO inferhouse_transform;
GRANT ALL ON FUNCTION control.current_org_id() TO inferhouse_management;

REVOKE ALL ON FUNCTION control.drop_sql_access(login name, for_org_id bigint) FROM PUBLIC;

GRANT ALL ON FUNCTION control.drop_sql_access(login name, for_org_id bigint) TO inferhouse_management;

REVOKE ALL ON FUNCTION control.health() FROM PUBLIC;

GRANT ALL ON FUNCTION control.health() TO inferhouse_management;

REVOKE ALL ON FUNCTION control.note_budget_alerts() FROM PUBLIC;

GRANT ALL ON FUNCTION control.note_budget_alerts() TO inferhouse_transform;

REVOKE ALL ON FUNCTION control.note_budget_alerts_as_of(as_of timestamp with time zone) FROM PUBLIC;
REVOKE ALL ON FUNCTION control.put_event(for_org_id bigint, type_of text, about jsonb, once text, only_webhook_id bigint) FROM PUBLIC;

GRANT ALL ON FUNCTION control.put_event(for_org_id bigint, type_of text, about jsonb, once text, only_webhook_id bigint) TO inferhouse_management;
GRANT ALL ON FUNCTION control.put_event(for_org_id bigint, type_of text, about jsonb, once text, only_webhook_id bigint) TO inferhouse_transform;

REVOKE ALL ON FUNCTION control.rotate_sql_access(login name, for_org_id bigint, verifier text) FROM PUBLIC;

GRANT ALL ON FUNCTION control.rotate_sql_access(login name, for_org_id bigint, verifier text) TO inferhouse_management;
GRANT SELECT,INSERT ON TABLE raw.usage_events TO inferhouse_router;
GRANT SELECT ON TABLE raw.usage_events TO inferhouse_transform;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE control.alert_recipients TO inferhouse_management;
GRANT SELECT ON TABLE control.api_keys TO inferhouse_router;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE control.api_keys TO inferhouse_management;
GRANT SELECT(id) ON TABLE control.api_keys TO inferhouse_transform;
GRANT SELECT(public_id) ON TABLE control.api_keys TO inferhouse_transform;
GRANT SELECT(kind) ON TABLE control.api_keys TO inferhouse_transform;
GRANT SELECT(name) ON TABLE control.api_keys TO inferhouse_transform;
GRANT SELECT(org_id) ON TABLE control.api_keys TO inferhouse_transform;
GRANT SELECT(project_id) ON TABLE control.api_keys TO inferhouse_transform;
GRANT SELECT(user_id) ON TABLE control.api_keys TO inferhouse_transform;
GRANT SELECT(service_account_id) ON TABLE control.api_keys TO inferhouse_transform;
GRANT SELECT(revoked_at) ON TABLE control.api_keys TO inferhouse_transform;
GRANT SELECT(created_at) ON TABLE control.api_keys TO inferhouse_transform;
GRANT UPDATE(last_used_at) ON TABLE control.api_keys TO inferhouse_router;
GRANT USAGE ON SEQUENCE control.api_keys_id_seq TO inferhouse_management;
GRANT SELECT,UPDATE ON TABLE control.audit_head TO inferhouse_management;
GRANT SELECT,INSERT ON TABLE control.audit_log TO inferhouse_management;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE control.budget_alerts TO inferhouse_management;
GRANT SELECT,INSERT ON TABLE control.budget_alerts TO inferhouse_router;
GRANT USAGE ON SEQUENCE control.budget_alerts_id_seq TO inferhouse_management;
GRANT SELECT ON TABLE control.budgets TO inferhouse_router;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE control.budgets TO inferhouse_management;
GRANT USAGE ON SEQUENCE control.budgets_id_seq TO inferhouse_management;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE control.device_logins TO inferhouse_management;
GRANT USAGE ON SEQUENCE control.device_logins_id_seq TO inferhouse_management;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE control.discounts TO inferhouse_management;
GRANT SELECT ON TABLE control.discounts TO inferhouse_transform;
GRANT USAGE ON SEQUENCE control.discounts_id_seq TO inferhouse_management;
GRANT SELECT ON TABLE control.engines TO inferhouse_router;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE control.engines TO inferhouse_management;
GRANT SELECT(id) ON TABLE control.engines TO inferhouse_transform;
GRANT SELECT(name) ON TABLE control.engines TO inferhouse_transform;
GRANT SELECT(kind) ON TABLE control.engines TO inferhouse_transform;
GRANT SELECT(base_url) ON TABLE control.engines TO inferhouse_transform;
GRANT SELECT(model_id) ON TABLE control.engines TO inferhouse_transform;
GRANT SELECT(enabled) ON TABLE control.engines TO inferhouse_transform;
GRANT SELECT(created_at) ON TABLE control.engines TO inferhouse_transform;
GRANT UPDATE(canary_stopped_at) ON TABLE control.engines TO inferhouse_router;
GRANT UPDATE(canary_stopped_why) ON TABLE control.engines TO inferhouse_router;
GRANT USAGE ON SEQUENCE control.engines_id_seq TO inferhouse_management;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE control.idempotent_answers TO inferhouse_management;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE control.invites TO inferhouse_management;
GRANT USAGE ON SEQUENCE control.invites_id_seq TO inferhouse_management;
GRANT SELECT ON TABLE control.limits TO inferhouse_router;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE control.limits TO inferhouse_management;
GRANT USAGE ON SEQUENCE control.limits_id_seq TO inferhouse_management;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE control.login_failures TO inferhouse_management;
GRANT SELECT ON TABLE control.model_aliases TO inferhouse_router;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE control.model_aliases TO inferhouse_management;
GRANT USAGE ON SEQUENCE control.model_aliases_id_seq TO inferhouse_management;
GRANT SELECT ON TABLE control.models TO inferhouse_router;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE control.models TO inferhouse_management;
GRANT SELECT ON TABLE control.models TO inferhouse_transform;
GRANT USAGE ON SEQUENCE control.models_id_seq TO inferhouse_management;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE control.oidc_logins TO inferhouse_management;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE control.org_members TO inferhouse_management;
GRANT SELECT(org_id) ON TABLE control.org_members TO inferhouse_router;
GRANT SELECT(user_id) ON TABLE control.org_members TO inferhouse_router;
GRANT SELECT(role) ON TABLE control.org_members TO inferhouse_router;
GRANT SELECT ON TABLE control.organizations TO inferhouse_router;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE control.organizations TO inferhouse_management;
GRANT SELECT(id) ON TABLE control.organizations TO inferhouse_transform;
GRANT SELECT(public_id) ON TABLE control.organizations TO inferhouse_transform;
GRANT SELECT(name) ON TABLE control.organizations TO inferhouse_transform;
GRANT SELECT(time_zone) ON TABLE control.organizations TO inferhouse_transform;
GRANT SELECT(currency) ON TABLE control.organizations TO inferhouse_transform;
GRANT SELECT(suspended_at) ON TABLE control.organizations TO inferhouse_transform;
GRANT SELECT(created_at) ON TABLE control.organizations TO inferhouse_transform;
GRANT USAGE ON SEQUENCE control.organizations_id_seq TO inferhouse_management;
GRANT SELECT ON TABLE control.outbox_deliveries TO inferhouse_management;
GRANT SELECT ON TABLE control.outbox_deliveries TO inferhouse_transform;
GRANT UPDATE(status) ON TABLE control.outbox_deliveries TO inferhouse_management;
GRANT UPDATE(status) ON TABLE control.outbox_deliveries TO inferhouse_transform;
GRANT UPDATE(tries) ON TABLE control.outbox_deliveries TO inferhouse_management;
GRANT UPDATE(tries) ON TABLE control.outbox_deliveries TO inferhouse_transform;
GRANT UPDATE(next_try_at) ON TABLE control.outbox_deliveries TO inferhouse_management;
GRANT UPDATE(next_try_at) ON TABLE control.outbox_deliveries TO inferhouse_transform;
GRANT UPDATE(tried_at) ON TABLE control.outbox_deliveries TO inferhouse_transform;
GRANT UPDATE(delivered_at) ON TABLE control.outbox_deliveries TO inferhouse_transform;
GRANT UPDATE(http_status) ON TABLE control.outbox_deliveries TO inferhouse_transform;
GRANT UPDATE(error) ON TABLE control.outbox_deliveries TO inferhouse_management;
GRANT UPDATE(error) ON TABLE control.outbox_deliveries TO inferhouse_transform;
GRANT USAGE ON SEQUENCE control.outbox_deliveries_id_seq TO inferhouse_management;
GRANT SELECT ON TABLE control.outbox_events TO inferhouse_management;
GRANT SELECT,DELETE ON TABLE control.outbox_events TO inferhouse_transform;
GRANT USAGE ON SEQUENCE control.outbox_events_id_seq TO inferhouse_management;
GRANT SELECT ON TABLE control.prices TO inferhouse_router;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE control.prices TO inferhouse_management;
GRANT SELECT ON TABLE control.prices TO inferhouse_transform;
GRANT USAGE ON SEQUENCE control.prices_id_seq TO inferhouse_management;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE control.project_members TO inferhouse_management;
GRANT SELECT ON TABLE control.projects TO inferhouse_router;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE control.projects TO inferhouse_management;
GRANT SELECT ON TABLE control.projects TO inferhouse_transform;
GRANT USAGE ON SEQUENCE control.projects_id_seq TO inferhouse_management;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE control.service_accounts TO inferhouse_management;
GRANT SELECT ON TABLE control.service_accounts TO inferhouse_transform;
GRANT SELECT(id) ON TABLE control.service_accounts TO inferhouse_router;
GRANT SELECT(deleted_at) ON TABLE control.service_accounts TO inferhouse_router;
GRANT USAGE ON SEQUENCE control.service_accounts_id_seq TO inferhouse_management;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE control.sessions TO inferhouse_management;
GRANT USAGE ON SEQUENCE control.sessions_id_seq TO inferhouse_management;
GRANT SELECT,INSERT,UPDATE ON TABLE control.shadow_refusals TO inferhouse_router;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE control.shadow_refusals TO inferhouse_management;
GRANT SELECT ON TABLE control.sql_logins TO inferhouse_management;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE control.users TO inferhouse_management;
GRANT SELECT(id) ON TABLE control.users TO inferhouse_router;
GRANT SELECT(id) ON TABLE control.users TO inferhouse_transform;
GRANT SELECT(public_id) ON TABLE control.users TO inferhouse_transform;
GRANT SELECT(email) ON TABLE control.users TO inferhouse_transform;
GRANT SELECT(name) ON TABLE control.users TO inferhouse_transform;
GRANT SELECT(platform_admin) ON TABLE control.users TO inferhouse_router;
GRANT SELECT(disabled_at) ON TABLE control.users TO inferhouse_router;
GRANT USAGE ON SEQUENCE control.users_id_seq TO inferhouse_management;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE control.volume_tiers TO inferhouse_management;
GRANT SELECT ON TABLE control.volume_tiers TO inferhouse_transform;
GRANT USAGE ON SEQUENCE control.volume_tiers_id_seq TO inferhouse_management;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE control.webhooks TO inferhouse_management;
GRANT SELECT ON TABLE control.webhooks TO inferhouse_transform;
GRANT USAGE ON SEQUENCE control.webhooks_id_seq TO inferhouse_management;
GRANT SELECT ON TABLE marts.spend_forecast TO inferhouse_portal;
GRANT SELECT ON TABLE marts.spend_forecast TO inferhouse_platform;
GRANT SELECT ON TABLE marts.spend_forecast TO inferhouse_tenant;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE raw.idempotent_answers TO inferhouse_router;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE raw.journal_positions TO inferhouse_router;
GRANT SELECT ON TABLE raw.journal_positions TO inferhouse_management;
GRANT SELECT ON TABLE raw.journal_positions TO inferhouse_transform;

ALTER DEFAULT PRIVILEGES FOR ROLE inferhouse_transform IN SCHEMA marts GRANT SELECT ON TABLES TO inferhouse_management;
ALTER DEFAULT PRIVILEGES FOR ROLE inferhouse_transform IN SCHEMA marts GRANT SELECT ON TABLES TO inferhouse_portal;
ALTER DEFAULT PRIVILEGES FOR ROLE inferhouse_transform IN SCHEMA marts GRANT SELECT ON TABLES TO inferhouse_platform;
ALTER DEFAULT PRIVILEGES FOR ROLE inferhouse_transform IN SCHEMA marts GRANT SELECT ON TABLES TO inferhouse_tenant;

-- Hypertable raw.usage_events: by started_at, a chunk every 1 day.
