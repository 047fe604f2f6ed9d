"""The portal: `streamlit run dashboards/streamlit_app.py`. Signs the viewer in, and shows the pages they may see."""

from pathlib import Path

import streamlit as st
from streamlit.navigation.page import StreamlitPage

from dashboards.api import ApiUnreachable, ManagementApi
from dashboards.app_pages.frame import STYLE, Account, Frame, Visitor, api_is_away, settings
from dashboards.auth import Viewer, current_viewer, sign_in_form, sign_out, write_cookie
from warehouse.base.errors import SettingsError

ICON = Path(__file__).with_name("icon.svg")


def main() -> None:
    """One run of the script."""
    st.set_page_config(page_title="Inferhouse", page_icon=str(ICON), layout="wide")
    st.html(STYLE)
    try:
        api = ManagementApi(settings().api_url, st.context.ip_address, st.context.headers.get("User-Agent"))
        viewer = current_viewer(api)
    except SettingsError as error:
        st.error(f"The portal is not set up: {error}")
        return
    except ApiUnreachable:
        api_is_away()
        return
    write_cookie()
    if viewer is not None:
        _pages(api, viewer)
        return
    st.session_state.pop("frame", None)
    st.session_state.pop("account", None)
    # Named, so that whoever came by a link to a page is there after signing in; and so that no page is offered.
    sign_in = st.Page(lambda: None, title="Sign in", default=True, url_path="sign-in")
    page = st.navigation([sign_in, *_own_pages()], position="hidden")
    st.session_state["visitor"] = Visitor(api, None)
    if page.url_path == "invite":
        page.run()
        return
    try:
        sign_in_form(api)
    except ApiUnreachable:
        api_is_away()


def _own_pages() -> list[StreamlitPage]:
    return [
        st.Page("app_pages/account.py", title="Account", icon=":material/person:"),
        st.Page("app_pages/device.py", title="Device", icon=":material/devices:", visibility="hidden"),
        st.Page("app_pages/invite.py", title="Invite", icon=":material/mail:", visibility="hidden"),
    ]


def _pages(api: ManagementApi, viewer: Viewer) -> None:
    shown = {org.org_id: org for org in viewer.organizations if not org.second_factor_needed}
    account = _own_pages()
    st.session_state["account"] = Account(api, viewer)
    st.session_state["visitor"] = Visitor(api, viewer)
    if not shown:
        st.session_state.pop("frame", None)
        page = st.navigation(account)
        _signed_in_as(api, viewer)
        if viewer.organizations:
            st.info("Your organization asks for a second factor. Turn yours on here, then go on.")
        else:
            st.info("You are not a member of an organization yet. Ask an admin to invite you.")
        page.run()
        return
    with st.sidebar:
        chosen = st.selectbox("Organization", list(shown), format_func=lambda org_id: shown[org_id].name, key="organization")
    st.session_state["frame"] = Frame(settings(), api, viewer, shown[chosen])
    pages = [
        st.Page("app_pages/overview.py", title="Overview", icon=":material/monitoring:", default=True),
        st.Page("app_pages/usage.py", title="Usage", icon=":material/bar_chart:"),
        st.Page("app_pages/spend.py", title="Spend", icon=":material/payments:"),
        st.Page("app_pages/requests.py", title="Requests", icon=":material/receipt_long:"),
        st.Page("app_pages/invoice.py", title="Invoices", icon=":material/request_quote:"),
        st.Page("app_pages/connect.py", title="Connect", icon=":material/power:"),
    ]
    if viewer.platform_admin and settings().platform_database_url is not None:
        pages.append(st.Page("app_pages/platform.py", title="Platform", icon=":material/admin_panel_settings:"))
    page = st.navigation([*pages, *account])
    _signed_in_as(api, viewer)
    page.run()


def _signed_in_as(api: ManagementApi, viewer: Viewer) -> None:
    with st.sidebar:
        st.caption(viewer.name)
        if st.button("Sign out", key="sign_out", width="stretch"):
            sign_out(api, viewer)


main()
