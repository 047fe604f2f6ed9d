"""Who is looking: sign-in, the cookie that survives a reload, and the question whether they still may.

Streamlit cannot set a cookie from the server, so the page's own script does. It is readable by scripts of this origin,
which serves no foreign script; it is SameSite=Strict and ends with the session (decision 0030).
"""

import time
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

import streamlit as st

from dashboards.api import ApiRefused, ApiUnreachable, ManagementApi

COOKIE = "inferhouse_session"
# Pages refresh themselves, so a browser left open would show rows to somebody who has been disabled or removed since.
CHECK_S = 60
# While the API is away its last word holds this long, so that its restart does not take pages from people.
UNCHECKED_S_MAX = 300
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
    """Who has signed in, as the API said at `checked_at_s` of the monotonic clock."""

    token: str
    email: str
    name: str
    platform_admin: bool
    organizations: tuple[Organization, ...]
    checked_at_s: float


def current_viewer(api: ManagementApi) -> Viewer | None:
    """The signed-in viewer of this browser, or None; asks the API once a minute. Raises: ApiUnreachable."""
    known = st.session_state.get("viewer")
    if isinstance(known, Viewer):
        return known if time.monotonic() < known.checked_at_s + CHECK_S else _checked_again(api, known)
    token = st.context.cookies.get(COOKIE)
    if not token or st.session_state.get("signed_out") or not _CHARACTERS.issuperset(token):
        return None
    return _ask(api, token)


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
        cookie = f"{name}={value}; path=/; SameSite=Strict; max-age={seconds}"
        script = f'document.cookie = "{cookie}" + (location.protocol === "https:" ? "; Secure" : "")'
        st.html(f"<script>{script}</script>", unsafe_allow_javascript=True)


def _sign_in(api: ManagementApi, email: str, password: str) -> None:
    if not email or not password:
        st.error("Enter your e-mail address and your password.")
        return
    try:
        session = api.sign_in(email, password)
    except ApiRefused as refused:
        said = str(refused)
        st.error(f"{said[:1].upper()}{said[1:].rstrip('.')}.")
        return
    except ApiUnreachable:
        st.error("The management API does not answer. See `make status`, then try again.")
        return
    token = session["token"]
    st.session_state["viewer"] = _viewer(token, session)
    st.session_state["signed_out"] = False
    if _CHARACTERS.issuperset(token):
        st.session_state["cookie"] = (COOKIE, token, max(0, int(session["expires_at"] - time.time())))
    st.rerun()


def _checked_again(api: ManagementApi, known: Viewer) -> Viewer | None:
    try:
        return _ask(api, known.token)
    except ApiUnreachable:
        if time.monotonic() < known.checked_at_s + UNCHECKED_S_MAX:
            return known
        raise


def _ask(api: ManagementApi, token: str) -> Viewer | None:
    """Who the token belongs to, or None where the session has ended or the user is disabled."""
    try:
        viewer = _viewer(token, api.session(token))
    except ApiRefused:
        st.session_state.pop("viewer", None)
        st.session_state["signed_out"] = True
        return None
    st.session_state["viewer"] = viewer
    return viewer


def _viewer(token: str, session: dict[str, Any]) -> Viewer:
    organizations = tuple(
        Organization(org["org_id"], org["id"], org["name"], org["role"], ZoneInfo(org["time_zone"]))
        for org in session["organizations"]
    )
    user = session["user"]
    return Viewer(token, user["email"], user["name"], user["platform_admin"], organizations, time.monotonic())
