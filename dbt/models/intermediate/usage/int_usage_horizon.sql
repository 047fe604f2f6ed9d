{{ config(materialized='incremental', incremental_strategy='delete+insert', unique_key='id') }}

-- One row: up to which commit this run reads, and which instant that makes the marts complete to. Both come from one
-- snapshot, and every later model of the run reads them here.
with horizon as (
    select pg_snapshot_xmin(pg_current_snapshot()) as as_of_xid
),

positions as (
    select
        min(position.complete_to) as complete_to,
        bool_and(position.recorded_xid < horizon.as_of_xid) as all_below_horizon
    from {{ ref('stg_router__journal_positions') }} as position
    cross join horizon
)

select
    1 as id,
    horizon.as_of_xid,
    now() as taken_at,
    case
        -- No worker has anything outstanding: complete to this instant.
        when positions.complete_to is null then now()
        when positions.all_below_horizon then positions.complete_to
        -- A worker has reported above the horizon, behind a long transaction: what the last run knew still holds.
        else {% if is_incremental() %}(select last_run.complete_to from {{ this }} as last_run){% else %}null{% endif %}
    end as complete_to
from horizon
cross join positions
