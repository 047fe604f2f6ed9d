"""Who is looking: sign-in, the cookie that survives a reload, and the guard that every page begins with.

Streamlit cannot set a cookie from the server, so the page's own script does. It is readable by scripts of this origin,
which serves no foreign script; it is SameSite=Strict and ends with the session (decision 0030).
"""

from dataclasses import dataclass
from zoneinfo import ZoneInfo

import streamlit as st

from dashboards.api import ApiRefused, ApiUnreachable, ManagementApi

COOKIE = "inferhouse_session"
_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.")


@dataclass(frozen=True, slots=True)
class Organization:
    """One that the viewer may look at."""

    org_id: int
    public_id: str
    name: str
    role: str
    zone: ZoneInfo


@dataclass(frozen=True, slots=True)
class Viewer:
    """Who has signed in."""

    token: str
    email: str
    name: str
    platform_admin: bool
    organizations: tuple[Organization, ...]


def current_viewer(api: ManagementApi) -> Viewer | None:
    """The signed-in viewer of this browser, or None; asks the API once a browser session."""
    viewer = st.session_state.get("viewer")
    if isinstance(viewer, Viewer):
        return viewer
    token = st.context.cookies.get(COOKIE)
    if not token or st.session_state.get("signed_out") or not _CHARACTERS.issuperset(token):
        return None
    try:
        viewer = _viewer(token, api.session(token))
    except ApiRefused:
        return None
    st.session_state["viewer"] = viewer
    return viewer


def sign_in_form(api: ManagementApi) -> None:
    """Draws the form; a right password reruns the page as the viewer."""
    _, middle, _ = st.columns([1, 1.2, 1])
    with middle:
        st.title("Inferhouse")
        st.caption("Every token is a row you can query.")
        with st.form("sign_in"):
            email = st.text_input("E-mail", autocomplete="username")
            password = st.text_input("Password", type="password", autocomplete="current-password")
            submitted = st.form_submit_button("Sign in", type="primary", width="stretch")
        if submitted:
            _sign_in(api, email.strip(), password)


def sign_out() -> None:
    """Forget the viewer, here and in the browser."""
    st.session_state.pop("viewer", None)
    st.session_state["signed_out"] = True
    st.session_state["cookie"] = (COOKIE, "", 0)
    st.rerun()


def write_cookie() -> None:
    """Hand the browser what the last sign-in or sign-out asked for. Called once a run, by the main script."""
    wanted = st.session_state.pop("cookie", None)
    if wanted:
        name, value, seconds = wanted
        script = f'document.cookie = "{name}={value}; path=/; SameSite=Strict; max-age={seconds}"'
        st.html(f"<script>{script}</script>", unsafe_allow_javascript=True)


def _sign_in(api: ManagementApi, email: str, password: str) -> None:
    if not email or not password:
        st.error("Enter your e-mail address and your password.")
        return
    try:
        session = api.sign_in(email, password)
    except ApiRefused as refused:
        st.error(f"{refused}.".capitalize())
        return
    except ApiUnreachable:
        st.error("The management API does not answer. See `make status`, then try again.")
        return
    token = session["token"]
    st.session_state["viewer"] = _viewer(token, session)
    st.session_state["signed_out"] = False
    if _CHARACTERS.issuperset(token):
        st.session_state["cookie"] = (COOKIE, token, 12 * 3600)
    st.rerun()


def _viewer(token: str, session: dict) -> Viewer:
    organizations = tuple(
        Organization(org["org_id"], org["id"], org["name"], org["role"], ZoneInfo(org["time_zone"]))
        for org in session["organizations"]
    )
    user = session["user"]
    return Viewer(token, user["email"], user["name"], user["platform_admin"], organizations)
