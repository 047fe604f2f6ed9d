"""Sums and figures of usage."""

from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pandas as pd

from dashboards.views.words import count, money
from warehouse.base.money import PICOUSD_PER_USD

COLOURS = ["#1f6f5c", "#e0a458", "#5b7db1", "#a45c6f", "#7a9e3c", "#6f6391"]
TOKEN_COLUMNS = {
    "input_tokens": "Input tokens",
    "cached_input_tokens": "Cached input tokens",
    "output_tokens": "Output tokens",
}


@dataclass(frozen=True, slots=True)
class Totals:
    """Sums of a usage frame; integers and exact pico-dollars."""

    requests: int
    input_tokens: int
    cached_input_tokens: int
    output_tokens: int
    cost_picousd: int


def totals(usage: pd.DataFrame) -> Totals:
    """Sums of (requests, input_tokens, cached_input_tokens, output_tokens, cost_picousd); zeros for no rows."""
    names = ("requests", "input_tokens", "cached_input_tokens", "output_tokens", "cost_picousd")
    return Totals(*(int(sum(usage[name], start=Decimal(0))) for name in names))


def tokens_per_hour(usage: pd.DataFrame, zone: ZoneInfo) -> Any:
    """A figure of tokens per hour, in and out stacked by model, hours in the organization's zone."""
    import plotly.graph_objects as go  # noqa: PLC0415  # half a second that sign-in need not wait for

    figure = go.Figure()
    for number, (model, rows) in enumerate(usage.dropna(subset=["model"]).groupby("model", sort=True)):
        hours = [hour.astimezone(zone).replace(tzinfo=None) for hour in rows["hour_utc"]]
        tokens = rows["input_tokens"].astype("int64") + rows["output_tokens"].astype("int64")
        figure.add_bar(x=hours, y=tokens, name=str(model), marker_color=COLOURS[number % len(COLOURS)])
    return _framed(figure, "tokens")


def spend_per_day(usage: pd.DataFrame, forecast: pd.DataFrame) -> Any:
    """A figure of USD per day, and the days expected with their interval. Heights are drawn, not billed: floats will do."""
    import plotly.graph_objects as go  # noqa: PLC0415

    by_day = usage.groupby("day")["cost_picousd"].sum()
    figure = go.Figure()
    figure.add_bar(x=list(by_day.index), y=[_drawn(cost) for cost in by_day], name="spent", marker_color=COLOURS[0])
    if not forecast.empty:
        points = [_drawn(cost) for cost in forecast["cost_picousd"]]
        above = [_drawn(high) - point for high, point in zip(forecast["cost_picousd_high"], points, strict=True)]
        below = [point - _drawn(low) for low, point in zip(forecast["cost_picousd_low"], points, strict=True)]
        error = {"type": "data", "array": above, "arrayminus": below, "thickness": 1}
        figure.add_scatter(
            x=list(forecast["day_utc"]), y=points, error_y=error, mode="markers", name="expected", marker_color=COLOURS[1]
        )
    return _framed(figure, "USD")


def usage_table(usage: pd.DataFrame) -> pd.DataFrame:
    """The usage frame with words for heads and exact text for money."""
    return pd.DataFrame(
        {
            "Day": usage["day"],
            "Model": usage["model"].fillna("—"),
            "Requests": usage["requests"].astype("int64"),
            **{label: usage[name].astype("int64") for name, label in TOKEN_COLUMNS.items()},
            "Cost (USD)": [money(cost) for cost in usage["cost_picousd"]],
            "Project": usage["project"],
            "API key": usage["api_key"],
        }
    )


def organizations_table(organizations: pd.DataFrame) -> pd.DataFrame:
    """Organizations with exact sums."""
    return pd.DataFrame(
        {
            "Organization": organizations["organization"],
            "Requests": [count(number) for number in organizations["requests"]],
            "Input tokens": [count(number) for number in organizations["input_tokens"]],
            "Output tokens": [count(number) for number in organizations["output_tokens"]],
            "Cost (USD)": [money(cost) for cost in organizations["cost_picousd"]],
            "Quarantined rows": [count(number) for number in organizations["rows_quarantined"]],
        }
    )


def _drawn(picousd: object) -> float:
    return float(Decimal(str(picousd)) / PICOUSD_PER_USD)


def _framed(figure: Any, unit: str) -> Any:
    figure.update_layout(
        barmode="stack",
        height=280,
        margin={"l": 8, "r": 8, "t": 8, "b": 8},
        yaxis_title=unit,
        legend={"orientation": "h", "y": 1.12, "x": 0},
        bargap=0.25,
    )
    return figure
