{# The commit horizon at which this model was last brought up to date; '0' before its first run. Every row of an
   incremental model keeps in `as_of_xid` the horizon at which its partition was computed, so the newest of them is it. #}
{% macro watermark() -%}
{% if is_incremental() -%}
(select coalesce(max(mine.as_of_xid), '0'::xid8) from {{ this }} as mine)
{%- else -%}
'0'::xid8
{%- endif %}
{%- endmacro %}


{# Before each table is changed, in the transaction that changes it: a second run waits here until the first has committed,
   and then finds what is left to do. Without it both would delete the old rows of a partition, and both insert new ones.
   Marts of service have a lock of their own, since usage must not wait for them. #}
{% macro one_writer() %}
{% if model.config.materialized == 'incremental' %}
select pg_advisory_xact_lock(hashtextextended('inferhouse.marts{{ '.service' if 'service' in model.tags }}', 0))
{% else %}
select 1
{% endif %}
{% endmacro %}


{# The watermark of a model that reads by a horizon, asked for when the horizon is taken; null before its first run. By name, for
   it is built after the horizon. #}
{% macro watermark_of(name) -%}
{%- set there = none -%}
{%- if execute -%}
    {%- set node = graph.nodes.values() | selectattr('resource_type', 'equalto', 'model') | selectattr('name', 'equalto', name) | first -%}
    {%- set there = adapter.get_relation(node.database, node.schema, node.alias) -%}
{%- endif -%}
{%- if there is none -%}
null::xid8
{%- else -%}
(select max(mine.as_of_xid) from {{ there }} as mine)
{%- endif -%}
{%- endmacro %}


{# One row: up to which commit a run reads, which instant that makes its marts complete to, and since when there are rows that
   `readers`, which read raw rows by touched partitions, do not have: null is since ever. All come from one snapshot. #}
{% macro commit_horizon(readers) %}
with horizon as (
    select pg_snapshot_xmin(pg_current_snapshot()) as as_of_xid
),

-- Which rows all readers have; null where one has none yet, which reads everything.
read as (
    select case when count(*) = count(readers.as_of_xid) then min(readers.as_of_xid) end as to_xid
    from (
        values
        {%- for reader in readers %}
        ({{ watermark_of(reader) }}){{ ',' if not loop.last }}
        {%- endfor %}
    ) as readers (as_of_xid)
),

-- In one pass and for all readers: a session that meets the raw rows without a bound reads the catalogue of every chunk, and each
-- model has a session of its own.
new_rows as (
    select
        min(recent.started_at) filter (where recent.recorded_xid < (select horizon.as_of_xid from horizon)) as touched_from,
        -- Rows that this snapshot sees and this run leaves to a later one, behind a transaction that is still open.
        min(recent.started_at) filter (where recent.recorded_xid >= (select horizon.as_of_xid from horizon)) as left_out_from
    from (
        select
            event.started_at,
            event.recorded_xid
        from {{ ref('stg_router__usage_events') }} as event
        where event.recorded_xid >= coalesce((select read.to_xid from read), (select horizon.as_of_xid from horizon))
        -- Looked for by commit: for the earliest alone, the planner would go over the history by time until it finds one.
        offset 0  -- noqa: AM09
    ) as recent
)

select
    1 as id,
    (select horizon.as_of_xid from horizon) as as_of_xid,
    now() as taken_at,
    -- Before the slowest worker's position every row is committed; without workers nothing is outstanding. Of the committed
    -- rows, those left out bound it. A worker that left between two rows of ours is covered: its rows are seen, or left out.
    least(
        (select coalesce(min(position.complete_to), now()) from {{ ref('stg_router__journal_positions') }} as position),
        (select new_rows.left_out_from from new_rows)
    ) as complete_to,
    case
        when (select read.to_xid from read) is not null then coalesce((select new_rows.touched_from from new_rows), now())
    end as touched_from
{% endmacro %}


{# Before a model reads raw rows by touched partitions: the first instant that a new row touches, for `touched_from()`. A run that
   has moved the watermark since the horizon was taken has left fewer rows to touch, not earlier ones. #}
{% macro note_touched_from(horizon) %}
{% if is_incremental() %}
select set_config('inferhouse.touched_from', coalesce((select horizon.touched_from from {{ horizon }} as horizon)::text, ''), true)
{% else %}
select 1
{% endif %}
{% endmacro %}


{# The same in a model. The planner evaluates it and leaves older chunks out once and for all; without it every touched partition
   would look through the chunks of the whole history, a year's for each of them, and the planner would plan for all of them. #}
{% macro touched_from(step) -%}
time_bucket('{{ step }}', raw.touched_from())
{%- endmacro %}


{# The common tables `touched` and `events` of a model over raw rows: a step of time of one organization that a new row
   touches, however late, comes whole. A full build has every row, in one pass. Rows behind the horizon wait. #}
{% macro touched_events(horizon, step) -%}
{% if is_incremental() -%}
touched as materialized (
    select distinct
        event.org_id,
        time_bucket('{{ step }}', event.started_at) as starts_at
    from {{ ref('stg_router__usage_events') }} as event
    where
        event.recorded_xid >= {{ watermark() }}
        and event.recorded_xid < (select horizon.as_of_xid from {{ horizon }} as horizon)
        and event.started_at >= {{ touched_from(step) }}
),

events as (
    select event.*
    -- Of an array the planner expects ten: of the table it would expect more with every month of history, and sort and hash the
    -- raw rows as if all of them came.
    from unnest(array(select distinct touched.starts_at from touched)) as step (starts_at)
    -- Lateral and with an offset, which the planner does not look through: each step is an index range of the raw rows. It
    -- cannot know how few are touched, and would go over the history for each.
    cross join lateral (
        select every_event.*
        from {{ ref('stg_router__usage_events') }} as every_event
        where
            every_event.started_at >= step.starts_at
            and every_event.started_at < step.starts_at + interval '{{ step }}'
            and every_event.started_at >= {{ touched_from(step) }}
            -- Not a join, in which the rows of everybody else would be carried along: looked up as each row is read.
            and ((every_event.org_id, step.starts_at) in (select touched.org_id, touched.starts_at from touched)) is true
        offset 0  -- noqa: AM09
    ) as event
    -- Not within, where every row's commit would be looked up in its index once for each step.
    where event.recorded_xid < (select horizon.as_of_xid from {{ horizon }} as horizon)
)
{%- else -%}
events as (
    select every_event.*
    from {{ ref('stg_router__usage_events') }} as every_event
    where every_event.recorded_xid < (select horizon.as_of_xid from {{ horizon }} as horizon)
)
{%- endif %}
{%- endmacro %}


{# In a model of raw rows whose figures add up: the rows below the horizon that it does not have. Each commit is between two
   horizons just once, however late its rows are. `step`: the one that the model's rows are of. #}
{% macro added_since(horizon, step) -%}
event.recorded_xid < (select horizon.as_of_xid from {{ horizon }} as horizon)
{%- if is_incremental() %}
        and event.recorded_xid >= {{ watermark() }}
        and event.started_at >= {{ touched_from(step) }}
{%- endif %}
{%- endmacro %}


{# The planner cannot know how few rows are new: it takes a third of a table for more than its watermark, and would read it whole.
   For an incremental run every way is an index, a row at any place costs what the next one does, as on no disk that turns, and
   few rows that are looked for among many are hashed, not sorted with them. #}
{% macro by_index() %}
{% if is_incremental() %}
set local enable_seqscan = off;
set local enable_mergejoin = off;
set local random_page_cost = 1.1
{% else %}
select 1
{% endif %}
{% endmacro %}


{# For a full build: with all cores. The planner takes a third of the raw rows for older than the horizon, too few for a second
   core; and TimescaleDB's way to go over chunks gives all of them to the first core. #}
{% macro by_all_cores() %}
{% if is_incremental() %}
select 1
{% else %}
set local parallel_tuple_cost = 0;
set local timescaledb.enable_chunk_append = off
{% endif %}
{% endmacro %}


{# After a table is built anew: the next run must not wait for autovacuum to learn what is in it. #}
{% macro learn_what_is_new() %}
{% if model.config.materialized == 'incremental' and not is_incremental() %}
analyze {{ this }}
{% else %}
select 1
{% endif %}
{% endmacro %}


{# Before a table is built anew: refused while days of the history are only in the archive, since what is made of the raw rows
   that are left would have lost those days. #}
{% macro keep_history() %}
{% if execute and model.config.materialized == 'incremental' and should_full_refresh() and load_relation(this) is not none %}
select archive.require_all_days()
{% else %}
select 1
{% endif %}
{% endmacro %}
