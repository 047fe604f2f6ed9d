"""Cost by day and model, and what the coming days are expected to cost."""

import streamlit as st

from dashboards.app_pages.frame import REFRESH_SLOWLY_S, columns, explained, require, title
from dashboards.app_pages.ranges import choose_days, downloads
from dashboards.loaders import Only, load, load_usage
from dashboards.views.usage import COST, COUNTS, by_model, expected, spend_per_day, spend_table, totals
from dashboards.views.words import money


@st.fragment(run_every=REFRESH_SLOWLY_S)
def _spend() -> None:
    frame = require()
    title(frame, "Spend")
    days = choose_days(frame)
    if days is None:
        return
    with explained():
        org = frame.organization
        usage = load_usage(frame.settings, "usage_by_day", org, days, Only())
        forecast = load(frame.settings, "forecast", org.org_id)
        left, right = st.columns(2)
        left.metric("Spend", money(totals(usage).cost_picousd), border=True)
        ahead = f"Expected, next {len(forecast)} days" if len(forecast) else "Expected"
        right.metric(ahead, money(expected(forecast)), border=True)
        if usage.empty:
            st.info("No request in these days.")
            return
        st.subheader("Spend per day")
        figure = spend_per_day(usage, forecast, by_model(usage)["Model"], days)
        st.plotly_chart(figure, key="spend_per_day", config={"displayModeBar": False})
        if forecast.empty:
            st.caption("The forecast is made every day, from the first whole day of usage on.")
        st.dataframe(spend_table(usage), hide_index=True, key="spend_table", column_config=columns(COUNTS.values(), [COST]))
        downloads(usage, f"spend-{org.public_id}-{days[0]}-{days[1]}")


_spend()
