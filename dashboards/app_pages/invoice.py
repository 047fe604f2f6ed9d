"""The draft invoice of a month."""

import streamlit as st

from dashboards.app_pages.frame import explained, require, title
from dashboards.loaders import load
from dashboards.views.invoice import invoice_table, months, of_month, total

frame = require()
title(frame, "Invoice")
with explained():
    lines = load(frame.settings, "invoice_lines", frame.organization.org_id)
    if lines.empty:
        st.info("Nothing has been charged yet.")
        st.stop()
    month = st.selectbox("Month", months(lines), key="month")
    chosen = of_month(lines, str(month))
    st.metric("Draft total", f"${total(chosen):,.2f}", border=True)
    st.dataframe(invoice_table(chosen), hide_index=True, key="invoice_table")
    st.caption("Each amount is rounded once, on its line. The exact subtotal of a line is SQL over raw rows:")
    line = st.selectbox("Line", list(chosen["line_id"]), key="line")
    st.code(str(chosen[chosen["line_id"] == line].iloc[0]["query"]), language="sql", wrap_lines=True)
