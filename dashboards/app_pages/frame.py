"""What every page shares: who looks at what, the look, and plain sentences for what can go wrong."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import streamlit as st

from dashboards.api import ApiUnreachable, ManagementApi
from dashboards.auth import Organization, Viewer, current_viewer
from dashboards.loaders import MartsNotBuilt, MartsUnreachable, load
from dashboards.settings import PortalSettings
from dashboards.views.usage import Totals
from dashboards.views.words import complete_line, count, money

REFRESH_S = 5
# What reads a longer range, or changes less: still within the minute in which a request is to be seen everywhere.
REFRESH_SLOWLY_S = 20
# The theme has no words for these: Streamlit's own margins waste a third of a laptop's screen.
STYLE = """<style>
[data-testid="stMainBlockContainer"] { padding: 2.5rem 2.5rem 4rem; max-width: 100rem; }
[data-testid="stMetricValue"] { font-variant-numeric: tabular-nums; }
</style>"""


@dataclass(frozen=True, slots=True)
class Frame:
    """Who looks, at which organization, through what."""

    settings: PortalSettings
    api: ManagementApi
    viewer: Viewer
    organization: Organization


@dataclass(frozen=True, slots=True)
class Account:
    """Who is signed in, for the pages that are about nobody else."""

    api: ManagementApi
    viewer: Viewer


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who looks at a page that anybody may open: the viewer, or None for somebody who has not signed in."""

    api: ManagementApi
    viewer: Viewer | None


def require_account() -> Account:
    """The account of a viewer who is still signed in; stops the page for anybody else."""
    account = st.session_state.get("account")
    if not isinstance(account, Account):
        st.error("Sign in first.")
        st.stop()
    try:
        viewer = current_viewer(account.api)
    except ApiUnreachable:
        api_is_away()
        st.stop()
    if viewer is None:
        st.rerun()
    return replace(account, viewer=viewer)


@st.cache_resource(show_spinner=False)
def settings() -> PortalSettings:
    """Read once a process."""
    return PortalSettings.from_env(os.environ)


def require() -> Frame:
    """The frame of a viewer who is still signed in; stops the page for anybody else, not only its link.

    Every page begins with it, and so does every part that refreshes itself.
    """
    frame = st.session_state.get("frame")
    if not isinstance(frame, Frame):
        st.error("Sign in first.")
        st.stop()
    try:
        viewer = current_viewer(frame.api)
    except ApiUnreachable:
        api_is_away()
        st.stop()
    if viewer is None or frame.organization not in viewer.organizations or frame.organization.second_factor_needed:
        st.rerun()  # the main script asks for a password, or offers the organizations that are left
    return replace(frame, viewer=viewer)


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


def api_is_away() -> None:
    """Says so."""
    st.error("The management API does not answer. See `make status`, then reload this page.")


def title(frame: Frame, text: str) -> None:
    """The page's name and how far its numbers can be trusted."""
    st.header(text)
    with explained():
        completeness = load(frame.settings, "completeness", frame.organization.org_id)
        st.caption(complete_line(completeness, frame.organization.zone))


def show_totals(sums: Totals, spend: str) -> None:
    """Exact sums, each as a number of its own: whole, so that they can be compared with SQL and an invoice."""
    left, right = st.columns([2, 1])
    left.metric(spend, money(sums.cost_picousd), border=True)
    right.metric("Requests", count(sums.requests), border=True)
    tokens = {
        "Input tokens": sums.input_tokens,
        "Cached input tokens": sums.cached_input_tokens,
        "Output tokens": sums.output_tokens,
    }
    for column, (label, number) in zip(st.columns(3), tokens.items(), strict=True):
        column.metric(label, count(number), border=True)


def columns(counts: Iterable[str], texts: Iterable[str] = ()) -> dict[str, Any]:
    """Settings of a table's numbers: below each other digit by digit. Money is text, because a float would not be exact."""
    whole = {label: st.column_config.NumberColumn(format="localized") for label in counts}
    return whole | {label: st.column_config.TextColumn(alignment="right") for label in texts}
