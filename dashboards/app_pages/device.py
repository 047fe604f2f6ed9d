"""Let a device sign in: the command line, or whatever else showed a code."""

import re
from datetime import UTC, datetime

import streamlit as st

from dashboards.api import ApiRefused, ApiUnreachable
from dashboards.app_pages.frame import api_is_away, require_account
from dashboards.auth import sentence

CODE = re.compile(r"[A-Za-z]{4}-?[A-Za-z]{4}")


def _decide(code: str, *, approve: bool) -> None:
    try:
        account.api.decide_device(account.viewer.token, code, approve=approve)
    except ApiRefused as refused:
        st.error(sentence(refused))
    except ApiUnreachable:
        api_is_away()
    else:
        st.query_params.clear()
        st.session_state["device_decided"] = "It is signed in: go back to it." if approve else "It was not let in."
        st.rerun()


account = require_account()
st.header("Sign in a device")
decided = st.session_state.pop("device_decided", None)
if decided:
    st.success(decided)
    st.stop()
code = st.text_input("Code", value=st.query_params.get("code", ""), max_chars=9, help="As the device shows it.").strip()
if not CODE.fullmatch(code):
    st.info("Enter the code that the device shows: eight letters.")
    st.stop()
try:
    device = account.api.find_device(account.viewer.token, code)
except ApiRefused as refused:
    st.error(sentence(refused))
    st.stop()
except ApiUnreachable:
    api_is_away()
    st.stop()
asked_at = datetime.fromtimestamp(device["created_at"], UTC)
st.markdown("**Go on only if you have just begun to sign in there, and the code is the same.** It will act as you.")
st.table(
    {
        "Code": device["user_code"],
        "You": account.viewer.email,
        "Asked from": device["ip"] or "unknown",
        "Program": device["user_agent"] or "unknown",
        "Asked at": f"{asked_at:%Y-%m-%d %H:%M:%S} UTC",
    }
)
yes, no, _ = st.columns([1, 1, 3])
if yes.button("Let it in", type="primary", width="stretch"):
    _decide(code, approve=True)
if no.button("Do not", width="stretch"):
    _decide(code, approve=False)
