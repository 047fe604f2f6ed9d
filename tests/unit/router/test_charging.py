"""The charging policy: what each way of ending costs."""

from dataclasses import replace
from datetime import timedelta

import pytest

from router.inference import charging
from tests.factories import Tenant, usage_event
from warehouse.access.catalogue import Price
from warehouse.access.usage_rows import UsageEvent, encode
from warehouse.base.clock import now

PRICE = Price(
    id=3, model_id=1, org_id=None, input_picousd=100, cached_input_picousd=50, output_picousd=400,
    effective_from=now() - timedelta(days=1), effective_until=None,
)  # fmt: skip
DEAREST_PICOUSD = 10**12  # that the price book takes


def _row(**fields: int | str) -> UsageEvent:
    counts = {"input_tokens": 10, "cached_input_tokens": 4, "output_tokens": 5, "token_source": "engine"}
    return usage_event(Tenant(1, 1, 1, ""), 1, now(), **counts | fields)


@pytest.mark.parametrize("status", charging.CHARGE_CLASS)
def test_what_is_charged_has_an_exact_cost_and_everything_else_costs_nothing(status: str) -> None:
    row = _row(status=status)
    charging.apply(row, [PRICE])
    is_charged = status in {"completed", "client_closed"}
    assert row.charge_class == ("charged" if is_charged else f"free_{status}")
    assert (row.price_id, row.cost_picousd) == ((3, 6 * 100 + 4 * 50 + 5 * 400) if is_charged else (None, 0))


def test_without_a_price_or_counts_the_cost_is_unknown_and_not_nothing() -> None:
    for row, prices in ((_row(), []), (_row(token_source="none"), [PRICE])):
        row.cost_picousd = 0  # as every row begins: it costs nothing if its router dies
        charging.apply(row, prices)
        assert (row.charge_class, row.price_id, row.cost_picousd) == ("charged", None, None)


def test_who_leaves_before_anything_is_counted_pays_nothing() -> None:
    row = _row(status="client_closed", input_tokens=0, cached_input_tokens=0, output_tokens=0, token_source="none")
    charging.apply(row, [PRICE])
    assert (row.price_id, row.cost_picousd) == (3, 0)


def test_the_first_version_that_is_for_the_input_tokens_prices_the_row() -> None:
    long = replace(PRICE, id=5, priority=2, input_tokens_from=100, input_tokens_until=200, output_picousd=800)
    short = replace(PRICE, id=4, priority=1, input_tokens_from=10, output_picousd=200)
    for tokens, price_id in ((9, 3), (10, 4), (99, 4), (100, 5), (199, 5), (200, 4)):
        row = _row(input_tokens=tokens)
        charging.apply(row, [long, short, PRICE])
        assert row.price_id == price_id


def test_a_request_and_reasoning_have_prices_of_their_own() -> None:
    price = replace(PRICE, request_picousd=1_000_000_007, reasoning_picousd=900)
    row = _row(output_tokens=5, reasoning_tokens=2)
    charging.apply(row, [price])
    assert row.cost_picousd == 6 * 100 + 4 * 50 + 3 * 400 + 2 * 900 + 1_000_000_007
    row = _row(output_tokens=5, reasoning_tokens=2)
    charging.apply(row, [replace(price, reasoning_picousd=None)])
    assert row.cost_picousd == 6 * 100 + 4 * 50 + 5 * 400 + 1_000_000_007
    free = _row(status="timed_out")
    charging.apply(free, [price])
    assert free.cost_picousd == 0


def test_a_cost_that_no_row_can_hold_is_unknown_and_the_row_is_written() -> None:
    dear = replace(PRICE, output_picousd=DEAREST_PICOUSD)
    row = _row(output_tokens=2**31 - 1)
    charging.apply(row, [dear])
    assert (row.price_id, row.cost_picousd) == (None, None)
    assert encode(row)
    nothing = replace(dear, input_picousd=0, cached_input_picousd=0, output_picousd=0)
    for most, is_known in ((charging.COST_PICOUSD_MAX, True), (charging.COST_PICOUSD_MAX + 1, False)):
        charging.apply(row, [replace(nothing, request_picousd=most)])
        assert (row.price_id, row.cost_picousd) == ((3, most) if is_known else (None, None))
        assert encode(row)
        row.price_id = None
