"""Usage by day, project, key and model, to look at and to take away."""

from datetime import date
from typing import Any

import streamlit as st

from dashboards.app_pages.frame import REFRESH_SLOWLY_S, Frame, columns, explained, require, show_totals, title
from dashboards.app_pages.ranges import choose_days, downloads
from dashboards.loaders import USAGE_ROWS_MAX, Only, day_range, load, load_usage
from dashboards.views.usage import COST, COUNTS, by_model, tokens_per_day, totals, usage_table


@st.fragment(run_every=REFRESH_SLOWLY_S)
def _usage() -> None:
    frame = require()
    title(frame, "Usage")
    days = choose_days(frame)
    if days is None:
        return
    with explained():
        org, only = frame.organization, _only(frame, days)
        usage = load_usage(frame.settings, "usage_by_day", org, days, only)
        if usage.empty:
            st.info("No request in these days with these filters.")
            return
        show_totals(totals(usage), "Spend")
        figure = tokens_per_day(usage, by_model(usage)["Model"], days)
        st.subheader("Tokens per day")
        st.plotly_chart(figure, key="tokens_per_day", config={"displayModeBar": False})
        rows = load_usage(frame.settings, "usage_by_day_and_key", org, days, only, rows_max=USAGE_ROWS_MAX)
        st.dataframe(usage_table(rows), hide_index=True, key="usage_table", column_config=columns(COUNTS.values(), [COST]))
        if len(rows) == USAGE_ROWS_MAX:
            st.warning(f"The table and the files end after {USAGE_ROWS_MAX:,} rows. Choose fewer days; the sums above are whole.")
        downloads(rows, f"usage-{frame.organization.public_id}-{days[0]}-{days[1]}")


def _only(frame: Frame, days: tuple[date, date]) -> Only:
    since, until = day_range(*days, frame.organization.zone)
    found = load(frame.settings, "usage_choices", frame.organization.org_id, since=since, until=until).iloc[0]
    labels = {"projects": "Project", "models": "Model", "api_keys": "API key"}
    boxes = zip(st.columns(3), labels.items(), strict=True)
    return Only(**{name: _choice(column, label, name, found[name] or []) for column, (name, label) in boxes})


def _choice(column: Any, label: str, name: str, found: list[str]) -> list[str]:
    # What was chosen stays an option when other days do not have it: a filter must not vanish unseen.
    chosen = st.session_state.get(f"only_{name}", [])
    wanted: list[str] = column.multiselect(label, sorted({*found, *chosen}), key=f"only_{name}", placeholder="All")
    return wanted


_usage()
