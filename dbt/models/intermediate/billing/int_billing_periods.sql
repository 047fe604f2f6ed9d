{{
    config(
        materialized='incremental',
        incremental_strategy='delete+insert',
        unique_key=['org_id', 'period_month'],
        indexes=[{'columns': ['org_id', 'period_month'], 'unique': true}, {'columns': ['as_of_xid']}, {'columns': ['computed_at']}]
    )
}}

-- A month of an organization, in its own time zone, comes here anew when one of its rows arrives, and when its discounts or
-- volume tiers are others than last time: what is made of it is then computed again.
with organizations as (
    select * from {{ ref('stg_control__organizations') }}
),

touched as materialized (
    select distinct
        usage.org_id,
        date_trunc('month', usage.quarter_hour_at at time zone organization.time_zone)::date as period_month
    from {{ ref('int_usage_quarter_hours') }} as usage
    inner join organizations as organization on usage.org_id = organization.org_id
    where usage.as_of_xid > {{ watermark() }}
),

candidates as (
    select
        touched.org_id,
        touched.period_month,
        true as is_touched,
        null::text as known_terms
    from touched
    {% if is_incremental() -%}
    union all
    select
        known.org_id,
        known.period_month,
        false as is_touched,
        known.terms
    from {{ this }} as known
    where
        not exists (
            select 1 from touched
            where touched.org_id = known.org_id and touched.period_month = known.period_month
        )
    {%- endif %}
),

terms as (
    select
        discount.org_id,
        discount.months,
        concat_ws('/', 'discount', coalesce(discount.model_id::text, 'all'), discount.basis_points) as term
    from {{ ref('stg_control__discounts') }} as discount
    union all
    select
        tier.org_id,
        tier.months,
        concat_ws('/', 'tier', tier.model_id, tier.token_class, tier.above_quantity, tier.basis_points) as term
    from {{ ref('stg_control__volume_tiers') }} as tier
),

terms_of_months as materialized (
    select
        month.period_month,
        terms.org_id,
        md5(string_agg(terms.term, ',' order by terms.term)) as terms_digest
    from (select distinct candidates.period_month from candidates) as month
    inner join terms on terms.months @> month.period_month
    group by month.period_month, terms.org_id
),

computed as (
    select
        candidates.*,
        coalesce(of_everybody.terms_digest, '-') || '/' || coalesce(own.terms_digest, '-') as terms
    from candidates
    left join terms_of_months as of_everybody
        on candidates.period_month = of_everybody.period_month and of_everybody.org_id is null
    left join terms_of_months as own on candidates.period_month = own.period_month and candidates.org_id = own.org_id
)

select
    computed.org_id,
    organization.organization,
    organization.currency,
    computed.period_month,
    {{ first_instant('computed.period_month', 'organization.time_zone') }} as period_starts_at,
    {{ first_instant("(computed.period_month + interval '1 month')", 'organization.time_zone') }} as period_ends_at,
    computed.terms,
    clock_timestamp() as computed_at,
    -- Not the horizon of the run: another run may have moved it on. Every row before this one is in the quarters of hours.
    (select max(usage.as_of_xid) from {{ ref('int_usage_quarter_hours') }} as usage) as as_of_xid
from computed
inner join organizations as organization on computed.org_id = organization.org_id
where computed.is_touched or computed.terms <> computed.known_terms
