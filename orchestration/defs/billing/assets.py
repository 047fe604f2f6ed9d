"""What is made of draft lines that have passed the gate."""

import hashlib
from datetime import timedelta

import dagster as dg
import msgspec

from orchestration.defs.billing.checks import INVOICE_LINES
from orchestration.resources import Warehouse

FRESH = dg.FreshnessPolicy.time_window(fail_window=timedelta(hours=3), warn_window=timedelta(hours=2))


@dg.asset(key=dg.AssetKey(["marts", "draft_certificate"]), deps=[INVOICE_LINES], group_name="marts", owners=["team:finance"],
          freshness_policy=FRESH)  # fmt: skip
def draft_certificate(warehouse: Warehouse) -> dg.MaterializeResult:
    """The digest of all draft lines, given only when the gate has passed: two equal digests are equal drafts."""
    lines = warehouse.draft_lines()
    # Decimals are encoded as text, so the digest is of exact values.
    digest = hashlib.sha256(msgspec.json.encode(lines)).hexdigest()
    return dg.MaterializeResult(metadata={"lines": len(lines), "sha256": digest})
