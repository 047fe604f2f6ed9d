-- What all migrations add up to. Written by `make schema`, kept true by tests/integration/warehouse/test_migrations.py.
-- For reading and for reviews; a database is made by `python -m warehouse.migrations`.

CREATE EXTENSION IF NOT EXISTS timescaledb WITH SCHEMA public;

COMMENT ON EXTENSION timescaledb IS 'Enables scalable inserts and complex queries for time-series data (Apache 2 Edition)';

CREATE SCHEMA control;
CREATE SCHEMA dagster;
CREATE SCHEMA intermediate;
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
    'free_router_lost'
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

CREATE FUNCTION control.announce_change() RETURNS trigger
    LANGUAGE plpgsql
    AS $$
begin
    perform pg_notify('control_changed', tg_table_name);
    return null;
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
    -- Only the portal may choose by a setting; it checks the viewer's membership first. A SQL login is bound to its
    -- organization by name, whatever it sets.
    if session_user = 'inferhouse_portal' then
        return nullif(current_setting('inferhouse.org_id', true), '')::bigint;
    end if;
    return (select org_id from control.sql_logins where role_name = session_user);
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
    CONSTRAINT api_keys_check CHECK (((kind = 'platform'::text) OR ((org_id IS NOT NULL) AND (project_id IS NOT NULL)))),
    CONSTRAINT api_keys_check1 CHECK (((user_id IS NULL) OR (service_account_id IS NULL))),
    CONSTRAINT api_keys_kind_check CHECK ((kind = ANY (ARRAY['inference'::text, 'platform'::text]))),
    CONSTRAINT api_keys_name_check CHECK (((length(name) >= 1) AND (length(name) <= 200))),
    CONSTRAINT api_keys_public_id_check CHECK ((public_id ~ '^[0-9A-Za-z]{16}$'::text)),
    CONSTRAINT api_keys_secret_hash_check CHECK ((length(secret_hash) = 32))
);

COMMENT ON COLUMN control.api_keys.secret_hash IS 'HMAC-SHA256 of the secret under the pepper that only processes know.';
COMMENT ON COLUMN control.api_keys.models IS 'Names this key may use; null means every model.';

ALTER TABLE control.api_keys ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME control.api_keys_id_seq
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
    CONSTRAINT engines_base_url_check CHECK ((base_url ~ '^https?://[^/]+$'::text)),
    CONSTRAINT engines_kind_check CHECK ((kind = ANY (ARRAY['vllm'::text, 'simulated'::text]))),
    CONSTRAINT engines_name_check CHECK ((name ~ '^[a-z0-9][a-z0-9-]{0,62}$'::text))
);

COMMENT ON COLUMN control.engines.base_url IS 'Scheme, host and port; paths such as /v1/chat/completions are added by the router.';

ALTER TABLE control.engines ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME control.engines_id_seq
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
    CONSTRAINT models_context_tokens_max_check CHECK ((context_tokens_max > 0)),
    CONSTRAINT models_name_check CHECK ((name ~ '^[A-Za-z0-9][A-Za-z0-9._:/-]{0,127}$'::text)),
    CONSTRAINT models_output_tokens_max_check CHECK ((output_tokens_max > 0))
);

ALTER TABLE control.models ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME control.models_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE control.org_members (
    org_id bigint NOT NULL,
    user_id bigint NOT NULL,
    role text NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT org_members_role_check CHECK ((role = ANY (ARRAY['owner'::text, 'admin'::text, 'billing'::text, 'member'::text, 'auditor'::text])))
);

CREATE TABLE control.organizations (
    id bigint NOT NULL,
    public_id text NOT NULL,
    name text NOT NULL,
    time_zone text DEFAULT 'UTC'::text NOT NULL,
    currency text DEFAULT 'USD'::text NOT NULL,
    suspended_at timestamp with time zone,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT organizations_currency_check CHECK ((currency = 'USD'::text)),
    CONSTRAINT organizations_name_check CHECK (((length(name) >= 1) AND (length(name) <= 200))),
    CONSTRAINT organizations_public_id_check CHECK ((public_id ~ '^org_[0-9a-z]{12,32}$'::text))
);

COMMENT ON TABLE control.organizations IS 'A tenant. Everything below carries its id.';

