{{ config(materialized='incremental', incremental_strategy='delete+insert', unique_key='id', on_schema_change='append_new_columns') }}

-- The marts of service are built by runs of their own, and these read by a horizon of their own.
{{ commit_horizon(readers=['int_engine_usage_quarter_hours', 'int_latency_hours']) }}
