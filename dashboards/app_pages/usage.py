"""Usage by day, project, key and model, to look at and to take away."""

import io
from datetime import datetime

import pandas as pd
import streamlit as st

from dashboards.app_pages.frame import explained, require, title
from dashboards.loaders import day_range, load
from dashboards.views.usage import TOKEN_COLUMNS, totals, usage_table
from dashboards.views.words import count, money

DAYS_MAX = 366

frame = require()
title(frame, "Usage")
zone = frame.organization.zone
today = datetime.now(zone).date()
chosen = st.date_input("Days", value=(today.replace(day=1), today), max_value=today, key="days")
if not isinstance(chosen, tuple) or len(chosen) != 2:
    st.info("Choose the last day too.")
    st.stop()
if (chosen[1] - chosen[0]).days > DAYS_MAX:
    st.error(f"Choose at most {DAYS_MAX} days.")
    st.stop()
with explained():
    since, until = day_range(chosen[0], chosen[1], zone)
    usage = load(frame.settings, "usage_by_day", frame.organization.org_id, zone=zone.key, since=since, until=until)
    for column, (name, label) in zip(
        st.columns(3), [("project", "Project"), ("model", "Model"), ("api_key", "API key")], strict=True
    ):
        wanted = column.multiselect(label, sorted({str(value) for value in usage[name]}), key=f"only_{name}")
        if wanted:
            usage = usage[usage[name].astype(str).isin(wanted)]
    sums = totals(usage)
    st.markdown(
        f"**{count(sums.requests)}** requests · **{count(sums.input_tokens)}** input tokens · "
        f"**{count(sums.output_tokens)}** output tokens · **{money(sums.cost_picousd).replace('$', chr(92) + '$')}**"
    )
    table = usage_table(usage)
    numbers = {label: st.column_config.NumberColumn(format="localized") for label in ("Requests", *TOKEN_COLUMNS.values())}
    st.dataframe(table, hide_index=True, key="usage_table", column_config=numbers)
    exact = usage.assign(cost_picousd=usage["cost_picousd"].astype(str))
    parquet = io.BytesIO()
    exact.convert_dtypes().to_parquet(parquet)
    name = f"usage-{frame.organization.public_id}-{chosen[0]}-{chosen[1]}"
    left, right, _ = st.columns([1, 1, 4])
    left.download_button("CSV", pd.DataFrame(exact).to_csv(index=False), f"{name}.csv", "text/csv", width="stretch")
    right.download_button("Parquet", parquet.getvalue(), f"{name}.parquet", width="stretch")
