"""The engine in Polars against a plain reading of the rules, on random books and months."""

import json
import math
from collections import Counter, defaultdict
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from fractions import Fraction
from typing import Any
from zoneinfo import ZoneInfo, available_timezones

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from orchestration.jobs import pricing

MONTH = date(2026, 3, 1)
ZONES = ["UTC", "Asia/Kathmandu", "America/New_York", "Pacific/Apia"]
ORGANIZATIONS = {org_id: ZONES[org_id % len(ZONES)] for org_id in range(1, 5)}
Row = dict[str, Any]

# Days and prices are sampled: large integers are mostly drawn small, and nearly every row would be before the month, or free.
EDGES = [
    datetime(2026, month, 1, tzinfo=ZoneInfo(zone)).astimezone(UTC) + timedelta(microseconds=us)
    for zone in ZONES for month in (3, 4) for us in (-1, 0)
]  # fmt: skip
days = st.sampled_from([datetime(2026, 2, 27, tzinfo=UTC) + timedelta(days=number) for number in range(34)])
instants = st.sampled_from(EDGES) | st.builds(
    lambda day, us: day + timedelta(microseconds=us), days, st.integers(0, 86_399_999_999)
)
prices = st.sampled_from([0, 1, 99_999, 10**6 + 1, 777_777_777_777, 10**12]) | st.integers(0, 10**12)
maybe_tags = st.dictionaries(st.sampled_from(["team", 'a"k', ", "]), st.sampled_from(["x", 'v"', ": "]), max_size=2)
versions = st.fixed_dictionaries(
    {
        "model_id": st.sampled_from([1, 1, 1, 2]),
        "org_id": st.none() | st.integers(1, 3),
        "priority": st.integers(0, 3),
        "endpoint": st.sampled_from([None, None, "chat.completions", "embeddings"]),
        "input_tokens_from": st.sampled_from([0, 0, 100, 1000]),
        "input_tokens_below": st.sampled_from([None, None, 1000, 5000]),
        "tags": st.just({}) | st.just({}) | maybe_tags,
        "effective_from": st.none() | st.none() | instants,
        "effective_before": st.none() | st.none() | instants,
        "input_picousd": prices,
        "cached_input_picousd": prices,
        "output_picousd": prices,
        "reasoning_picousd": st.none() | prices,
        "request_picousd": st.sampled_from([0, 1, 10**15]),
    }
)
raw_rows = st.fixed_dictionaries(
    {
        "started_at": instants,
        "org_id": st.integers(1, 2) | st.integers(1, 4),
        "project_id": st.integers(1, 2),
        "model_id": st.sampled_from([1, 1, 1, 2, 3]),
        "endpoint": st.sampled_from(["chat.completions", "embeddings", "score"]),
        "tags": st.none() | maybe_tags,
        "charge_class": st.sampled_from(["charged", "charged", "charged", "free_timed_out"]),
        "parts": st.tuples(*[st.integers(0, 3000)] * 4),
    }
)
months = st.sampled_from([None, None, None, date(2026, 2, 1), date(2026, 3, 1), date(2026, 4, 1)])
discounts = st.fixed_dictionaries(
    {
        "org_id": st.integers(1, 3),
        "model_id": st.none() | st.integers(1, 2),
        "basis_points": st.integers(1, 10_000),
        "first_month": months,
        "before_month": months,
    }
)
tiers = st.fixed_dictionaries(
    {
        "model_id": st.sampled_from([1, 1, 1, 2]),
        "org_id": st.none() | st.integers(1, 3),
        "token_class": st.sampled_from(pricing.CLASSES),
        "above_quantity": st.sampled_from([1, 10, 100, 1000]) | st.integers(1, 4000),
        "basis_points": st.integers(1, 10_000),
        "first_month": months,
        "before_month": months,
    }
)


def _row(drawn: Row) -> Row:
    cached, fresh, reasoning, answer = drawn.pop("parts")
    return drawn | {
        "input_tokens": cached + fresh,
        "cached_input_tokens": cached,
        "output_tokens": reasoning + answer,
        "reasoning_tokens": reasoning,
    }


def _within(low: Any, value: Any, high: Any) -> bool:
    return (low is None or low <= value) and (high is None or value < high)


def _book(drawn: Iterable[Row]) -> list[Row]:
    """Those that the database would take: at most one in force at any instant, length and priority of a model and tenant."""
    book: list[Row] = []
    for version in drawn:
        where = (version["model_id"], version["org_id"], version["priority"])
        if not any(where == (other["model_id"], other["org_id"], other["priority"]) for other in book):
            book.append(version | {"price_id": len(book) + 1})
    return book


def _frame(rows: list[Row], schema: dict[str, Any]) -> pl.DataFrame:
    def told(row: Row) -> Row:
        return row | ({"tags": json.dumps(row["tags"])} if row.get("tags") is not None else {})

    return pl.DataFrame([told(row) for row in rows], schema={name: schema[name] for name in (rows[0] if rows else schema)})


