{# The commit horizon at which this model was last brought up to date; '0' before its first run. Every row of an
   incremental model keeps in `as_of_xid` the horizon at which its partition was computed, so the newest of them is it. #}
{% macro watermark() -%}
{% if is_incremental() -%}
(select coalesce(max(mine.as_of_xid), '0'::xid8) from {{ this }} as mine)
{%- else -%}
'0'::xid8
{%- endif %}
{%- endmacro %}
