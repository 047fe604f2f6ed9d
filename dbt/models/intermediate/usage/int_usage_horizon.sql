{{ config(materialized='incremental', incremental_strategy='delete+insert', unique_key='id', on_schema_change='append_new_columns') }}

-- Every later model of the run reads the horizon here.
{{ commit_horizon(readers=['int_usage_quarter_hours']) }}
