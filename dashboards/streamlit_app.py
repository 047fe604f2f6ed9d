"""The portal: `streamlit run dashboards/streamlit_app.py`. Signs the viewer in, and shows the pages they may see."""

from pathlib import Path

import streamlit as st

from dashboards.api import ApiUnreachable, ManagementApi
from dashboards.app_pages.frame import STYLE, Frame, api_is_away, settings
from dashboards.auth import Viewer, current_viewer, sign_in_form, sign_out, write_cookie
from warehouse.base.errors import SettingsError

ICON = Path(__file__).with_name("icon.svg")


def main() -> None:
    """One run of the script."""
    st.set_page_config(page_title="Inferhouse", page_icon=str(ICON), layout="wide")
    st.html(STYLE)
    try:
        api = ManagementApi(settings().api_url)
        viewer = current_viewer(api)
    except SettingsError as error:
        st.error(f"The portal is not set up: {error}")
        return
    except ApiUnreachable:
        api_is_away()
        return
    write_cookie()
    if viewer is None:
        st.session_state.pop("frame", None)
        sign_in_form(api)
    elif not viewer.organizations:
        st.info("You are not a member of an organization yet. Ask an admin to invite you.")
        _signed_in_as(viewer)
    else:
        _pages(api, viewer)


def _pages(api: ManagementApi, viewer: Viewer) -> None:
    with st.sidebar:
        names = {org.org_id: org for org in viewer.organizations}
        chosen = st.selectbox("Organization", list(names), format_func=lambda org_id: names[org_id].name, key="organization")
    st.session_state["frame"] = Frame(settings(), api, viewer, names[chosen])
    pages = [
        st.Page("app_pages/overview.py", title="Overview", icon=":material/monitoring:", default=True),
        st.Page("app_pages/usage.py", title="Usage", icon=":material/bar_chart:"),
        st.Page("app_pages/spend.py", title="Spend", icon=":material/payments:"),
        st.Page("app_pages/requests.py", title="Requests", icon=":material/receipt_long:"),
        st.Page("app_pages/invoice.py", title="Invoice", icon=":material/request_quote:"),
        st.Page("app_pages/connect.py", title="Connect", icon=":material/power:"),
    ]
    if viewer.platform_admin and settings().platform_database_url is not None:
        pages.append(st.Page("app_pages/platform.py", title="Platform", icon=":material/admin_panel_settings:"))
    page = st.navigation(pages)
    _signed_in_as(viewer)
    page.run()


def _signed_in_as(viewer: Viewer) -> None:
    with st.sidebar:
        st.caption(viewer.name)
        if st.button("Sign out", key="sign_out", width="stretch"):
            sign_out()


main()
