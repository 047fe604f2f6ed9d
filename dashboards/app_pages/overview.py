"""The month so far."""

from datetime import UTC, datetime, timedelta

import streamlit as st

from dashboards.app_pages.frame import REFRESH_S, Frame, explained, require, title
from dashboards.loaders import day_range, load
from dashboards.views.usage import spend_per_day, tokens_per_hour, totals
from dashboards.views.words import count, money


@st.fragment(run_every=REFRESH_S)
def _numbers(frame: Frame) -> None:
    org, zone = frame.organization, frame.organization.zone
    title(frame, "Overview")
    with explained():
        today = datetime.now(zone).date()
        since, until = day_range(today.replace(day=1), today, zone)
        month = load(frame.settings, "usage_by_day", org.org_id, zone=zone.key, since=since, until=until)
        sums = totals(month)
        spend, requests = st.columns([2, 1])
        spend.metric("Spend this month", money(sums.cost_picousd), border=True)
        requests.metric("Requests", count(sums.requests), border=True)
        tokens = {
            "Input tokens": sums.input_tokens,
            "Cached input tokens": sums.cached_input_tokens,
            "Output tokens": sums.output_tokens,
        }
        for column, (label, number) in zip(st.columns(3), tokens.items(), strict=True):
            column.metric(label, count(number), border=True)
        if not sums.requests:
            st.info("No request yet this month. The Connect page has one to copy.")
            return
        hour = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
        last_day = load(
            frame.settings, "usage_by_hour", org.org_id, since=hour - timedelta(hours=23), until=hour + timedelta(hours=1)
        )
        st.subheader("Tokens per hour, last 24 hours")
        st.plotly_chart(tokens_per_hour(last_day, zone), key="tokens_per_hour", config={"displayModeBar": False})
        st.subheader("Spend per day")
        forecast = load(frame.settings, "forecast", org.org_id)
        st.plotly_chart(spend_per_day(month, forecast), key="spend_per_day", config={"displayModeBar": False})


_numbers(require())
