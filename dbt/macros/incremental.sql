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


{# One row: up to which commit a run reads, and which instant that makes its marts complete to. Both come from one snapshot. #}
{% macro commit_horizon() %}
with horizon as (
    select pg_snapshot_xmin(pg_current_snapshot()) as as_of_xid
),

-- Rows that this snapshot sees and this run leaves to a later one, behind a transaction that is still open.
left_out as (
    select min(event.started_at) as first_started_at
    from {{ ref('stg_router__usage_events') }} as event
    where event.recorded_xid >= (select horizon.as_of_xid from horizon)
)

select
    1 as id,
    (select horizon.as_of_xid from horizon) as as_of_xid,
    now() as taken_at,
    -- Before the slowest worker's position every row is committed; without workers nothing is outstanding. Of the committed
    -- rows, those left out bound it. A worker that left between two rows of ours is covered: its rows are seen, or left out.
    least(
        (select coalesce(min(position.complete_to), now()) from {{ ref('stg_router__journal_positions') }} as position),
        (select left_out.first_started_at from left_out)
    ) as complete_to
{% endmacro %}


{# Before a model reads raw rows by touched partitions: the first instant that a new row touches, for `touched_from()`. In the
   transaction of the model, behind the lock, so that nobody can move watermark or horizon in between. #}
{% macro note_touched_from(horizon) %}
{% if is_incremental() %}
select set_config(
    'inferhouse.touched_from',
    coalesce(
        (
            select min(event.started_at)
            from {{ ref('stg_router__usage_events') }} as event
            where
                event.recorded_xid >= {{ watermark() }}
                and event.recorded_xid < (select horizon.as_of_xid from {{ horizon }} as horizon)
        ),
        'infinity'
    )::text,
    true
)
{% else %}
select 1
{% endif %}
{% endmacro %}


{# The same in a model. TimescaleDB evaluates it when the statement starts and leaves older chunks out once and for all; without
   it every touched partition would look through the chunks of the whole history, a year's for each quarter of an hour. #}
{% macro touched_from() -%}
(
    time_bucket(
        '15 minutes', coalesce(nullif(current_setting('inferhouse.touched_from', true), ''), '-infinity')::timestamptz
    )
)
{%- endmacro %}


{# The planner cannot know how few rows are new: it takes a third of a table for more than its watermark, and would read it whole.
   For an incremental run every way is an index. #}
{% macro by_index() %}
{% if is_incremental() %}
set local enable_seqscan = off
{% else %}
select 1
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
