"""For platform admins: every organization's month, and the engines."""

from datetime import UTC, datetime, timedelta

import streamlit as st

from dashboards.api import ApiRefused, ApiUnreachable
from dashboards.app_pages.frame import REFRESH_S, REFRESH_SLOWLY_S, api_is_away, columns, explained, require_platform_admin
from dashboards.loaders import load_engines, load_organizations
from dashboards.views.engines import counters_table, engines_table
from dashboards.views.usage import COST, COUNTS, organizations_table


@st.fragment(run_every=REFRESH_S)
def _engines() -> None:
    frame = require_platform_admin()
    st.subheader("Engines")
    try:
        engines = frame.api.engines(frame.viewer.token, frame.organization.public_id)
    except ApiUnreachable:
        api_is_away()
        return
    except ApiRefused as refused:
        st.error(str(refused))
        return
    if not engines:
        st.info("No engine is enabled.")
        return
    table = engines_table(engines, frame.organization.zone)
    st.dataframe(table, hide_index=True, key="engines_table", column_config=columns(["In flight"]))


@st.fragment(run_every=REFRESH_SLOWLY_S)
def _counters() -> None:
    frame = require_platform_admin()
    st.subheader("Engines by their own counters, latest hour")
    with explained():
        hours = load_engines(frame.settings, datetime.now(UTC) - timedelta(days=1))
        if hours.empty:
            st.info("No engine has been read in the last day.")
            return
        table = counters_table(hours, frame.organization.zone)
        st.dataframe(table, hide_index=True, key="counters_table", column_config=columns(["Restarts"]))


@st.fragment(run_every=REFRESH_SLOWLY_S)
def _organizations() -> None:
    frame = require_platform_admin()
    st.subheader("Organizations, this month (UTC)")
    with explained():
        month = datetime.now(UTC).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
        names = {org.org_id: org.name for org in frame.viewer.organizations}
        table = organizations_table(load_organizations(frame.settings, month), names, frame.organization.zone)
        settings = columns([*COUNTS.values(), "Quarantined rows"], [COST])
        st.dataframe(table, hide_index=True, key="organizations_table", column_config=settings)
        st.caption(f"Times in {frame.organization.zone.key}.")


st.header("Platform")
_engines()
_counters()
_organizations()
