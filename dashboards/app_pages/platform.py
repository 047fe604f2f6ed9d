"""For platform admins: every organization's month, and the engines."""

from datetime import UTC, datetime

import pandas as pd
import streamlit as st

from dashboards.api import ApiRefused, ApiUnreachable
from dashboards.app_pages.frame import REFRESH_S, Frame, explained, require_platform_admin
from dashboards.loaders import load_organizations
from dashboards.views.usage import organizations_table


@st.fragment(run_every=REFRESH_S)
def _engines(frame: Frame) -> None:
    st.subheader("Engines")
    try:
        engines = frame.api.engines(frame.viewer.token)
    except ApiUnreachable:
        st.error("The management API does not answer. See `make status`.")
        return
    except ApiRefused as refused:
        st.error(str(refused))
        return
    rows = [
        {
            "Engine": engine["name"],
            "Kind": engine["kind"],
            "Model": engine["model"],
            "Health": "answers" if engine["healthy"] else "does not answer",
            "Since": datetime.fromtimestamp(engine["since"], UTC).strftime("%Y-%m-%d %H:%M UTC") if engine["since"] else "—",
            "In flight": engine["in_flight"],
        }
        for engine in engines
    ]
    st.dataframe(pd.DataFrame(rows), hide_index=True, key="engines_table")


page = require_platform_admin()
st.header("Platform")
_engines(page)
st.subheader("Organizations, this month (UTC)")
with explained():
    now = datetime.now(UTC)
    month = datetime(now.year, now.month, 1, tzinfo=UTC)
    st.dataframe(organizations_table(load_organizations(page.settings, month)), hide_index=True, key="organizations_table")