def _book_frame(book: list[Row]) -> pl.DataFrame:
    rows = [row | {"tags": [list(pair) for pair in row["tags"].items()]} for row in book]
    return pl.DataFrame(rows, schema=pricing.BOOK_SCHEMA)


def _version(row: Row, book: list[Row]) -> Row | None:
    def meets(price: Row) -> bool:
        return (
            price["model_id"] == row["model_id"]
            and price["org_id"] in {None, row["org_id"]}
            and _within(price["effective_from"], row["started_at"], price["effective_before"])
            and price["endpoint"] in {None, row["endpoint"]}
            and _within(price["input_tokens_from"], row["input_tokens"], price["input_tokens_below"])
            and price["tags"].items() <= (row["tags"] or {}).items()
        )

    found = sorted(filter(meets, book), key=lambda price: (price["org_id"] is not None, price["priority"]))
    return found[-1] if found else None


def _classes(row: Row) -> dict[str, int]:
    return {
        "input": row["input_tokens"] - row["cached_input_tokens"],
        "cached_input": row["cached_input_tokens"],
        "output": row["output_tokens"] - row["reasoning_tokens"],
        "reasoning": row["reasoning_tokens"],
        "request": 1,
    }


def _unit_price(price: Row, token_class: str) -> int:
    named = price[f"{token_class}_picousd"]
    return int(price["output_picousd"] if named is None else named)


def _half_up(amount: Fraction) -> int:
    return math.floor(amount + Fraction(1, 2))


def _oracle(rows: list[Row], book: list[Row], discounted: list[Row], tiered: list[Row]) -> dict[tuple[Any, ...], tuple[int, int]]:
    """(org, project, model, price, class, kind, above) -> (quantity, subtotal), in fractions."""
    by_id = {price["price_id"]: price for price in book}
    used: dict[tuple[Any, ...], int] = defaultdict(int)
    for row in rows:
        price = _version(row, book)
        month = row["started_at"].astimezone(ZoneInfo(ORGANIZATIONS[row["org_id"]])).date().replace(day=1)
        if price is None or row["charge_class"] != "charged" or month != MONTH:
            continue
        for token_class, quantity in _classes(row).items():
            if quantity and (token_class != "request" or price["request_picousd"]):
                used[row["org_id"], row["project_id"], row["model_id"], price["price_id"], token_class] += quantity
    lines: dict[tuple[Any, ...], tuple[int, int]] = {}
    volumes: dict[tuple[Any, ...], list[int]] = defaultdict(lambda: [0, 0])
    models: dict[tuple[int, int], int] = defaultdict(int)
    for (org, project, model, price_id, token_class), quantity in used.items():
        subtotal = quantity * _unit_price(by_id[price_id], token_class)
        lines[org, project, model, price_id, token_class, "usage", None] = quantity, subtotal
        volumes[org, model, token_class][0] += quantity
        volumes[org, model, token_class][1] += subtotal
        models[org, model] += subtotal
    for (org, model, token_class), (quantity, cost) in volumes.items():
        current = [
            tier for tier in tiered
            if (tier["model_id"], tier["token_class"]) == (model, token_class)
            and _within(tier["first_month"], MONTH, tier["before_month"])
        ]  # fmt: skip
        own = [tier for tier in current if tier["org_id"] == org] or [tier for tier in current if tier["org_id"] is None]
        own.sort(key=lambda tier: tier["above_quantity"])
        for n, tier in enumerate(own):
            until = own[n + 1]["above_quantity"] if n + 1 < len(own) else quantity
            within = min(quantity, until) - tier["above_quantity"]
            off = _half_up(Fraction(cost, quantity) * within * Fraction(tier["basis_points"], 10_000)) if within > 0 else 0
            if off:
                lines[org, None, model, None, token_class, "volume_discount", tier["above_quantity"]] = within, -off
                models[org, model] -= off
    for (org, model), cost in models.items():
        of = {
            d["model_id"]: d["basis_points"] for d in discounted
            if d["org_id"] == org and _within(d["first_month"], MONTH, d["before_month"])
        }  # fmt: skip
        off = _half_up(cost * Fraction(of.get(model, of.get(None, 0)), 10_000))
        if off:
            lines[org, None, model, None, None, "discount", None] = 1, -off
    return lines


def _once(drawn: list[Row], *columns: str) -> list[Row]:
    """One for each scope: the database refuses overlapping ones."""
    return list({tuple(row[column] for column in columns): row for row in drawn}.values())


