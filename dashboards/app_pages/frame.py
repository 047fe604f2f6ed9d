"""What every page shares: settings, the chosen organization, and plain sentences for what can go wrong."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import streamlit as st

from dashboards.api import ManagementApi
from dashboards.auth import Organization, Viewer
from dashboards.loaders import MartsNotBuilt, MartsUnreachable, load
from dashboards.settings import PortalSettings
from dashboards.views.words import complete_line

REFRESH_S = 5


@dataclass(frozen=True, slots=True)
class Frame:
    """Who looks, at which organization, through what."""

    settings: PortalSettings
    api: ManagementApi
    viewer: Viewer
    organization: Organization


@st.cache_resource(show_spinner=False)
def settings() -> PortalSettings:
    """Read once a process."""
    return PortalSettings.from_env(os.environ)


def require() -> Frame:
    """The frame of a signed-in viewer; stops the page for anybody else, not only its link."""
    frame = st.session_state.get("frame")
    if not isinstance(frame, Frame):
        st.error("Sign in first.")
        st.stop()
    return frame


def require_platform_admin() -> Frame:
    """The frame of a platform admin; stops the page for anybody else."""
    frame = require()
    if not frame.viewer.platform_admin or frame.settings.platform_database_url is None:
        st.error("This page is for platform admins.")
        st.stop()
    return frame


@contextmanager
def explained() -> Iterator[None]:
    """Turns what marts can be missing into a sentence that says what to do."""
    try:
        yield
    except MartsUnreachable:
        st.error("The database does not answer. Nothing is lost: requests go on being recorded. See `make status`.")
    except MartsNotBuilt:
        st.info("The marts are being built for the first time. This page fills by itself within a minute.")


def title(frame: Frame, text: str) -> None:
    """The page's name and how far its numbers can be trusted."""
    st.header(text)
    with explained():
        completeness = load(frame.settings, "completeness", frame.organization.org_id)
        st.caption(complete_line(completeness, frame.organization.zone))
