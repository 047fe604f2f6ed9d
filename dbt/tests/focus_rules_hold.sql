-- The rules of FOCUS 1.2 for the columns that we fill: one row per rule that a charge breaks. Usage of every organization.
select
    rule.broken,
    count(*) as charges
from {{ ref('int_charges_described') }} as charge
cross join
    lateral (
        values
        (
            'a column that may not be null is null',
            num_nulls(
                charge."BilledCost", charge."BillingAccountId", charge."BillingAccountName", charge."BillingAccountType",
                charge."BillingCurrency", charge."BillingPeriodEnd", charge."BillingPeriodStart", charge."ChargeCategory",
                charge."ChargeDescription", charge."ChargeFrequency", charge."ChargePeriodEnd", charge."ChargePeriodStart",
                charge."ConsumedQuantity", charge."ConsumedUnit", charge."ContractedCost", charge."ContractedUnitPrice",
                charge."EffectiveCost", charge."InvoiceIssuerName", charge."ListCost", charge."ListUnitPrice",
                charge."PricingCategory", charge."PricingCurrency", charge."PricingQuantity", charge."PricingUnit",
                charge."ProviderName", charge."PublisherName", charge."ResourceId", charge."ResourceType",
                charge."ServiceCategory", charge."ServiceName", charge."ServiceSubcategory", charge."SkuId", charge."SkuMeter",
                charge."SkuPriceId", charge."SubAccountId", charge."SubAccountType"
            ) = 0
        ),
        (
            'a value is none of the allowed ones',
            charge."ChargeCategory" in ('Usage', 'Purchase', 'Tax', 'Credit', 'Adjustment')
            and coalesce(charge."ChargeClass", 'Correction') = 'Correction'
            and charge."ChargeFrequency" in ('One-Time', 'Recurring', 'Usage-Based')
            and charge."PricingCategory" in ('Standard', 'Dynamic', 'Committed', 'Other')
            and charge."ServiceCategory" = 'AI and Machine Learning'
            and charge."ServiceSubcategory" in (
                'AI Platforms', 'Bots', 'Generative AI', 'Machine Learning', 'Natural Language Processing',
                'Other (AI and Machine Learning)'
            )
        ),
        (
            'a currency is no code of three letters',
            charge."BillingCurrency" ~ '^[A-Z]{3}$' and charge."PricingCurrency" ~ '^[A-Z]{3}$'
        ),
        (
            'a charge period does not lie in its billing period',
            charge."ChargePeriodStart" < charge."ChargePeriodEnd"
            and charge."BillingPeriodStart" <= charge."ChargePeriodStart"
            and charge."ChargePeriodEnd" <= charge."BillingPeriodEnd"
        ),
        ('a contracted cost is not price x quantity', charge."ContractedCost" = charge."ContractedUnitPrice" * charge."PricingQuantity"),
        ('a list cost is not price x quantity', charge."ListCost" = charge."ListUnitPrice" * charge."PricingQuantity"),
        (
            'a billed or effective cost is not the contracted one',
            charge."BilledCost" = charge."ContractedCost" and charge."EffectiveCost" = charge."BilledCost"
        ),
        ('a usage charge consumes nothing', charge."ConsumedQuantity" > 0 and charge."PricingQuantity" > 0),
        ('a unit price or cost is negative', least(charge."ContractedUnitPrice", charge."ListUnitPrice", charge."BilledCost") >= 0),
        (
            'a commitment or reservation has half of its columns',
            num_nulls(
                charge."CommitmentDiscountId", charge."CommitmentDiscountCategory", charge."CommitmentDiscountStatus",
                charge."CommitmentDiscountType", charge."CapacityReservationId", charge."CapacityReservationStatus"
            ) = 6
        )
    ) as rule (broken, holds)
where rule.holds is not true
group by rule.broken
