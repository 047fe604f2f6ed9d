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
