{# When a day begins in a zone: at the first instant whose clock shows it, also where midnight is left out, or comes twice. #}
{% macro first_instant(day, time_zone) -%}
(
    select min(step.instant)
    from generate_series(
        {{ day }}::timestamp at time zone {{ time_zone }} - interval '2 hours',
        {{ day }}::timestamp at time zone {{ time_zone }} + interval '2 hours',
        interval '15 minutes'
    ) as step (instant)
    where step.instant at time zone {{ time_zone }} >= {{ day }}::timestamp
)
{%- endmacro %}
