"""Requests as rows of a table, and one request explained."""

from zoneinfo import ZoneInfo

import pandas as pd

from dashboards.views.words import count, instant, milliseconds, money

WHY_FREE = {
    "free_refused": "Not charged: it was refused before any work was done, or by the engine as a wrong request.",
    "free_engine_failed": "Not charged: the engine failed.",
    "free_timed_out": "Not charged: the engine took too long.",
    "free_replayed": "Not charged: the answer of an earlier request with the same Idempotency-Key, sent again.",
    "free_router_lost": "Not charged: the router stopped before it knew how the call ended.",
}


def requests_table(requests: pd.DataFrame, zone: ZoneInfo) -> pd.DataFrame:
    """One row per attempt, newest first."""
    return pd.DataFrame(
        {
            "Time": [instant(at, zone) for at in requests["started_at"]],
            "Request id": [str(request_id) for request_id in requests["request_id"]],
            "Model": requests["model"].fillna("—"),
            "Status": [str(status).replace("_", " ") for status in requests["status"]],
            "Input tokens": requests["input_tokens"].astype("int64"),
            "Output tokens": requests["output_tokens"].astype("int64"),
            "Cost (USD)": [money(cost) for cost in requests["cost_picousd"]],
            "Duration": [milliseconds(us) for us in requests["duration_us"]],
            "First token": [milliseconds(us) for us in requests["ttft_us"]],
            "Engine": requests["engine"].fillna("—"),
            "Attempt": requests["attempt"],
        }
    )


def why(row: pd.Series, zone: ZoneInfo) -> list[tuple[str, str]]:
    """(what, explanation) of one attempt: what it cost and how that follows from its tokens."""
    return [
        ("Started", f"{instant(row['started_at'], zone)} ({zone.key})"),
        ("Ended as", _ending(row)),
        ("Model and engine", f"{row['model'] or '—'} on {row['engine'] or 'no engine'}"),
        ("Tokens", _tokens(row)),
        ("Cost", _cost(row)),
        ("Time", _time(row)),
        ("Key and project", f"{row['api_key']} in {row['project']}"),
    ]


def _ending(row: pd.Series) -> str:
    parts = [str(row["status"]).replace("_", " "), f"HTTP {row['http_status']}", row["error_code"]]
    return ", ".join(part for part in parts if part)


def _time(row: pd.Series) -> str:
    parts = {"first token": "ttft_us", "whole call": "duration_us", "of it the router itself": "overhead_us"}
    measured = [f"{words} {milliseconds(row[column])}" for words, column in parts.items() if not pd.isna(row[column])]
    return ", ".join(measured) or "—"


def _tokens(row: pd.Series) -> str:
    text = (
        f"{count(row['input_tokens'])} in ({count(row['cached_input_tokens'])} of them cached), {count(row['output_tokens'])} out"
    )
    source = {
        "engine": "counted by the engine",
        "running": "the engine's running count when the stream was cut",
        "estimate": "estimated, because the engine gave no count",
    }
    return f"{text}; {source.get(row['token_source'], 'no engine was asked')}"


def _cost(row: pd.Series) -> str:
    if row["charge_class"] != "charged":
        return WHY_FREE.get(row["charge_class"], "Not charged.")
    if row["price_id"] is None or pd.isna(row["price_id"]):
        return "No price was in force for this model, or its engine stated no usage: no invoice is final until that is settled."
    uncached = row["input_tokens"] - row["cached_input_tokens"]
    return (
        f"{money(row['cost_picousd'])} = {count(uncached)} × {money(row['input_picousd'])} input + "
        f"{count(row['cached_input_tokens'])} × {money(row['cached_input_picousd'])} cached + "
        f"{count(row['output_tokens'])} × {money(row['output_picousd'])} output (price {row['price_id']})"
    )
