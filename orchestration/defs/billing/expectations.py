"""What a draft must be before it may become final, as a Great Expectations suite: one column for each check."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

MUST_BE: Mapping[str, object] = {
    "parity_lines": 0,
    "is_complete": True,
    "rows_undecided": 0,
    "adjustments_missing": 0,
    "lines_unpriced": 0,
    "lines_without_digest": 0,
    "lines_difference_usd": 0,
    "lines_difference_picousd": 0,
    "rows_difference_picousd": 0,
    "days_difference_picousd": 0,
    "engine_days_off": 0,
    "hours_missing": 0,
    "digest_holds": True,
}
"""{figure: the value that it must have in every draft}. A figure that could not be taken is null, and null is never right."""


@dataclass(frozen=True, slots=True)
class Judged:
    """For each draft, the figures that are not what they must be; and how many expectations were held against the drafts."""

    broken: Mapping[str, frozenset[str]]
    expectations: int


def judge(drafts: Sequence[Mapping[str, Any]]) -> Judged:
    """Hold every draft against the suite, all in one go: a validation costs seconds, and there may be ten thousand drafts.

    Args: drafts: `invoice` and each figure of MUST_BE. Compared exactly: they are integers, decimals and booleans.
    """
    # Imported here: it takes 6 s, which every refresh would wait for, and it would report its use to its makers.
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    import great_expectations as gx  # noqa: PLC0415
    import pandas as pd  # noqa: PLC0415
    from great_expectations import expectations as gxe  # noqa: PLC0415

    frame = pd.DataFrame([{name: draft[name] for name in ("invoice", *MUST_BE)} for draft in drafts], dtype=object)
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False, "metric_calculations": False}
    source = context.data_sources.add_pandas("warehouse")
    batch = source.add_dataframe_asset("drafts").add_batch_definition_whole_dataframe("drafts")
    suite = gx.ExpectationSuite(
        name="drafts",
        expectations=[
            gxe.ExpectColumnValuesToBeUnique(column="invoice"),
            *(gxe.ExpectColumnValuesToNotBeNull(column=column) for column in MUST_BE),
            *(gxe.ExpectColumnValuesToBeInSet(column=column, value_set=[value]) for column, value in MUST_BE.items()),
        ],
    )
    validation = batch.get_batch(batch_parameters={"dataframe": frame}).validate(
        suite, result_format={"result_format": "COMPLETE", "unexpected_index_column_names": ["invoice"]}
    )
    broken: dict[str, set[str]] = {str(draft["invoice"]): set() for draft in drafts}
    for result in validation.results:
        if result.success:
            continue
        column = result.expectation_config.kwargs["column"]
        for found in result.result["unexpected_index_list"]:
            broken[found["invoice"]].add(column)
    return Judged({invoice: frozenset(columns) for invoice, columns in broken.items()}, len(validation.results))
