"""Engines and their health."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pandas as pd

from dashboards.views.words import instant


def engines_table(engines: Sequence[dict[str, Any]], zone: ZoneInfo) -> pd.DataFrame:
    """Engines as the management API names them, those that do not answer first."""
    return pd.DataFrame(
        {
            "Engine": engine["name"],
            "Kind": engine["kind"],
            "Model": engine["model"],
            "Health": "answers" if engine["healthy"] else "does not answer",
            "Since": instant(datetime.fromtimestamp(engine["since"], UTC), zone) if engine["since"] else "—",
            "In flight": engine["in_flight"],
        }
        for engine in sorted(engines, key=lambda engine: (engine["healthy"], engine["name"]))
    )
