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
   and then finds what is left to do. Without it both would delete the old rows of a partition, and both insert new ones. #}
{% macro one_writer() %}
{% if model.config.materialized == 'incremental' %}
select pg_advisory_xact_lock(hashtextextended('inferhouse.marts', 0))
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
