"""The latest requests, and why one of them cost what it did."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import streamlit as st

from dashboards.app_pages.frame import REFRESH_S, Frame, columns, explained, require, title
from dashboards.loaders import REQUESTS_MAX, load, load_request
from dashboards.views.requests import requests_table, why

LOOK_BACK = timedelta(days=31)
COUNTS = ("Input tokens", "Output tokens", "Attempt")
TEXTS = ("Cost (USD)", "Duration", "First token")


@st.fragment(run_every=REFRESH_S)
def _complete() -> None:
    title(require(), "Requests")


@st.fragment(run_every=REFRESH_S)
def _latest() -> None:
    frame = require()
    with explained():
        since = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - LOOK_BACK
        rows = load(frame.settings, "latest_requests", frame.organization.org_id, since=since, rows_max=REQUESTS_MAX)
        if rows.empty:
            st.info(f"No request in the last {LOOK_BACK.days} days. The Connect page has one to copy.")
            return
        table = requests_table(rows, frame.organization.zone)
        st.dataframe(table, hide_index=True, height=560, key="requests_table", column_config=columns(COUNTS, TEXTS))
        st.caption(f"The newest {len(rows):,} attempts of the last {LOOK_BACK.days} days; each is one row of marts.requests.")


def _explain(frame: Frame, text: str) -> None:
    try:
        request_id = UUID(text.strip())
    except ValueError:
        st.error("That is no request id. It is in the x-request-id header of every answer.")
        return
    with explained():
        attempts = load_request(frame.settings, frame.organization.org_id, request_id)
        if attempts.empty:
            st.warning("This organization has no request with this id, or it has not been recorded yet.")
        for _, attempt in attempts.iterrows():
            with st.container(border=True):
                st.markdown(f"**Attempt {attempt['attempt']}**")
                for what, words in why(attempt, frame.organization.zone):
                    left, right = st.columns([1, 4])
                    left.caption(what)
                    right.text(words)


_complete()
asked = st.text_input("Why? Enter a request id", key="request_id", placeholder="019…")
if asked:
    _explain(require(), asked)
_latest()
