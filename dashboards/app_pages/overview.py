"""The month so far."""

from datetime import UTC, datetime, timedelta

import streamlit as st

from dashboards.app_pages.frame import REFRESH_S, columns, explained, require, show_totals, title
from dashboards.loaders import Only, load, load_usage
from dashboards.views.usage import COST, COUNTS, by_model, spend_per_day, tokens_per_hour, totals

HOURS = 24


@st.fragment(run_every=REFRESH_S)
def _numbers() -> None:
    frame = require()
    org, zone = frame.organization, frame.organization.zone
    title(frame, "Overview")
    with explained():
        today = datetime.now(zone).date()
        days = (today.replace(day=1), today)
        month = load_usage(frame.settings, "usage_by_day", org, days, Only())
        sums = totals(month)
        show_totals(sums, "Spend this month")
        if not sums.requests:
            st.info("No request yet this month. The Connect page has one to copy.")
            return
        models = by_model(month)
        last = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
        first = last - timedelta(hours=HOURS - 1)
        hours = load(frame.settings, "usage_by_hour", org.org_id, since=first, until=last + timedelta(hours=1))
        forecast = load(frame.settings, "forecast", org.org_id)
        left, right = st.columns(2)
        left.subheader(f"Tokens per hour, last {HOURS} hours")
        tokens = tokens_per_hour(hours, zone, models["Model"], (first, last))
        left.plotly_chart(tokens, key="tokens_per_hour", config={"displayModeBar": False})
        right.subheader("Spend per day")
        spend = spend_per_day(month, forecast, models["Model"], days)
        right.plotly_chart(spend, key="spend_per_day", config={"displayModeBar": False})
        st.subheader("This month by model")
        st.dataframe(models, hide_index=True, key="models_table", column_config=columns(COUNTS.values(), [COST]))


_numbers()
