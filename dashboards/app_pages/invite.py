"""Accept an invite: as somebody new, or as the user who has the address already."""

import streamlit as st

from dashboards.api import ApiRefused, ApiUnreachable
from dashboards.app_pages.frame import Visitor, api_is_away
from dashboards.auth import look_again, sentence


def _accept(token: str | None, **person: str) -> None:
    try:
        joined = visitor.api.accept_invite(token, st.query_params["token"], **person)
    except ApiRefused as refused:
        st.error(sentence(refused))
        return
    except ApiUnreachable:
        api_is_away()
        return
    st.query_params.clear()
    if visitor.viewer is not None:
        look_again(visitor.viewer)
    st.session_state["joined"] = joined["organization"]["name"]
    st.rerun()


visitor: Visitor = st.session_state["visitor"]
st.header("Join an organization")
if "joined" in st.session_state:
    st.success(f"You have joined {st.session_state.pop('joined')}.")
    st.link_button("Go on", "./", type="primary")
    st.stop()
if "token" not in st.query_params:
    st.info("Open the whole link of your invite: it holds what is needed.")
    st.stop()
if visitor.viewer is not None:
    st.markdown(f"You are signed in as **{visitor.viewer.email}**.")
    if st.button("Join", type="primary"):
        _accept(visitor.viewer.token)
    st.stop()
with st.form("invite"):
    st.caption("New here? Say your name and choose a password. If you have a user here already, its password is enough.")
    name = st.text_input("Name", autocomplete="name")
    password = st.text_input("Password", type="password", autocomplete="new-password", help="At least 12 characters.")
    code = st.text_input("Code of your authenticator, if you have a second factor", autocomplete="one-time-code")
    submitted = st.form_submit_button("Join", type="primary")
if submitted:
    _accept(None, name=name.strip(), password=password, totp_code=code.strip())
