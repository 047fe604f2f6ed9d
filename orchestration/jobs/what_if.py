"""What a month would have cost under other prices, of another model, or without caching: DuckDB over Parquet, exact."""

import json
import re
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import duckdb
import polars as pl

from warehouse.base.money import picousd, picousd_per_token

_QUERY = re.split(r"^-- name: cost$", Path(__file__).with_suffix(".duckdb.sql").read_text(), flags=re.MULTILINE)[1]
_EARLIEST, _LATEST = datetime(1970, 1, 1, tzinfo=UTC), datetime(9999, 1, 1, tzinfo=UTC)
_TOKENS_ABOVE_ALL = 1 << 31
BOOK = {
    "price_id": pl.Int32, "model_id": pl.Int32, "org_id": pl.Int64, "input_picousd": pl.Int64, "cached_input_picousd": pl.Int64,
    "output_picousd": pl.Int64, "reasoning_picousd": pl.Int64, "request_picousd": pl.Int64, "priority": pl.Int32,
    "endpoint": pl.String, "input_tokens_from": pl.Int64, "input_tokens_to": pl.Int64, "tags": pl.String,
    "effective_from": pl.Datetime("us", "UTC"), "effective_to": pl.Datetime("us", "UTC"),
}  # fmt: skip
"""A price book; `input_tokens_to` and `effective_to` are the first that are not included, `tags` is JSON."""
ORGANIZATIONS = {
    "org_id": pl.Int64, "organization": pl.String, "time_zone": pl.String,
    "period_starts_at": pl.Datetime("us", "UTC"), "period_ends_at": pl.Datetime("us", "UTC"),
}  # fmt: skip
"""Each organization, and the month in its own zone."""


@dataclass(frozen=True, slots=True)
class Question:
    """One book for all, or each row's own price. `model_id`: as if all had asked for this model."""

    book: pl.DataFrame
    same_prices: bool
    model_id: int | None = None
    without_cache: bool = False


@dataclass(frozen=True, slots=True)
class Cost:
    """Of one organization. Rows without a price in the book cost nothing here: they are counted."""

    org_id: int
    usage_rows: int
    rows_unpriced: int
    actual_picousd: int
    what_if_picousd: int


def cost(paths: Sequence[str], organizations: pl.DataFrame, asked: Question) -> list[Cost]:
    """What each organization's month cost, and would have cost. Before discounts and volume tiers, which are of invoices."""
    with duckdb.connect(config={"threads": 2}) as duck:
        duck.register("organizations", organizations.to_arrow())
        duck.register("book", asked.book.to_arrow())
        parameters = {"paths": list(paths), "model_id": asked.model_id, "without_cache": asked.without_cache,
                      "same_prices": asked.same_prices}  # fmt: skip
        return [Cost(*row) for row in duck.execute(_QUERY, parameters).fetchall()]


def read_book(text: str, models: Mapping[str, int], organizations: Mapping[str, int]) -> pl.DataFrame:
    """A price list from TOML: `[[prices]]` with `model`, `input_usd_per_million`, … as texts.

    Raises: ValueError: it is none; says which entry and what.
    """
    try:
        entries = tomllib.loads(text).get("prices", [])
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"this is no TOML: {error}") from error
    rows = []
    for number, entry in enumerate(entries, 1):
        try:
            rows.append(_price(number, entry, models, organizations))
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"price {number}: {f'it lacks {error}' if isinstance(error, KeyError) else error}") from error
    if not rows:
        raise ValueError("it has no [[prices]]")
    return pl.DataFrame(rows, schema=BOOK)


_KNOWN = {
    "model", "organization", "input_usd_per_million", "cached_input_usd_per_million", "output_usd_per_million",
    "reasoning_usd_per_million", "usd_per_request", "priority", "endpoint", "input_tokens_from", "input_tokens_to", "tags",
    "effective_from", "effective_to",
}  # fmt: skip


def _price(number: int, entry: Mapping[str, Any], models: Mapping[str, int], organizations: Mapping[str, int]) -> dict[str, Any]:
    if unknown := set(entry) - _KNOWN:
        raise ValueError(f"it has no {', '.join(sorted(unknown))}")
    if entry["model"] not in models:
        raise ValueError(f"there is no model {entry['model']}")
    if (own := entry.get("organization")) is not None and own not in organizations:
        raise ValueError(f"there is no organization {own}")
    reasoning = entry.get("reasoning_usd_per_million")
    tags = {str(name): str(value) for name, value in entry.get("tags", {}).items()}
    return {
        "price_id": -number, "model_id": models[entry["model"]], "org_id": organizations[own] if own is not None else None,
        "input_picousd": picousd_per_token(_text(entry["input_usd_per_million"])),
        "cached_input_picousd": picousd_per_token(_text(entry["cached_input_usd_per_million"])),
        "output_picousd": picousd_per_token(_text(entry["output_usd_per_million"])),
        "reasoning_picousd": None if reasoning is None else picousd_per_token(_text(reasoning)),
        "request_picousd": picousd(_text(entry.get("usd_per_request", "0"))),
        "priority": int(entry.get("priority", 0)), "endpoint": entry.get("endpoint"),
        "input_tokens_from": int(entry.get("input_tokens_from", 0)),
        "input_tokens_to": int(entry.get("input_tokens_to", _TOKENS_ABOVE_ALL)),
        "tags": json.dumps(tags),
        "effective_from": _instant(entry.get("effective_from"), _EARLIEST),
        "effective_to": _instant(entry.get("effective_to"), _LATEST),
    }  # fmt: skip


def _text(price: object) -> str:
    """A price is written as text: no float is ever between."""
    if not isinstance(price, str):
        raise TypeError(f'write prices as texts, as "0.15", not {price!r}')
    return price


def _instant(value: object, default: datetime) -> datetime:
    if value is None:
        return default
    if isinstance(value, datetime):
        return value.astimezone(UTC)
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day, tzinfo=UTC)
    raise TypeError(f"{value!r} is no instant")
