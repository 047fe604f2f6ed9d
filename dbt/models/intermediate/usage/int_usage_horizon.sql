{{ config(materialized='incremental', incremental_strategy='delete+insert', unique_key='id') }}

-- Every later model of the run reads the horizon here.
{{ commit_horizon() }}
