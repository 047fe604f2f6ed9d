{{ config(materialized='incremental', incremental_strategy='delete+insert', unique_key='id') }}

-- The marts of service are built by runs of their own, and these read by a horizon of their own.
{{ commit_horizon() }}
