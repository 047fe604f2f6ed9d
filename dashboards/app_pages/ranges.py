"""What pages of usage over days share: the choice of days, and files to take away."""

from datetime import date, datetime

import pandas as pd
import streamlit as st

from dashboards.app_pages.frame import Frame
from dashboards.views.exports import to_csv, to_parquet

DAYS_MAX = 366


def choose_days(frame: Frame) -> tuple[date, date] | None:
    """The first and the last day, in the organization's zone; None, and a word why, while there is no usable choice."""
    today = datetime.now(frame.organization.zone).date()
    # No max_value: at midnight a page that is open must not find its own choice out of range.
    chosen = st.date_input("Days", value=(today.replace(day=1), today), key="days", help=f"In {frame.organization.zone.key}.")
    if not isinstance(chosen, tuple) or len(chosen) != 2:
        st.info("Choose the last day too.")
        return None
    if (chosen[1] - chosen[0]).days >= DAYS_MAX:
        st.error(f"Choose at most {DAYS_MAX} days.")
        return None
    return chosen


def downloads(rows: pd.DataFrame, name: str) -> None:
    """Buttons for the rows as files called `name`."""
    left, right, _ = st.columns([1, 1, 4])
    left.download_button("Download CSV", lambda: to_csv(rows), f"{name}.csv", "text/csv", key="csv", width="stretch")
    right.download_button(
        "Download Parquet", lambda: to_parquet(rows), f"{name}.parquet", "application/vnd.apache.parquet", key="parquet",
        width="stretch",
    )  # fmt: skip