ALTER TABLE control.organizations ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME control.organizations_id_seq
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
    CONSTRAINT prices_cached_input_picousd_check CHECK (((cached_input_picousd >= 0) AND (cached_input_picousd <= '1000000000000'::bigint))),
    CONSTRAINT prices_effective_check CHECK (((NOT isempty(effective)) AND lower_inc(effective) AND (NOT upper_inc(effective)))),
    CONSTRAINT prices_input_picousd_check CHECK (((input_picousd >= 0) AND (input_picousd <= '1000000000000'::bigint))),
    CONSTRAINT prices_output_picousd_check CHECK (((output_picousd >= 0) AND (output_picousd <= '1000000000000'::bigint))),
    CONSTRAINT prices_reason_check CHECK (((length(reason) >= 1) AND (length(reason) <= 500)))
);

COMMENT ON TABLE control.prices IS 'Price book. Pico-dollars (1e-12 USD) per token; org_id null is the list price, otherwise an override.';

ALTER TABLE control.prices ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME control.prices_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE control.projects (
    id bigint NOT NULL,
    public_id text NOT NULL,
    org_id bigint NOT NULL,
    name text NOT NULL,
    archived_at timestamp with time zone,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
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
    CONSTRAINT service_accounts_name_check CHECK (((length(name) >= 1) AND (length(name) <= 200))),
    CONSTRAINT service_accounts_public_id_check CHECK ((public_id ~ '^svc_[0-9a-z]{12,32}$'::text))
);

ALTER TABLE control.service_accounts ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME control.service_accounts_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

CREATE TABLE control.sql_logins (
    role_name name NOT NULL,
    org_id bigint NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL
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
    CONSTRAINT users_email_check CHECK (((email ~ '^[^@\s]+@[^@\s]+$'::text) AND (length(email) <= 320))),
    CONSTRAINT users_public_id_check CHECK ((public_id ~ '^user_[0-9a-z]{12,32}$'::text))
);

COMMENT ON COLUMN control.users.password_hash IS 'argon2id; null for users who sign in elsewhere.';

ALTER TABLE control.users ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME control.users_id_seq
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

CREATE TABLE raw.journal_positions (
    worker text NOT NULL,
    reported_at timestamp with time zone NOT NULL,
    recorded_xid xid8 DEFAULT pg_current_xact_id() NOT NULL,
    complete_to timestamp with time zone NOT NULL,
    CONSTRAINT journal_positions_worker_check CHECK ((length(worker) <= 128))
);

COMMENT ON TABLE raw.journal_positions IS 'Per router worker: every row started before complete_to is in raw.usage_events. A worker that is cleanly gone has none.';

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

ALTER TABLE ONLY control.api_keys
    ADD CONSTRAINT api_keys_pkey PRIMARY KEY (id);

ALTER TABLE ONLY control.api_keys
    ADD CONSTRAINT api_keys_public_id_key UNIQUE (public_id);

ALTER TABLE ONLY control.engines
    ADD CONSTRAINT engines_name_key UNIQUE (name);

ALTER TABLE ONLY control.engines
    ADD CONSTRAINT engines_pkey PRIMARY KEY (id);

ALTER TABLE ONLY control.models
    ADD CONSTRAINT models_name_key UNIQUE (name);

ALTER TABLE ONLY control.models
    ADD CONSTRAINT models_pkey PRIMARY KEY (id);

ALTER TABLE ONLY control.org_members
    ADD CONSTRAINT org_members_pkey PRIMARY KEY (org_id, user_id);

ALTER TABLE ONLY control.organizations
    ADD CONSTRAINT organizations_pkey PRIMARY KEY (id);

ALTER TABLE ONLY control.organizations
    ADD CONSTRAINT organizations_public_id_key UNIQUE (public_id);

ALTER TABLE ONLY control.prices
    ADD CONSTRAINT prices_no_overlap EXCLUDE USING gist (model_id WITH =, COALESCE(org_id, (0)::bigint) WITH =, effective WITH &&);

ALTER TABLE ONLY control.prices
    ADD CONSTRAINT prices_pkey PRIMARY KEY (id);

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

ALTER TABLE ONLY control.sql_logins
    ADD CONSTRAINT sql_logins_pkey PRIMARY KEY (role_name);

ALTER TABLE ONLY control.users
    ADD CONSTRAINT users_pkey PRIMARY KEY (id);

ALTER TABLE ONLY control.users
    ADD CONSTRAINT users_public_id_key UNIQUE (public_id);

ALTER TABLE ONLY marts.spend_forecast
    ADD CONSTRAINT spend_forecast_pkey PRIMARY KEY (org_id, day_utc);

