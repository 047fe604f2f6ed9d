"""What draft invoice lines must be, as a Great Expectations suite."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

COLUMNS = (
    "line_id", "org_id", "period_month", "token_class", "price_id", "quantity", "unit_price_picousd", "subtotal_picousd",
    "amount", "currency", "status", "price_difference_picousd", "parity_difference_picousd",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether the lines passed, and each expectation that did not hold, in words."""

    passed: bool
    checked: int
    broken: tuple[str, ...]


def judge(lines: Sequence[dict[str, Any]]) -> Verdict:
    """Hold every line against the suite. Numbers are compared exactly: they arrive as integers and decimals."""
    # Imported here: it takes 6 s, which every refresh would wait for, and it would report its use to its makers.
    os.environ["GX_ANALYTICS_ENABLED"] = "false"
    import great_expectations as gx  # noqa: PLC0415
    import pandas as pd  # noqa: PLC0415
    from great_expectations import expectations as gxe  # noqa: PLC0415

    frame = pd.DataFrame(lines, columns=list(COLUMNS))
    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = {"globally": False, "metric_calculations": False}
    source = context.data_sources.add_pandas("warehouse")
    batch = source.add_dataframe_asset("invoice_lines").add_batch_definition_whole_dataframe("drafts")
    never_null = [gxe.ExpectColumnValuesToNotBeNull(column=column) for column in COLUMNS]
    suite = gx.ExpectationSuite(
        name="draft_invoice_lines",
        expectations=[
            *never_null,
            gxe.ExpectColumnValuesToBeUnique(column="line_id"),
            gxe.ExpectColumnValuesToBeInSet(column="currency", value_set=["USD"]),
            gxe.ExpectColumnValuesToBeInSet(column="status", value_set=["draft"]),
            gxe.ExpectColumnValuesToBeInSet(column="token_class", value_set=["input", "cached_input", "output"]),
            gxe.ExpectColumnValuesToBeBetween(column="quantity", min_value=0, strict_min=True),
            gxe.ExpectColumnValuesToBeBetween(column="amount", min_value=0),
            gxe.ExpectColumnValuesToBeInSet(column="price_difference_picousd", value_set=[0]),
            gxe.ExpectColumnValuesToBeInSet(column="parity_difference_picousd", value_set=[0]),
        ],
    )
    outcome = batch.get_batch(batch_parameters={"dataframe": frame}).validate(suite)
    broken = tuple(_words(result) for result in outcome.results if not result.success)
    return Verdict(bool(outcome.success), len(outcome.results), broken)


def _words(result: Any) -> str:
    config = result.expectation_config
    count = result.result.get("unexpected_count", "some")
    return f"{config.type} on {config.kwargs.get('column')}: {count} lines break it"
