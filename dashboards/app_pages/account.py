"""What people change of their own account: the password, the second factor, and where they are signed in."""

import io
from datetime import UTC, datetime

import segno
import streamlit as st

from dashboards.api import ApiRefused, ApiUnreachable
from dashboards.app_pages.frame import Account, api_is_away, require_account
from dashboards.auth import look_again, sentence


def _password(account: Account) -> None:
    st.subheader("Password")
    with st.form("password", clear_on_submit=True):
        current = st.text_input("Password now", type="password", autocomplete="current-password")
        new = st.text_input("New password", type="password", autocomplete="new-password", help="At least 12 characters.")
        submitted = st.form_submit_button("Change")
    if submitted:
        ended = account.api.change_password(account.viewer.token, current, new)
        st.success(f"Changed. {ended} other sessions were ended.")


def _second_factor(account: Account) -> None:
    st.subheader("Second factor")
    begun = st.session_state.get("totp")
    if "recovery_codes" in st.session_state:
        st.success("Your second factor is on. Keep these codes: each stands in once for a lost phone, and they are shown once.")
        st.code("\n".join(st.session_state["recovery_codes"]), language=None)
        if st.button("I have kept them"):
            del st.session_state["recovery_codes"]
            look_again(account.viewer)
            st.rerun()
    elif begun:
        image = io.BytesIO()
        segno.make(begun["uri"]).save(image, kind="svg", scale=4, dark="#000", light="#fff")
        st.markdown("Scan this with an authenticator, then enter the code that it shows.")
        st.image(image.getvalue().decode())
        st.caption(f"Or type the secret: `{begun['secret']}`")
        with st.form("totp_confirm"):
            code = st.text_input("Code", autocomplete="one-time-code")
            submitted = st.form_submit_button("Turn on", type="primary")
        if submitted:
            st.session_state["recovery_codes"] = account.api.confirm_totp(account.viewer.token, code.strip())
            del st.session_state["totp"]
            st.rerun()
    else:
        _begin_or_end(account)


def _begin_or_end(account: Account) -> None:
    on, off = st.columns(2)
    with on, st.form("totp_begin", clear_on_submit=True):
        st.caption("Turn it on: from then on a code of your phone is asked for beside the password.")
        password = st.text_input("Password", type="password", autocomplete="current-password")
        begin = st.form_submit_button("Set up")
    with off, st.form("totp_end", clear_on_submit=True):
        st.caption("Turn it off, with a code of it or a recovery code.")
        code = st.text_input("Code", autocomplete="one-time-code")
        end = st.form_submit_button("Turn off")
    if begin:
        st.session_state["totp"] = account.api.begin_totp(account.viewer.token, password)
        st.rerun()
    if end:
        account.api.disable_totp(account.viewer.token, code.strip())
        st.success("Your second factor is off.")


def _sessions(account: Account) -> None:
    st.subheader("Where you are signed in")
    for session in account.api.sessions(account.viewer.token):
        began_at = datetime.fromtimestamp(session["created_at"], UTC)
        what, where, button = st.columns([2, 3, 1])
        what.markdown(f"{began_at:%Y-%m-%d %H:%M} UTC, by {session['method']}{' **(this one)**' if session['current'] else ''}")
        where.caption(f"{session['ip'] or 'unknown'} · {(session['user_agent'] or 'unknown')[:80]}")
        if not session["current"] and button.button("End", key=session["id"]):
            account.api.revoke_session(account.viewer.token, session["id"])
            st.rerun()


page = require_account()
st.header("Account")
st.caption(page.viewer.email)
for part in (_second_factor, _password, _sessions):
    try:
        part(page)
    except ApiRefused as refused:
        st.error(sentence(refused))
    except ApiUnreachable:
        api_is_away()
