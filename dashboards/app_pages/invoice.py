"""The draft invoice of a month."""

import streamlit as st

from dashboards.app_pages.frame import REFRESH_SLOWLY_S, columns, explained, require, title
from dashboards.loaders import load
from dashboards.views.invoice import AMOUNT, PRICE, SUBTOTAL, exact_total, invoice_table, line_label, total
from dashboards.views.words import dollars, money


@st.fragment(run_every=REFRESH_SLOWLY_S)
def _invoice() -> None:
    frame = require()
    org_id = frame.organization.org_id
    title(frame, "Invoice")
    with explained():
        months = list(load(frame.settings, "invoice_months", org_id)["period_month"])
        if not months:
            st.info("Nothing has been charged yet.")
            return
        left, middle, right = st.columns(3)
        month = left.selectbox("Month", months, format_func=lambda day: f"{day:%B %Y}", key="month")
        lines = load(frame.settings, "invoice_lines", org_id, month=month)
        middle.metric("Draft total", dollars(total(lines)), border=True)
        right.metric("Exact, before rounding", money(exact_total(lines)), border=True)
        settings = columns(["Tokens"], [PRICE, SUBTOTAL, AMOUNT])
        st.dataframe(invoice_table(lines), hide_index=True, key="invoice_table", column_config=settings)
        st.caption("Each amount is rounded once, half up, on its line. The exact subtotal of a line is this sum over raw rows:")
        labels = {line["line_id"]: line_label(line) for _, line in lines.iterrows()}
        chosen = st.selectbox("Line", list(labels), format_func=lambda line_id: labels[line_id], key="line")
        st.code(str(lines[lines["line_id"] == chosen].iloc[0]["query"]), language="sql", wrap_lines=True)


_invoice()
