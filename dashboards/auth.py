"""Who is looking: sign-in, the cookie that survives a reload, and the question whether they still may.

Streamlit cannot set a cookie from the server, so the page's own script does. It is readable by scripts of this origin,
which serves no foreign script; it is SameSite=Strict and ends with the session (decision 0030).
"""

import contextlib
import hmac
import json
import time
from dataclasses import dataclass, replace
from typing import Any
from zoneinfo import ZoneInfo

import streamlit as st

from dashboards.api import ApiRefused, ApiUnreachable, ManagementApi

COOKIE = "inferhouse_session"
# Who began a sign-in at the identity provider is the one who comes back: nobody is signed in by a link of somebody else's.
OIDC_COOKIE = "inferhouse_oidc"
OIDC_S = 600
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
    second_factor_needed: bool


@dataclass(frozen=True, slots=True)
class Viewer:
    """Who has signed in, as the API said at `checked_at_s` of the monotonic clock."""

    token: str
    email: str
    name: str
    platform_admin: bool
    second_factor: bool
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


def look_again(viewer: Viewer) -> None:
    """Ask the API who this is at the next run: something about the viewer has just changed."""
    st.session_state["viewer"] = replace(viewer, checked_at_s=-CHECK_S)


def sign_in_form(api: ManagementApi) -> None:
    """Draws the form; a right password reruns the page as the viewer. Raises: ApiUnreachable."""
    _, middle, _ = st.columns([1, 1.2, 1])
    with middle:
        st.title("Inferhouse")
        st.caption("Every token is a row you can query.")
        if "code" in st.query_params and "state" in st.query_params:
            _come_back(api)
        methods = api.methods()
        if methods["oidc"] and st.button("Single sign-on", type="primary", width="stretch"):
            _go_to_provider(api, methods["portal_url"])
        if not methods["password"]:
            return
        code_needed = st.session_state.get("code_needed", False)
        with st.form("sign_in"):
            email = st.text_input("E-mail", autocomplete="username", key="sign_in_email")
            password = st.text_input("Password", type="password", autocomplete="current-password", key="sign_in_password")
            code = st.text_input("Code of your authenticator", autocomplete="one-time-code") if code_needed else None
            submitted = st.form_submit_button("Sign in", type="primary", width="stretch")
        if submitted:
            _sign_in(api, email.strip(), password, code)


def sign_out(api: ManagementApi, viewer: Viewer) -> None:
    """End the session, and forget the viewer here and in the browser."""
    with contextlib.suppress(ApiRefused, ApiUnreachable):
        api.sign_out(viewer.token)
    st.session_state.pop("viewer", None)
    st.session_state["signed_out"] = True
    st.session_state["cookie"] = (COOKIE, "", 0)
    st.rerun()


def write_cookie() -> None:
    """Hand the browser what the last sign-in or sign-out asked for. Called once a run, by the main script."""
    wanted = st.session_state.pop("cookie", None)
    if wanted:
        st.html(f"<script>{_cookie_script(*wanted)}</script>", unsafe_allow_javascript=True)


def _cookie_script(name: str, value: str, seconds: int, same_site: str = "Strict") -> str:
    cookie = f"{name}={value}; path=/; SameSite={same_site}; max-age={seconds}"
    return f'document.cookie = "{cookie}" + (location.protocol === "https:" ? "; Secure" : "")'


def _sign_in(api: ManagementApi, email: str, password: str, code: str | None) -> None:
    if not email or not password:
        st.error("Enter your e-mail address and your password.")
        return
    try:
        session = api.sign_in(email, password, code)
    except ApiRefused as refused:
        if refused.code == "totp_required":
            st.session_state["code_needed"] = True
            st.rerun()
        st.error(sentence(refused))
        return
    except ApiUnreachable:
        st.error("The management API does not answer. See `make status`, then try again.")
        return
    _enter(session)


def _enter(session: dict[str, Any]) -> None:
    """The page again, as the viewer of this new session."""
    token = session["token"]
    st.session_state["viewer"] = _viewer(token, session)
    st.session_state["signed_out"] = False
    for name in ("code_needed", "sign_in_email", "sign_in_password"):
        st.session_state.pop(name, None)
    if _CHARACTERS.issuperset(token):
        st.session_state["cookie"] = (COOKIE, token, max(0, int(session["expires_at"] - time.time())))
    st.rerun()


def _go_to_provider(api: ManagementApi, portal_url: str | None) -> None:
    if portal_url is None:
        st.error("The address of this portal is not set: an operator sets ROUTER_PORTAL_URL.")
        return
    try:
        begun = api.oidc_start(portal_url)
    except ApiRefused as refused:
        st.error(sentence(refused))
        return
    # Lax: the browser comes back from the provider's site.
    script = _cookie_script(OIDC_COOKIE, begun["state"], OIDC_S, "Lax")
    target = json.dumps(begun["authorization_url"]).replace("<", "\\u003c")
    st.html(f"<script>{script}; location.assign({target})</script>", unsafe_allow_javascript=True)
    st.stop()


def _come_back(api: ManagementApi) -> None:
    state, code = st.query_params["state"], st.query_params["code"]
    begun_here = hmac.compare_digest(st.context.cookies.get(OIDC_COOKIE, "").encode(), state.encode())
    st.query_params.clear()
    if not begun_here:
        st.error("This sign-in was not begun in this browser. Begin it here.")
        return
    try:
        session = api.oidc_finish(state, code)
    except ApiRefused as refused:
        st.error(sentence(refused))
        return
    _enter(session)


def sentence(refused: ApiRefused) -> str:
    """What the API said, as people write."""
    said = str(refused)
    return f"{said[:1].upper()}{said[1:].rstrip('.')}."


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
        Organization(org["org_id"], org["id"], org["name"], org["role"], ZoneInfo(org["time_zone"]), org["second_factor_needed"])
        for org in session["organizations"]
    )
    user = session["user"]
    return Viewer(
        token, user["email"], user["name"], user["platform_admin"], session["second_factor"], organizations, time.monotonic()
    )
