"""What pages say, without a browser."""

import io
from datetime import UTC, date, datetime
from decimal import Decimal
from fractions import Fraction
from zoneinfo import ZoneInfo

import pandas as pd
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboards.views import engines, exports, invoice, requests, usage, words

BERLIN = ZoneInfo("Europe/Berlin")
USAGE = pd.DataFrame(
    [
        (date(2026, 3, 1), "proj_a", "key", "m", 2, 1500, 100, 30, Decimal(2_000_000)),
        (date(2026, 3, 1), "proj_a", "key", "—", 1, 0, 0, 0, Decimal(0)),
        (date(2026, 3, 2), "proj_b", "key", "m", 1, 10**12, 0, 1, Decimal(10**30)),
        (date(2026, 3, 2), "proj_b", "key", "cheap", 1, 3, 0, 1, Decimal(5)),
    ],
    columns=[
        "day", "project", "api_key", "model", "requests", "input_tokens", "cached_input_tokens", "output_tokens", "cost_picousd",
    ],
    dtype=object,
)  # fmt: skip
DAYS = (date(2026, 3, 1), date(2026, 3, 2))
ATTEMPT = pd.Series(
    {
        "started_at": datetime(2026, 1, 1, tzinfo=UTC), "status": "completed", "http_status": 200, "error_code": None,
        "model": "m", "engine": "e", "input_tokens": 10, "cached_input_tokens": 4, "output_tokens": 3,
        "token_source": "engine", "charge_class": "charged", "price_id": 7, "input_picousd": 100,
        "cached_input_picousd": 50, "output_picousd": 400, "cost_picousd": 2000, "ttft_us": None, "duration_us": 1500,
        "overhead_us": 200, "api_key": "k", "project": "p", "request_id": "019", "attempt": 1,
    }
)  # fmt: skip


def said(**changed: object) -> dict[str, str]:
    return dict(requests.why(pd.Series(ATTEMPT.to_dict() | changed), BERLIN))


@pytest.mark.parametrize(
    ("picousd", "shown"),
    [
        (0, "$0.00"),
        (1, "$0.000000000001"),
        (12_300_000, "$0.0000123"),
        (1_204_500_000_000_000, "$1,204.50"),
        (Decimal("86000000"), "$0.000086"),
        (Decimal(-1_500_000), "-$0.0000015"),
        (None, "—"),
        (float("nan"), "—"),
    ],
)
def test_money_is_exact(picousd: object, shown: str) -> None:
    assert words.money(picousd) == shown


@given(st.integers(0, 10**30))
def test_money_loses_no_digit(picousd: int) -> None:
    assert Fraction(words.money(picousd).removeprefix("$").replace(",", "")) * 10**12 == picousd


def test_numbers_are_never_shortened() -> None:
    assert words.count(1_234_567_890) == "1,234,567,890"
    assert words.milliseconds(1_234_567) == "1,234.6 ms"
    assert words.dollars(Decimal("1234.5")) == "$1,234.50"


def test_totals_are_exact_however_large() -> None:
    sums = usage.totals(USAGE)
    assert (sums.requests, sums.input_tokens, sums.cached_input_tokens, sums.output_tokens) == (5, 10**12 + 1503, 100, 32)
    assert sums.cost_picousd == 10**30 + 2_000_005
    assert usage.totals(USAGE.iloc[:0]).requests == 0


def test_models_add_up_to_the_totals_and_the_dearest_is_first() -> None:
    models = usage.by_model(USAGE)
    assert list(models["Model"]) == ["m", "cheap", "—"]
    assert models["Input tokens"].sum() == usage.totals(USAGE).input_tokens
    assert models["Cost (USD)"].iloc[0] == "$1,000,000,000,000,000,000.000002"
    assert usage.by_model(USAGE.iloc[:0]).empty


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
    assert said()["Tokens"] == "10 in (4 of them cached), 3 out; counted by the engine"
    assert said()["Cost"] == (
        "$0.000000002 = 6 × $0.0000000001 input + 4 × $0.00000000005 cached + 3 × $0.0000000004 output (price 7)"
    )
    assert said()["Ended as"] == "completed, HTTP 200"
    assert said()["Time"] == "whole call 1.5 ms, of it the router itself 0.2 ms"


def test_a_request_without_a_price_is_said_to_hold_up_the_invoice() -> None:
    assert "no invoice is final until that is settled" in said(price_id=None)["Cost"]