ALTER TABLE ONLY migrations.applied
    ADD CONSTRAINT applied_pkey PRIMARY KEY (name);

ALTER TABLE ONLY raw.journal_positions
    ADD CONSTRAINT journal_positions_pkey PRIMARY KEY (worker);

CREATE INDEX api_keys_org_id_idx ON control.api_keys USING btree (org_id);
CREATE INDEX org_members_user_id_idx ON control.org_members USING btree (user_id);
CREATE UNIQUE INDEX users_email_key ON control.users USING btree (lower(email));
CREATE UNIQUE INDEX usage_events_once ON raw.usage_events USING btree (started_at, request_id, attempt);
CREATE INDEX usage_events_recorded_xid_idx ON raw.usage_events USING btree (recorded_xid);
CREATE TRIGGER announce_change AFTER INSERT OR DELETE OR UPDATE OR TRUNCATE ON control.api_keys FOR EACH STATEMENT EXECUTE FUNCTION control.announce_change();
CREATE TRIGGER announce_change AFTER INSERT OR DELETE OR UPDATE OR TRUNCATE ON control.engines FOR EACH STATEMENT EXECUTE FUNCTION control.announce_change();
CREATE TRIGGER announce_change AFTER INSERT OR DELETE OR UPDATE OR TRUNCATE ON control.models FOR EACH STATEMENT EXECUTE FUNCTION control.announce_change();
CREATE TRIGGER announce_change AFTER INSERT OR DELETE OR UPDATE OR TRUNCATE ON control.organizations FOR EACH STATEMENT EXECUTE FUNCTION control.announce_change();
CREATE TRIGGER announce_change AFTER INSERT OR DELETE OR UPDATE OR TRUNCATE ON control.prices FOR EACH STATEMENT EXECUTE FUNCTION control.announce_change();
CREATE TRIGGER announce_change AFTER INSERT OR DELETE OR UPDATE OR TRUNCATE ON control.projects FOR EACH STATEMENT EXECUTE FUNCTION control.announce_change();
CREATE TRIGGER announce_change AFTER INSERT OR DELETE OR UPDATE OR TRUNCATE ON control.users FOR EACH STATEMENT EXECUTE FUNCTION control.announce_change();
CREATE CONSTRAINT TRIGGER prices_no_gap AFTER INSERT OR DELETE OR UPDATE ON control.prices DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION control.refuse_price_gap();
CREATE TRIGGER ts_insert_blocker BEFORE INSERT ON raw.usage_events FOR EACH ROW EXECUTE FUNCTION _timescaledb_functions.insert_blocker();

ALTER TABLE ONLY control.api_keys
    ADD CONSTRAINT api_keys_org_id_fkey FOREIGN KEY (org_id) REFERENCES control.organizations(id);

ALTER TABLE ONLY control.api_keys
    ADD CONSTRAINT api_keys_org_id_project_id_fkey FOREIGN KEY (org_id, project_id) REFERENCES control.projects(org_id, id);

ALTER TABLE ONLY control.api_keys
    ADD CONSTRAINT api_keys_service_account_id_fkey FOREIGN KEY (service_account_id) REFERENCES control.service_accounts(id);

ALTER TABLE ONLY control.api_keys
    ADD CONSTRAINT api_keys_user_id_fkey FOREIGN KEY (user_id) REFERENCES control.users(id);

ALTER TABLE ONLY control.engines
    ADD CONSTRAINT engines_model_id_fkey FOREIGN KEY (model_id) REFERENCES control.models(id);

ALTER TABLE ONLY control.org_members
    ADD CONSTRAINT org_members_org_id_fkey FOREIGN KEY (org_id) REFERENCES control.organizations(id);

ALTER TABLE ONLY control.org_members
    ADD CONSTRAINT org_members_user_id_fkey FOREIGN KEY (user_id) REFERENCES control.users(id);

ALTER TABLE ONLY control.prices
    ADD CONSTRAINT prices_model_id_fkey FOREIGN KEY (model_id) REFERENCES control.models(id);

ALTER TABLE ONLY control.prices
    ADD CONSTRAINT prices_org_id_fkey FOREIGN KEY (org_id) REFERENCES control.organizations(id);

ALTER TABLE ONLY control.projects
    ADD CONSTRAINT projects_org_id_fkey FOREIGN KEY (org_id) REFERENCES control.organizations(id);

ALTER TABLE ONLY control.service_accounts
    ADD CONSTRAINT service_accounts_org_id_project_id_fkey FOREIGN KEY (org_id, project_id) REFERENCES control.projects(org_id, id);

