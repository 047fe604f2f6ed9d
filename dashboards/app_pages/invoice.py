"""Invoices: the drafts of months to come, and what was frozen, with its certificate and files."""

import pandas as pd
import streamlit as st

from dashboards.api import ApiRefused, ApiUnreachable
from dashboards.app_pages.frame import REFRESH_SLOWLY_S, Frame, api_is_away, columns, explained, require, title
from dashboards.loaders import INVOICE_LINES_MAX, INVOICES_MAX, load
from dashboards.views.invoice import (
    AMOUNT,
    PRICE,
    QUANTITY,
    SUBTOTAL,
    certificate_table,
    exact_total,
    invoice_label,
    invoice_table,
    line_label,
    total,
)
from dashboards.views.words import dollars, money

MEDIA_TYPES = {"pdf": "application/pdf", "csv": "text/csv"}


@st.fragment(run_every=REFRESH_SLOWLY_S)
def _invoice() -> None:
    frame = require()
    org_id = frame.organization.org_id
    title(frame, "Invoices")
    with explained():
        found = load(frame.settings, "invoices", org_id, rows_max=INVOICES_MAX)
        if found.empty:
            st.info("Nothing has been charged yet.")
            return
        labels = {str(row["invoice"] or row["period_month"]): invoice_label(row) for _, row in found.iterrows()}
        chosen = st.selectbox("Invoice", list(labels), format_func=lambda key: labels[key], key="invoice")
        invoice = found.iloc[list(labels).index(chosen)]
        wanted = {"invoice": invoice["invoice"], "month": invoice["period_month"], "rows_max": INVOICE_LINES_MAX}
        lines = load(frame.settings, "invoice_lines", org_id, **wanted)
        _sums(invoice, lines)
        if invoice["invoice"] is None:
            st.caption("A draft: it changes with every row, and with adjustments of earlier months, until the month is closed.")
        else:
            _files(frame, str(invoice["invoice"]))
        settings = columns([QUANTITY], [PRICE, SUBTOTAL, AMOUNT])
        st.dataframe(invoice_table(lines), hide_index=True, key="invoice_table", column_config=settings)
        _certificate(invoice)
        _query(lines)


def _sums(invoice: pd.Series, lines: pd.DataFrame) -> None:
    sums = {
        "Lines": dollars(total(lines)),
        "Taxes": dollars(invoice["tax_amount"]),
        "Credits": dollars(-invoice["credits_applied"]),
        "Due": dollars(invoice["due"]),
    }
    for place, (name, value) in zip(st.columns(len(sums)), sums.items(), strict=True):
        place.metric(name, value, border=True)
    st.caption(f"Lines before any rounding: {money(exact_total(lines))}")


def _files(frame: Frame, invoice: str) -> None:
    """Asked for when a button is pressed and not before: a PDF of thousands of lines is not made for every look."""
    for place, kind in zip(st.columns(len(MEDIA_TYPES)), MEDIA_TYPES, strict=True):
        place.download_button(
            f"Download {kind.upper()}",
            lambda kind=kind: _content(frame, invoice, kind),
            f"{invoice}.{kind}",
            MEDIA_TYPES[kind],
            key=kind,
            width="stretch",
        )


def _content(frame: Frame, invoice: str, kind: str) -> bytes:
    try:
        return frame.api.invoice_file(frame.viewer.token, frame.organization.public_id, invoice, kind)[1]
    except ApiUnreachable:
        api_is_away()
    except ApiRefused as refused:
        st.error(str(refused))
    return b""


def _certificate(invoice: pd.Series) -> None:
    if invoice["certificate"] is None:
        return
    with st.expander("What was checked before it became final"):
        st.dataframe(certificate_table(invoice["certificate"]), hide_index=True, key="certificate")
        st.caption(f"The certificate is good for the draft with digest `{invoice['digest']}` and for no other.")


def _query(lines: pd.DataFrame) -> None:
    st.caption("Each amount is rounded once, half up, on its line. The exact subtotal of a line is this sum over raw rows:")
    labels = {line["line_id"]: line_label(line) for _, line in lines.iterrows()}
    chosen = st.selectbox("Line", list(labels), format_func=lambda line_id: labels[line_id], key="line")
    if chosen is not None:
        st.code(str(lines[lines["line_id"] == chosen].iloc[0]["query"]), language="sql", wrap_lines=True)


_invoice()