def test_a_request_that_is_free_says_why() -> None:
    failed = said(charge_class="free_engine_failed", status="engine_failed", http_status=502, error_code="engine_failed")
    assert failed["Cost"] == "Not charged: the engine failed."
    assert failed["Ended as"] == "engine failed, HTTP 502, engine_failed"
    refused = said(charge_class="free_refused", engine=None, model=None, token_source="none", duration_us=None, overhead_us=None)
    assert refused["Model and engine"] == "— on no engine"
    assert refused["Tokens"].endswith("no engine was asked")
    assert refused["Time"] == "—"


def test_a_table_of_requests_has_whole_numbers_and_exact_money() -> None:
    table = requests.requests_table(pd.DataFrame([ATTEMPT.to_dict() | {"model": None, "engine": None}], dtype=object), BERLIN)
    row = table.iloc[0]
    assert (row["Time"], row["Model"], row["Engine"]) == ("2026-01-01 01:00:00", "—", "—")
    assert (row["Input tokens"], row["Cost (USD)"], row["First token"]) == (10, "$0.000000002", "—")


MARCH = date(2026, 3, 1)


def test_the_invoice_is_the_sum_of_its_lines() -> None:
    lines = pd.DataFrame(
        [
            ("il_1", MARCH, "usage", "p", "m", "input", Decimal(10), 100, Decimal(1_100_000_000_001), Decimal("1.10")),
            ("il_2", MARCH, "usage", "p", "m", "output", Decimal(1234), 100, Decimal(2_250_000_000_000), Decimal("2.25")),
            ("il_3", MARCH, "discount", None, "m", None, Decimal(1), None, Decimal(-(10**12)), Decimal("-1.00")),
        ],
        columns=[
            "line_id",
            "period_month",
            "kind",
            "project",
            "model",
            "token_class",
            "quantity",
            "unit_price_picousd",
            "subtotal_picousd",
            "amount",
        ],
        dtype=object,
    )
    assert words.dollars(invoice.total(lines)) == "$2.35"
    assert words.money(invoice.exact_total(lines)) == "$2.350000000001"
    table = invoice.invoice_table(lines)
    assert list(table["What"]) == ["Input tokens", "Output tokens", "Discount"]
    assert list(table["Quantity"]) == [10, 1234, 1]
    assert list(table["Price per million"]) == ["$0.0001", "$0.0001", "—"]
    assert invoice.line_label(lines.iloc[1]) == "m · Output tokens · $2.25 · il_2"


def test_a_certificate_says_of_each_check_whether_it_held() -> None:
    checks = [{"name": "parity", "passed": True, "figures": {"parity_lines": "0"}}, {"name": "x", "passed": False, "figures": {}}]
    table = invoice.certificate_table(checks)
    assert list(table["Check"]) == ["Two pricing engines agree", "x"]
    assert list(table["Held"]) == ["yes", "no"]
    assert list(table["Figures"]) == ["parity_lines = 0", ""]


def test_figures_show_each_model_that_had_tokens_in_its_own_colour() -> None:
    hours = USAGE.assign(hour_utc=[datetime(2026, 3, 1, hour, tzinfo=UTC) for hour in range(4)])
    models = usage.by_model(USAGE)["Model"]
    by_hour = usage.tokens_per_hour(
        hours, BERLIN, models, (datetime(2026, 2, 28, 4, tzinfo=UTC), datetime(2026, 3, 1, 3, tzinfo=UTC))
    )
    by_day = usage.tokens_per_day(USAGE, models, DAYS)
    assert [trace.name for trace in by_hour.data] == [trace.name for trace in by_day.data] == ["m", "cheap"]
    assert by_hour.data[0].x[0].isoformat() == "2026-03-01T01:00:00"  # one o'clock in Berlin
    assert by_hour.data[1].marker.color == by_day.data[1].marker.color != by_day.data[0].marker.color


def test_spend_is_drawn_with_what_is_expected() -> None:
    columns = ["day_utc", "cost_picousd", "cost_picousd_low", "cost_picousd_high", "interval_share"]
    forecast = pd.DataFrame(
        [(date(2026, 3, 3), Decimal(3 * 10**12), Decimal(2 * 10**12), Decimal(5 * 10**12), Decimal("0.8"))],
        columns=columns,
        dtype=object,
    )
    models = usage.by_model(USAGE)["Model"]
    figure = usage.spend_per_day(USAGE, forecast, models, DAYS)
    spent, cheap, expected = figure.data
    assert (spent.name, list(spent.y), cheap.name, list(cheap.y)) == ("m", [0.000002, 1e18], "cheap", [5e-12])
    assert [f"{edge:%d %H}" for edge in figure.layout.xaxis.range] == ["28 12", "03 12"]
    assert (expected.y[0], expected.error_y.array[0], expected.error_y.arrayminus[0]) == (3, 2, 1)
    assert expected.name == "expected, 80 % of days within the bars"
    assert len(usage.spend_per_day(USAGE, forecast.iloc[:0], models, DAYS).data) == 2
    assert (usage.expected(forecast), usage.expected(forecast.iloc[:0])) == (3 * 10**12, None)