ALTER TABLE ONLY control.sql_logins
    ADD CONSTRAINT sql_logins_org_id_fkey FOREIGN KEY (org_id) REFERENCES control.organizations(id);

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

REVOKE ALL ON FUNCTION control.create_sql_login(login name, for_org_id bigint, login_password text) FROM PUBLIC;
REVOKE ALL ON FUNCTION control.current_org_id() FROM PUBLIC;

GRANT ALL ON FUNCTION control.current_org_id() TO inferhouse_portal;
GRANT ALL ON FUNCTION control.current_org_id() TO inferhouse_platform;
GRANT ALL ON FUNCTION control.current_org_id() TO inferhouse_tenant;
GRANT ALL ON FUNCTION control.current_org_id() TO inferhouse_transform;
GRANT ALL ON FUNCTION control.current_org_id() TO inferhouse_management;
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
GRANT SELECT ON TABLE control.engines TO inferhouse_router;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE control.engines TO inferhouse_management;
GRANT SELECT ON TABLE control.engines TO inferhouse_transform;
GRANT SELECT ON TABLE control.models TO inferhouse_router;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE control.models TO inferhouse_management;
GRANT SELECT ON TABLE control.models TO inferhouse_transform;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE control.org_members TO inferhouse_management;
GRANT SELECT ON TABLE control.organizations TO inferhouse_router;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE control.organizations TO inferhouse_management;
GRANT SELECT(id) ON TABLE control.organizations TO inferhouse_transform;
GRANT SELECT(public_id) ON TABLE control.organizations TO inferhouse_transform;
GRANT SELECT(name) ON TABLE control.organizations TO inferhouse_transform;
GRANT SELECT(time_zone) ON TABLE control.organizations TO inferhouse_transform;
GRANT SELECT(currency) ON TABLE control.organizations TO inferhouse_transform;
GRANT SELECT(suspended_at) ON TABLE control.organizations TO inferhouse_transform;
GRANT SELECT(created_at) ON TABLE control.organizations TO inferhouse_transform;
GRANT SELECT ON TABLE control.prices TO inferhouse_router;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE control.prices TO inferhouse_management;
GRANT SELECT ON TABLE control.prices TO inferhouse_transform;
GRANT SELECT ON TABLE control.projects TO inferhouse_router;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE control.projects TO inferhouse_management;
GRANT SELECT ON TABLE control.projects TO inferhouse_transform;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE control.service_accounts TO inferhouse_management;
GRANT SELECT ON TABLE control.service_accounts TO inferhouse_transform;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE control.sql_logins TO inferhouse_management;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE control.users TO inferhouse_management;
GRANT SELECT(id) ON TABLE control.users TO inferhouse_transform;
GRANT SELECT(public_id) ON TABLE control.users TO inferhouse_transform;
GRANT SELECT(email) ON TABLE control.users TO inferhouse_transform;
GRANT SELECT(name) ON TABLE control.users TO inferhouse_transform;
GRANT SELECT ON TABLE marts.spend_forecast TO inferhouse_portal;
GRANT SELECT ON TABLE marts.spend_forecast TO inferhouse_platform;
GRANT SELECT ON TABLE marts.spend_forecast TO inferhouse_tenant;
GRANT SELECT,INSERT,DELETE,UPDATE ON TABLE raw.journal_positions TO inferhouse_router;
GRANT SELECT ON TABLE raw.journal_positions TO inferhouse_management;
GRANT SELECT ON TABLE raw.journal_positions TO inferhouse_transform;
GRANT SELECT,INSERT ON TABLE raw.usage_events TO inferhouse_router;
GRANT SELECT ON TABLE raw.usage_events TO inferhouse_transform;

ALTER DEFAULT PRIVILEGES FOR ROLE inferhouse_transform IN SCHEMA marts GRANT SELECT ON TABLES TO inferhouse_management;
ALTER DEFAULT PRIVILEGES FOR ROLE inferhouse_transform IN SCHEMA marts GRANT SELECT ON TABLES TO inferhouse_portal;
ALTER DEFAULT PRIVILEGES FOR ROLE inferhouse_transform IN SCHEMA marts GRANT SELECT ON TABLES TO inferhouse_platform;
ALTER DEFAULT PRIVILEGES FOR ROLE inferhouse_transform IN SCHEMA marts GRANT SELECT ON TABLES TO inferhouse_tenant;

-- Hypertable raw.usage_events: by started_at, a chunk every 1 day.
