{# dbt-postgres fills a table with a contract by INSERT, which PostgreSQL does on one core and row by row. Here the table is made of
   its query, whose columns the contract is compared with as theirs is, and gets its constraints behind that. #}
{% macro postgres__create_table_as(temporary, relation, sql) -%}
{%- set contracted = config.get('contract').enforced %}
{% if contracted %}
{{ get_assert_columns_equivalent(sql) }}
{% endif %}
create {{ 'temporary ' if temporary }}table {{ relation }} as (
    {{ get_select_subquery(sql) if contracted else sql }}
);
{% if contracted and not temporary %}
{%- set required = [] %}
{%- for column in model.columns.values() %}
{%- for constraint in column.constraints %}
{%- if constraint.type != 'not_null' %}
{{ exceptions.raise_compiler_error('a contract knows not_null alone, and not ' ~ constraint.type) }}
{%- endif %}
{%- do required.append('alter column ' ~ adapter.quote(column.name) ~ ' set not null') %}
{%- endfor %}
{%- endfor %}
{% if required %}
alter table {{ relation }} {{ required | join(', ') }};
{% endif %}
{% endif %}
{%- endmacro %}
