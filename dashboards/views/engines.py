"""Engines and their health."""

from collections.abc import Hashable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pandas as pd

from dashboards.views.words import instant, money

AGREEMENT = {"ok": "agrees", "drift": "differs", "no_samples": "not read"}


def engines_table(engines: Sequence[dict[str, Any]], zone: ZoneInfo) -> pd.DataFrame:
    """Engines as the management API names them, those that do not answer first."""
    return pd.DataFrame(
        {
            "Engine": engine["name"],
            "Kind": engine["kind"],
            "Model": engine["model"],
            "Health": "answers" if engine["healthy"] else "does not answer",
            "Since": instant(datetime.fromtimestamp(engine["since"], UTC), zone) if engine["since"] else "—",
            "In flight": engine["in_flight"],
        }
        for engine in sorted(engines, key=lambda engine: (engine["healthy"], engine["name"]))
    )


def counters_table(hours: pd.DataFrame, zone: ZoneInfo) -> pd.DataFrame:
    """The latest hour of each engine by its own counters, and whether they agree with the rows of its latest day."""
    return pd.DataFrame(
        {
            "Engine": hour["engine"],
            "Hour": instant(hour["hour_utc"], zone),
            "Tokens/s": _number(hour["output_tokens_per_second"]),
            "KV cache": f"{_share(hour['kv_cache_usage_avg'])}, at most {_share(hour['kv_cache_usage_max'])}",
            "Waiting": _number(hour["waiting_avg"]),
            "Restarts": hour["restarts"],
            "Cost": money(hour["cost_picousd"]),
            "Margin": money(hour["margin_picousd"]),
            "Rows": _agreement(hour),
        }
        for hour in hours.to_dict("records")
    )


def _number(value: Any) -> str:
    return "—" if pd.isna(value) else f"{value:.1f}"


def _share(value: Any) -> str:
    return "—" if pd.isna(value) else f"{value:.0%}"


def _agreement(hour: Mapping[Hashable, Any]) -> str:
    if pd.isna(hour["status"]):
        return "—"
    said = AGREEMENT[hour["status"]]
    return f"{said} by {hour['drift_share']:.2%} on {hour['day_utc']}" if hour["status"] == "drift" else said
