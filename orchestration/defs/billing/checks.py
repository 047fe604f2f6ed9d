"""The gate: draft invoice lines that do not add up go no further."""

import dagster as dg

from orchestration.defs.billing.expectations import judge
from orchestration.resources import Warehouse

INVOICE_LINES = dg.AssetKey(["marts", "invoice_lines"])


@dg.asset_check(
    asset=INVOICE_LINES,
    blocking=True,
    description="Great Expectations: prices, signs, classes, and lines equal to the cost of their rows.",
)
def draft_lines_add_up(warehouse: Warehouse) -> dg.AssetCheckResult:
    """Blocks whatever is made of the lines until each expectation holds."""
    lines = warehouse.draft_lines()
    verdict = judge(lines)
    description = "every expectation holds" if verdict.passed else "; ".join(verdict.broken)
    metadata = {"lines": len(lines), "expectations": verdict.checked, "broken": list(verdict.broken)}
    return dg.AssetCheckResult(passed=verdict.passed, description=description, metadata=metadata)
