"""What usage costs in the columns of FOCUS: complete to the pico-dollar, by the rules, and each rule finds its fault."""

import re
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import psycopg
import pytest

from tests.dbt_runs import DBT, Dbt, table
from tests.factories import START, Tenant, add_model, add_tenant, copy_events, month_of_events, usage_event

ONLY = ("--select", "+focus_costs", "--indirect-selection", "cautious")
SPECIFIED = (
    "AvailabilityZone BilledCost BillingAccountId BillingAccountName BillingAccountType BillingCurrency BillingPeriodEnd"
    " BillingPeriodStart CapacityReservationId CapacityReservationStatus ChargeCategory ChargeClass ChargeDescription"
    " ChargeFrequency ChargePeriodEnd ChargePeriodStart CommitmentDiscountCategory CommitmentDiscountId CommitmentDiscountName"
    " CommitmentDiscountQuantity CommitmentDiscountStatus CommitmentDiscountType CommitmentDiscountUnit ConsumedQuantity"
    " ConsumedUnit ContractedCost ContractedUnitPrice EffectiveCost InvoiceId InvoiceIssuerName ListCost ListUnitPrice"
    " PricingCategory PricingCurrency PricingCurrencyContractedUnitPrice PricingCurrencyEffectiveCost"
    " PricingCurrencyListUnitPrice PricingQuantity PricingUnit ProviderName PublisherName RegionId RegionName ResourceId"
    " ResourceName ResourceType ServiceCategory ServiceName ServiceSubcategory SkuId SkuMeter SkuPriceDetails SkuPriceId"
    " SubAccountId SubAccountName SubAccountType Tags"
)
FAULTS = {
    "a column that may not be null is null": '"ChargeDescription" = null',
    "a value is none of the allowed ones": "\"ChargeFrequency\" = 'Hourly'",
    "a currency is no code of three letters": "\"BillingCurrency\" = 'Dollar'",
    "a charge period does not lie in its billing period": '"ChargePeriodEnd" = "BillingPeriodEnd" + interval \'1 second\'',
    "a contracted cost is not price x quantity": '"ContractedUnitPrice" = "ContractedUnitPrice" + 0.000000000001',
    "a list cost is not price x quantity": '"ListCost" = "ListCost" + 0.000000000001',
    "a billed or effective cost is not the contracted one": '"EffectiveCost" = "EffectiveCost" + 0.000000000001',
    "a usage charge consumes nothing": '"ConsumedQuantity" = 0',
    "a unit price or cost is negative": '"ListUnitPrice" = -1, "ListCost" = -"PricingQuantity"',
    "a commitment or reservation has half of its columns": "\"CommitmentDiscountId\" = 'c'",
}


def _own_price(db: psycopg.Connection, tenant: Tenant, model_id: int) -> int:
    row = db.execute(
        "insert into control.prices (model_id, org_id, input_picousd, cached_input_picousd, output_picousd, reasoning_picousd,"
        " request_picousd, effective, reason)"
        " values (%s, %s, 80, 40, 300, 350, 1000, '[2020-01-01 00:00+00,)', 'own') returning id",
        [model_id, tenant.org_id],
    ).fetchone()
    assert row is not None
    return int(row[0])


@pytest.fixture
def tenants(db: psycopg.Connection) -> tuple[Tenant, Tenant]:
    """A month of rows at list prices in a zone of 5:30 from UTC, and one row at an organization's own price."""
    model = add_model(db, "m")
    listed, own = add_tenant(db, "Asia/Kolkata"), add_tenant(db)
    price = _own_price(db, own, model[0])
    copy_events(db, month_of_events([listed], model, 600))
    cost = 60 * 80 + 40 * 40 + 20 * 300 + 10 * 350 + 1000
    tokens = {"input_tokens": 100, "cached_input_tokens": 40, "output_tokens": 30, "reasoning_tokens": 10}
    at = START + timedelta(days=2)
    copy_events(
        db,
        [
            usage_event(own, 10**6, at, model_id=model[0], price_id=price, cost_picousd=cost, **tokens),
            usage_event(own, 10**6 + 1, at, model_id=model[0], charge_class="free_engine_failed", cost_picousd=0, **tokens),
        ],
    )
    return listed, own


