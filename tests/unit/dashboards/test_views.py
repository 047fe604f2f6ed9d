"""What pages say, without a browser."""

from datetime import UTC, date, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboards.views import invoice, requests, usage, words

BERLIN = ZoneInfo("Europe/Berlin")
USAGE = pd.DataFrame(
    [
        (date(2026, 3, 1), "proj_a", "key", "m", 2, 1500, 100, 30, Decimal(2_000_000)),
        (date(2026, 3, 1), "proj_a", "key", None, 1, 0, 0, 0, Decimal(0)),
        (date(2026, 3, 2), "proj_b", "key", "m", 1, 10**12, 0, 1, Decimal(10**30)),
    ],
    columns=[
        "day", "project", "api_key", "model", "requests", "input_tokens", "cached_input_tokens", "output_tokens", "cost_picousd",
    ],
    dtype=object,
)  # fmt: skip


@pytest.mark.parametrize(
    ("picousd", "said"),
    [
        (0, "$0.00"),
        (1, "$0.000000000001"),
        (12_300_000, "$0.0000123"),
        (1_204_500_000_000_000, "$1,204.50"),
        (Decimal("86000000"), "$0.000086"),
        (None, "—"),
        (float("nan"), "—"),
    ],
)
def test_money_is_exact(picousd: object, said: str) -> None:
    assert words.money(picousd) == said


@given(st.integers(0, 10**30))
def test_money_loses_no_digit(picousd: int) -> None:
    whole, _, decimals = words.money(picousd).removeprefix("$").replace(",", "").partition(".")
    assert int(whole + decimals.ljust(12, "0")) == picousd


def test_numbers_are_never_shortened() -> None:
    assert words.count(1_234_567_890) == "1,234,567,890"
    assert words.milliseconds(1_234_567) == "1,234.6 ms"


def test_totals_are_exact_however_large() -> None:
    sums = usage.totals(USAGE)
    assert (sums.requests, sums.input_tokens, sums.cached_input_tokens, sums.output_tokens) == (4, 10**12 + 1500, 100, 31)
    assert sums.cost_picousd == 10**30 + 2_000_000
    assert usage.totals(USAGE.iloc[:0]).requests == 0


def test_completeness_is_said_in_the_organizations_zone() -> None:
    known = pd.DataFrame(
        [(datetime(2026, 7, 1, 12, 5, tzinfo=UTC), 3, Decimal("0.0002"))],
        columns=["complete_to", "rows_quarantined", "estimated_share"],
        dtype=object,
    )
    line = words.complete_line(known, BERLIN)
    assert line == "Complete to 2026-07-01 14:05:00 (Europe/Berlin) · 3 rows quarantined · 0.02 % estimated"
    assert words.complete_line(known.iloc[:0], BERLIN) == "Nothing is known to be complete yet."


def test_a_request_is_explained_by_its_own_price() -> None:
    row = pd.Series(
        {
            "started_at": datetime(2026, 1, 1, tzinfo=UTC), "status": "completed", "http_status": 200, "error_code": None,
            "model": "m", "engine": "e", "input_tokens": 10, "cached_input_tokens": 4, "output_tokens": 3,
            "token_source": "engine", "charge_class": "charged", "price_id": 7, "input_picousd": 100,
            "cached_input_picousd": 50, "output_picousd": 400, "cost_picousd": 2000, "ttft_us": None, "duration_us": 1500,
            "overhead_us": 200, "api_key": "k", "project": "p",
        }
    )  # fmt: skip
    said = dict(requests.why(row, BERLIN))
    assert said["Tokens"] == "10 in (4 of them cached), 3 out; counted by the engine"
    assert said["Cost"] == (
        "$0.000000002 = 6 × $0.0000000001 input + 4 × $0.00000000005 cached + 3 × $0.0000000004 output (price 7)"
    )
    unpriced = row.copy()
    unpriced["price_id"] = None
    assert "quarantined" in dict(requests.why(unpriced, BERLIN))["Cost"]
    free = row.copy()
    free["charge_class"] = "free_engine_failed"
    assert dict(requests.why(free, BERLIN))["Cost"] == "Not charged: the engine failed."


def test_the_invoice_is_the_sum_of_its_lines() -> None:
    lines = pd.DataFrame(
        [
            (date(2026, 3, 1), "il_1", "p", "m", "input", Decimal(10), 100, Decimal(1000), Decimal("1.10")),
            (date(2026, 3, 1), "il_2", "p", "m", "output", Decimal(10), 100, Decimal(1000), Decimal("2.25")),
            (date(2026, 2, 1), "il_3", "p", "m", "output", Decimal(10), 100, Decimal(1000), Decimal("9.99")),
        ],
        columns=[
            "period_month", "line_id", "project", "model", "token_class", "quantity", "unit_price_picousd", "subtotal_picousd",
            "amount",
        ],
        dtype=object,
    )  # fmt: skip
    assert invoice.months(lines) == ["2026-03", "2026-02"]
    march = invoice.of_month(lines, "2026-03")
    assert invoice.total(march) == Decimal("3.35")
    assert list(invoice.invoice_table(march)["What"]) == ["Input tokens", "Output tokens"]


def test_figures_show_every_model_once() -> None:
    hours = USAGE.assign(hour_utc=[datetime(2026, 3, 1, hour, tzinfo=UTC) for hour in range(3)])
    figure = usage.tokens_per_hour(hours, BERLIN)
    assert [trace.name for trace in figure.data] == ["m"]
    assert figure.data[0].x[0].isoformat() == "2026-03-01T01:00:00"  # one o'clock in Berlin
