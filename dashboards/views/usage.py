"""Sums, tables and figures of usage."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pandas as pd

from dashboards.views.words import instant, money
from warehouse.base.money import PICOUSD_PER_USD

COLOURS = ["#2a8a73", "#e0a458", "#5b7db1", "#b3667d", "#7a9e3c", "#8272b0"]  # seen well on white and on near-black
COUNTS = {
    "requests": "Requests",
    "input_tokens": "Input tokens",
    "cached_input_tokens": "Cached input tokens",
    "output_tokens": "Output tokens",
}
COST = "Cost (USD)"
BAR_SHARE = 0.75  # of the room of an hour or a day
TICKS = 8
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


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
    return Totals(*(sum(map(int, usage[name])) for name in (*COUNTS, "cost_picousd")))


def by_model(usage: pd.DataFrame) -> pd.DataFrame:
    """One row per model with its sums, the dearest first."""
    sums = usage[["model", *COUNTS, "cost_picousd"]].groupby("model", as_index=False).sum()
    sums = sums.sort_values(["cost_picousd", "model"], ascending=[False, True])
    return pd.DataFrame({"Model": sums["model"], **_counts(sums), COST: [money(cost) for cost in sums["cost_picousd"]]})


def usage_table(usage: pd.DataFrame) -> pd.DataFrame:
    """The usage frame with words for heads and exact text for money."""
    return pd.DataFrame(
        {
            "Day": usage["day"],
            "Model": usage["model"],
            **_counts(usage),
            COST: [money(cost) for cost in usage["cost_picousd"]],
            "Project": usage["project"],
            "API key": usage["api_key"],
        }
    )


def organizations_table(organizations: pd.DataFrame, names: Mapping[int, str], zone: ZoneInfo) -> pd.DataFrame:
    """Organizations with exact sums, and how far each is complete."""
    return pd.DataFrame(
        {
            "Organization": [
                names.get(org_id, public_id)
                for org_id, public_id in zip(organizations["org_id"], organizations["organization"], strict=True)
            ],
            **_counts(organizations),
            COST: [money(cost) for cost in organizations["cost_picousd"]],
            "Quarantined rows": organizations["rows_quarantined"].astype("int64"),
            "Complete to": [instant(at, zone) if at is not None else "—" for at in organizations["complete_to"]],
            "Id": organizations["organization"],
        }
    )


def spend_table(usage: pd.DataFrame) -> pd.DataFrame:
    """The usage frame by day and model, the latest day first, the dearest model first."""
    rows = usage.sort_values(["day", "cost_picousd", "model"], ascending=[False, False, True])
    return pd.DataFrame(
        {"Day": rows["day"], "Model": rows["model"], COST: [money(cost) for cost in rows["cost_picousd"]], **_counts(rows)}
    )


def expected(forecast: pd.DataFrame) -> int | None:
    """Pico-dollars that the days of a forecast are expected to cost together; None where there is no forecast."""
    return None if forecast.empty else sum(map(int, forecast["cost_picousd"]))


def tokens_per_hour(usage: pd.DataFrame, zone: ZoneInfo, models: Iterable[str], hours: tuple[datetime, datetime]) -> Any:
    """A figure of tokens per hour, in and out, stacked by model, from the first to the last hour; in the organization's zone."""
    local = [hour.astimezone(zone).replace(tzinfo=None) for hour in (*usage["hour_utc"], *hours)]
    figure = _stacked(usage.assign(x=local[:-2]), models, _tokens, HOUR)
    return _framed(figure, local[-2], local[-1], HOUR)


def tokens_per_day(usage: pd.DataFrame, models: Iterable[str], days: tuple[date, date]) -> Any:
    """A figure of tokens per day, in and out, stacked by model, from the first to the last day."""
    return _framed(_stacked(usage.assign(x=usage["day"]), models, _tokens, DAY), *days, DAY)


def spend_per_day(usage: pd.DataFrame, forecast: pd.DataFrame, models: Iterable[str], days: tuple[date, date]) -> Any:
    """A figure of USD per day, stacked by model, and the days expected with their interval.

    Heights are drawn, not billed: floats will do.
    """
    figure, last = _stacked(usage.assign(x=usage["day"]), models, _spend, DAY), days[1]
    if not forecast.empty:
        last = max(last, *forecast["day_utc"])
        points = [_drawn(cost) for cost in forecast["cost_picousd"]]
        above = [_drawn(high) - point for high, point in zip(forecast["cost_picousd_high"], points, strict=True)]
        below = [point - _drawn(low) for low, point in zip(forecast["cost_picousd_low"], points, strict=True)]
        error = {"type": "data", "array": above, "arrayminus": below, "thickness": 1}
        share = Decimal(str(forecast.iloc[0]["interval_share"])) * 100
        figure.add_scatter(
            x=list(forecast["day_utc"]), y=points, error_y=error, mode="markers", marker_color=COLOURS[1],
            name=f"expected, {share:.0f} % of days within the bars",
        )  # fmt: skip
    # A small day is $0.0000005, to the pico-dollar: Plotly's own "500n" and "5e-7" are for engineers.
    figure.update_yaxes(tickprefix="$", tickformat=",.12~f", rangemode="tozero")
    return _framed(figure, days[0], last, DAY)


def _stacked(usage: pd.DataFrame, models: Iterable[str], heights: Callable[[pd.DataFrame], list[Any]], step: timedelta) -> Any:
    """Bars over `x`. A model has the colour of its place in `models`, so that it is the same in every figure of a page."""
    import plotly.graph_objects as go  # noqa: PLC0415  # half a second that sign-in need not wait for

    figure = go.Figure()
    for number, model in enumerate(models):
        rows = usage[usage["model"] == model]
        drawn = heights(rows)
        if any(drawn):
            colour, width = COLOURS[number % len(COLOURS)], step.total_seconds() * 1000 * BAR_SHARE
            figure.add_bar(x=list(rows["x"]), y=drawn, name=str(model), marker_color=colour, width=width)
    figure.update_yaxes(tickformat=",")
    return figure


def _tokens(rows: pd.DataFrame) -> list[Any]:
    return [int(asked) + int(answered) for asked, answered in zip(rows["input_tokens"], rows["output_tokens"], strict=True)]


def _spend(rows: pd.DataFrame) -> list[Any]:
    return [_drawn(cost) for cost in rows["cost_picousd"]]


def _counts(usage: pd.DataFrame) -> dict[str, pd.Series]:
    return {label: usage[name].astype("int64") for name, label in COUNTS.items()}


def _drawn(picousd: object) -> float:
    return float(Decimal(str(picousd)) / PICOUSD_PER_USD)


def _framed(figure: Any, first: date, last: date, step: timedelta) -> Any:
    """The whole range, also where nothing happened: a lone bar would be drawn over the full width, with ticks of microseconds."""
    edges = [pd.Timestamp(at).to_pydatetime() for at in (first, last)]
    steps = (edges[1] - edges[0]) // step + 1
    every = max(1, -(-steps // TICKS)) * step
    figure.update_xaxes(
        range=[edges[0] - step / 2, edges[1] + step / 2], tick0=edges[0], dtick=every.total_seconds() * 1000,
        tickformat="%H:%M" if step == HOUR else "%d %b",
    )  # fmt: skip
    figure.update_layout(
        barmode="stack",
        height=280,
        margin={"l": 8, "r": 8, "t": 36, "b": 8},
        showlegend=True,
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0, "traceorder": "normal", "title": {"text": ""}},
        hovermode="x unified",
    )
    return figure
