{{ config(materialized='incremental', incremental_strategy='delete+insert', unique_key='id') }}

-- One row: up to which commit this run reads, and which instant that makes the marts complete to. Both come from one
-- snapshot, and every later model of the run reads them here.
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
