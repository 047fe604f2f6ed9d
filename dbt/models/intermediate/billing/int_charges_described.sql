{{ config(materialized='view') }}

-- Charges in the columns of FOCUS 1.2, which asks for these very names. The mart is this view, filtered for the session: the role
-- that builds and tests is no tenant and would see nothing there.
with charges as (
    select
        charge.*,
        (charge.cost_picousd / 1000000000000.0)::numeric(38, 12) as cost,
        (charge.quantity * charge.list_unit_price_picousd / 1000000000000.0)::numeric(38, 12) as list_cost,
        (charge.unit_price_picousd / 1000000000000.0)::numeric(38, 12) as unit_price,
        (charge.list_unit_price_picousd / 1000000000000.0)::numeric(38, 12) as list_unit_price,
        case charge.token_class
            when 'input' then 'Input tokens'
            when 'cached_input' then 'Cached input tokens'
            when 'output' then 'Output tokens'
            when 'reasoning' then 'Reasoning tokens'
            else 'Requests'
        end as meter,
        case charge.token_class when 'request' then 'Requests' else 'Tokens' end as unit
    from {{ ref('int_charge_days') }} as charge
)

select
    charges.org_id,
    null::text as "AvailabilityZone",
    charges.cost as "BilledCost",
    organization.organization as "BillingAccountId",
    organization.name as "BillingAccountName",
    'Organization'::text as "BillingAccountType",
    organization.currency as "BillingCurrency",
    charges.billing_period_ends_at as "BillingPeriodEnd",
    charges.billing_period_starts_at as "BillingPeriodStart",
    null::text as "CapacityReservationId",
    null::text as "CapacityReservationStatus",
    'Usage'::text as "ChargeCategory",
    null::text as "ChargeClass",
    charges.meter || ' of ' || model.model as "ChargeDescription",
    'Usage-Based'::text as "ChargeFrequency",
    charges.charge_period_ends_at as "ChargePeriodEnd",
    charges.charge_period_starts_at as "ChargePeriodStart",
    null::text as "CommitmentDiscountCategory",
    null::text as "CommitmentDiscountId",
    null::text as "CommitmentDiscountName",
    null::numeric(38, 0) as "CommitmentDiscountQuantity",
    null::text as "CommitmentDiscountStatus",
    null::text as "CommitmentDiscountType",
    null::text as "CommitmentDiscountUnit",
    charges.quantity as "ConsumedQuantity",
    charges.unit as "ConsumedUnit",
    charges.cost as "ContractedCost",
    charges.unit_price as "ContractedUnitPrice",
    charges.cost as "EffectiveCost",
    null::text as "InvoiceId",
    '{{ var("provider_name") }}'::text as "InvoiceIssuerName",
    charges.list_cost as "ListCost",
    charges.list_unit_price as "ListUnitPrice",
    'Standard'::text as "PricingCategory",
    organization.currency as "PricingCurrency",
    charges.unit_price as "PricingCurrencyContractedUnitPrice",
    charges.cost as "PricingCurrencyEffectiveCost",
    charges.list_unit_price as "PricingCurrencyListUnitPrice",
    charges.quantity as "PricingQuantity",
    charges.unit as "PricingUnit",
    '{{ var("provider_name") }}'::text as "ProviderName",
    '{{ var("provider_name") }}'::text as "PublisherName",
    null::text as "RegionId",
    null::text as "RegionName",
    'key_' || api_key.api_key as "ResourceId",
    api_key.name as "ResourceName",
    'API key'::text as "ResourceType",
    'AI and Machine Learning'::text as "ServiceCategory",
    'Inference'::text as "ServiceName",
    'Generative AI'::text as "ServiceSubcategory",
    model.model || '/' || charges.token_class as "SkuId",
    charges.meter as "SkuMeter",
    jsonb_build_object('x_Model', model.model, 'x_TokenClass', charges.token_class) as "SkuPriceDetails",
    'price_' || charges.price_id || '/' || charges.token_class as "SkuPriceId",
    project.project as "SubAccountId",
    project.name as "SubAccountName",
    'Project'::text as "SubAccountType",
    null::jsonb as "Tags"
from charges
inner join {{ ref('stg_control__organizations') }} as organization on charges.org_id = organization.org_id
inner join {{ ref('stg_control__projects') }} as project on charges.project_id = project.project_id
inner join {{ ref('stg_control__models') }} as model on charges.model_id = model.model_id
left join {{ ref('stg_control__api_keys') }} as api_key on charges.api_key_id = api_key.api_key_id