def test_rows_and_lines_are_those_of_a_plain_reading_of_the_rules() -> None:
    kinds: Counter[str] = Counter()

    @settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])
    @given(
        st.lists(raw_rows, min_size=8, max_size=30), st.lists(versions, min_size=4, max_size=12),
        st.lists(discounts, min_size=3, max_size=6), st.lists(tiers, min_size=6, max_size=12),
    )  # fmt: skip
    def agree(drawn: list[Row], drawn_book: list[Row], drawn_discounts: list[Row], drawn_tiers: list[Row]) -> None:
        kinds.update(_agreed_lines(drawn, drawn_book, drawn_discounts, drawn_tiers))

    agree()
    assert all(kinds[kind] > 30 for kind in ("usage", "volume_discount", "discount")), f"hardly any were compared: {kinds}"


def _agreed_lines(drawn: list[Row], drawn_book: list[Row], drawn_discounts: list[Row], drawn_tiers: list[Row]) -> Iterable[str]:
    """The kinds of the lines, once rows and lines have been found the same."""
    rows, book = [_row(dict(row)) for row in drawn], _book(drawn_book)
    discounted = _once(drawn_discounts, "org_id", "model_id")
    tiered = _once(drawn_tiers, "model_id", "org_id", "token_class", "above_quantity")
    numbered = _frame([row | {"number": n} for n, row in enumerate(rows)], pricing.ROW_SCHEMA | {"number": pl.Int64})
    priced = pricing.price_rows(numbered.lazy(), _book_frame(book)).collect().sort("number")
    found = [_version(row, book) for row in rows]
    assert priced["price_id"].to_list() == [version and version["price_id"] for version in found]
    costs = [
        0 if row["charge_class"] != "charged" else version
        and sum(quantity * _unit_price(version, name) for name, quantity in _classes(row).items())
        for row, version in zip(rows, found, strict=True)
    ]  # fmt: skip
    assert priced["cost_picousd"].to_list() == costs
    lines = pricing.invoice_lines(
        priced.lazy(), _book_frame(book), _frame(discounted, pricing.DISCOUNT_SCHEMA), _frame(tiered, pricing.TIER_SCHEMA),
        pl.DataFrame(list(ORGANIZATIONS.items()), schema=pricing.ORGANIZATION_SCHEMA, orient="row"), MONTH,
    )  # fmt: skip
    key = ("org_id", "project_id", "model_id", "price_id", "token_class", "kind", "above_quantity")
    told = {tuple(line[name] for name in key): (line["quantity"], line["subtotal_picousd"]) for line in lines.to_dicts()}
    assert len(told) == lines.height
    assert told == _oracle(rows, book, discounted, tiered)
    return [str(line[5]) for line in told]


@pytest.mark.parametrize(
    ("zone", "month", "starts_at"),
    [
        ("America/Havana", date(2026, 11, 1), datetime(2026, 11, 1, 4, tzinfo=UTC)),  # midnight comes twice: the first
        ("America/Asuncion", date(2023, 10, 1), datetime(2023, 10, 1, 4, tzinfo=UTC)),  # there is no midnight
        ("Asia/Kathmandu", date(2026, 3, 1), datetime(2026, 2, 28, 18, 15, tzinfo=UTC)),
    ],
)
def test_a_month_begins_at_the_first_instant_that_is_in_it(zone: str, month: date, starts_at: datetime) -> None:
    assert pricing.month_spans([zone], month)["month_starts_at"].to_list() == [starts_at]


def test_in_every_zone_months_follow_each_other_without_gap_or_overlap() -> None:
    zones = sorted(zone for zone in available_timezones() if zone not in {"Factory", "localtime"})
    for number in (3, 4, 10, 11):  # when clocks change, in one half of the world or the other
        month, following = date(2026, number, 1), date(2026, number + 1, 1)
        spans, after = pricing.month_spans(zones, month), pricing.month_spans(zones, following)
        assert spans["month_ends_at"].to_list() == after["month_starts_at"].to_list()
        for zone, start in spans.select("time_zone", "month_starts_at").iter_rows():
            assert start.astimezone(ZoneInfo(zone)).date() == month
            assert (start - timedelta(microseconds=1)).astimezone(ZoneInfo(zone)).date() < month


def test_a_cost_that_no_bigint_holds_is_an_error_and_not_another_number() -> None:
    row = {
        "started_at": datetime(2026, 3, 2, tzinfo=UTC), "org_id": 1, "project_id": 1, "model_id": 1, "endpoint": "score",
        "tags": None, "charge_class": "charged", "input_tokens": 2**31 - 1, "cached_input_tokens": 0, "output_tokens": 0,
        "reasoning_tokens": 0,
    }  # fmt: skip
    price: Row = dict.fromkeys(pricing.BOOK_SCHEMA) | {
        "price_id": 1, "model_id": 1, "priority": 0, "input_tokens_from": 0, "tags": {}, "input_picousd": 10**12,
        "cached_input_picousd": 0, "output_picousd": 0, "request_picousd": 0,
    }  # fmt: skip
    with pytest.raises(pl.exceptions.InvalidOperationError):
        pricing.price_rows(_frame([row], pricing.ROW_SCHEMA).lazy(), _book_frame([price])).collect()
