"""Prices and amounts are whole pico-dollars, exactly."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from warehouse.base.money import picousd, picousd_per_token, usd, usd_per_million


@given(millionths=st.integers(0, 10**12))
def test_any_price_with_six_decimals_is_exact(millionths: int) -> None:
    price = f"{millionths // 10**6}.{millionths % 10**6:06d}"
    assert picousd_per_token(price) == millionths


@given(picousd=st.integers(-(10**24), 10**24))
def test_printed_usd_is_the_same_amount(picousd: int) -> None:
    text = usd(picousd)
    assert Decimal(text).scaleb(12) == picousd
    assert len(text.partition(".")[2]) >= 2


@given(amount=st.integers(0, 10**24))
def test_an_amount_read_back_is_the_same(amount: int) -> None:
    assert picousd(usd(amount)) == amount
    assert picousd_per_token(usd_per_million(amount)) == amount


@pytest.mark.parametrize("amount", ["-0.01", "0.0000000000001", "nan", "inf", "", "1,50", "one"])
def test_what_is_no_amount_is_refused(amount: str) -> None:
    with pytest.raises(ValueError, match=r"decimal"):
        picousd(amount)


@pytest.mark.parametrize("price", ["-0.01", "0.0000001", "nan", "inf", "-inf", "", "1,50", "one", "0x10", "1.5 USD"])
def test_what_is_no_price_is_refused(price: str) -> None:
    with pytest.raises(ValueError, match=r"decimal"):
        picousd_per_token(price)


def test_a_float_is_refused() -> None:
    with pytest.raises(ValueError, match="at most 6 decimals"):
        picousd_per_token(0.1)  # type: ignore[arg-type]