def test_costs_are_those_of_the_rows_by_the_rules_of_focus(
    db: psycopg.Connection, dbt: Dbt, tenants: tuple[Tenant, Tenant], role_url: Callable[..., str]
) -> None:
    dbt.run("build", *ONLY)
    rules = _rules(dbt.target)
    described = "intermediate.int_charges_described"
    assert db.execute(rules.replace("{charges}", described).encode()).fetchall() == []
    raw = db.execute("select sum(cost_picousd) / 1e12 from raw.usage_events where charge_class = 'charged'").fetchone()
    assert db.execute(f'select sum("BilledCost") from {described}'.encode()).fetchone() == raw
    _own_prices_stand_beside_list_prices(db, tenants[1])
    _planted_faults_are_named(db, rules)
    db.rollback()
    late = usage_event(tenants[0], 2 * 10**6, START, model_id=1, price_id=1, cost_picousd=400, output_tokens=1)
    copy_events(db, [late])
    dbt.run("build", *ONLY)
    incremental = table(db, "intermediate.int_charge_days")
    dbt.run("run", "--full-refresh", "--select", "+focus_costs")
    assert table(db, "intermediate.int_charge_days") == incremental
    with psycopg.connect(role_url("inferhouse_portal")) as portal:
        assert portal.execute("select count(*) from marts.focus_costs").fetchone() == (0,)
        portal.execute(f"set inferhouse.org_id = {tenants[1].org_id}".encode())
        rows = portal.execute("select * from marts.focus_costs")
        assert {column.name for column in rows.description or ()} == set(SPECIFIED.split())
        assert {row[2] for row in rows} == {tenants[1].organization}


def _rules(target: Path) -> str:
    """The rules as dbt has compiled them, over whichever table stands for {charges}."""
    (file,) = (target / "compiled").rglob("focus_rules_hold.sql")
    text, count = re.subn(r'"\w+"\."intermediate"\."int_charges_described"', "{charges}", file.read_text())
    assert count == 1
    return text


def _own_prices_stand_beside_list_prices(db: psycopg.Connection, own: Tenant) -> None:
    rows = db.execute(
        'select "SkuMeter", ("PricingQuantity")::int, ("ContractedUnitPrice" * 1e12)::int, ("ListUnitPrice" * 1e12)::int,'
        ' "ConsumedUnit" from intermediate.int_charges_described where org_id = %s order by 1',
        [own.org_id],
    ).fetchall()
    assert rows == [
        ("Cached input tokens", 40, 40, 50, "Tokens"),
        ("Input tokens", 60, 80, 100, "Tokens"),
        ("Output tokens", 20, 300, 400, "Tokens"),
        ("Reasoning tokens", 10, 350, 400, "Tokens"),
        ("Requests", 1, 1000, 0, "Requests"),
    ]


def _planted_faults_are_named(db: psycopg.Connection, rules: str) -> None:
    """Each fault in one row, and its rule names one row."""
    assert set(re.findall(r"'(a [^']*)',", (DBT / "tests" / "focus_rules_hold.sql").read_text())) == set(FAULTS)
    db.execute("create temporary table planted as select * from intermediate.int_charges_described limit 5")
    for rule, fault in FAULTS.items():
        with db.transaction(force_rollback=True):
            db.execute(f"update planted set {fault} where ctid = (select min(ctid) from planted)".encode())
            broken = dict(db.execute(rules.replace("{charges}", "planted").encode()).fetchall())
        assert broken.get(rule) == 1, f"{fault}: {broken}"