def test_a_lone_day_is_drawn_in_its_whole_range() -> None:
    figure = usage.tokens_per_day(USAGE.iloc[2:], ["m"], (date(2026, 1, 1), date(2026, 12, 31)))
    assert [f"{edge:%d %b}" for edge in figure.layout.xaxis.range] == ["31 Dec", "31 Dec"]
    assert figure.layout.xaxis.dtick == 46 * 86_400_000  # at most eight ticks in 365 days
    assert figure.data[0].width < 86_400_000


def test_spend_is_listed_by_day_and_model_the_latest_and_dearest_first() -> None:
    table = usage.spend_table(USAGE)
    assert list(table["Model"]) == ["m", "cheap", "m", "—"]
    assert table["Cost (USD)"].iloc[1] == "$0.000000000005"


def test_files_hold_the_exact_rows() -> None:
    csv = exports.to_csv(USAGE).decode().splitlines()
    assert csv[0] == ",".join(USAGE.columns)
    assert csv[3] == f"2026-03-02,proj_b,key,m,1,{10**12},0,1,{10**30}"
    table = pq.read_table(io.BytesIO(exports.to_parquet(USAGE)))
    assert str(table.schema.field("cost_picousd").type) == "decimal128(38, 0)"
    assert table.to_pylist() == USAGE.to_dict("records")


def test_engines_that_do_not_answer_come_first() -> None:
    engine = {"name": "a", "kind": "vllm", "model": "m", "healthy": True, "since": 1_767_225_600, "in_flight": 2}
    table = engines.engines_table([engine, engine | {"name": "b", "healthy": False, "since": None}], BERLIN)
    assert list(table["Engine"]) == ["b", "a"]
    assert list(table["Health"]) == ["does not answer", "answers"]
    assert list(table["Since"]) == ["—", "2026-01-01 01:00:00"]


def test_an_engines_hour_says_whether_its_rows_agree() -> None:
    hour = {
        "engine": "a", "model": "m", "hour_utc": datetime(2026, 1, 1, tzinfo=UTC), "output_tokens_per_second": Decimal("41.27"),
        "kv_cache_usage_avg": Decimal("0.421"), "kv_cache_usage_max": Decimal(1), "waiting_avg": Decimal("0.5"), "restarts": 1,
        "cost_picousd": Decimal(10**12), "margin_picousd": Decimal(-(10**11)), "day_utc": date(2026, 1, 1), "status": "drift",
        "drift_share": Decimal("0.0123"),
    }  # fmt: skip
    unseen = dict.fromkeys(hour, None) | {"engine": "b", "hour_utc": hour["hour_utc"], "restarts": 0}
    table = engines.counters_table(pd.DataFrame([hour, unseen, hour | {"status": "ok"}], dtype=object), BERLIN)
    assert list(table["Rows"]) == ["differs by 1.23% on 2026-01-01", "—", "agrees"]
    assert list(table["Tokens/s"])[:2] == ["41.3", "—"]
    assert list(table["KV cache"])[:2] == ["42%, at most 100%", "—, at most —"]
    assert list(table["Margin"])[:2] == ["-$0.10", "—"]


def test_organizations_are_named_and_those_without_a_name_shown_by_id() -> None:
    found = pd.DataFrame(
        [
            (1, "org_a", None, 0, 1, 2, 0, 3, Decimal(4)),
            (2, "org_b", datetime(2026, 1, 1, tzinfo=UTC), 1, 1, 2, 0, 3, Decimal(4)),
        ],
        columns=["org_id", "organization", "complete_to", "rows_quarantined", *usage.COUNTS, "cost_picousd"],
        dtype=object,
    )
    table = usage.organizations_table(found, {2: "Two"}, BERLIN)
    assert list(table["Organization"]) == ["org_a", "Two"]
    assert list(table["Complete to"]) == ["—", "2026-01-01 01:00:00"]
