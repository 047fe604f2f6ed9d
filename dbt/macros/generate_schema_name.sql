{# Schemas are those of the design, not `target_schema_custom` as dbt would make them. #}
{% macro generate_schema_name(custom_schema_name, node) -%}
    {{ (custom_schema_name or target.schema) | trim }}
{%- endmacro %}
