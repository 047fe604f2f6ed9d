"""The close of a month, step by step: drafts, the gate, final invoices. One organization's fault stops nobody else's month."""

from datetime import date
from typing import Any

import dagster as dg

from orchestration.defs.billing import closing
from orchestration.defs.billing.gate import Differences, Verdict, examine
from orchestration.resources import Warehouse

FIRST_MONTH = "2025-01-01"
MONTHS = dg.MonthlyPartitionsDefinition(start_date=FIRST_MONTH, end_offset=1)
"""A partition is the month of the calendar: of each organization, the month of this name in its own zone."""
RETRY = dg.RetryPolicy(max_retries=2, delay=30, backoff=dg.Backoff.EXPONENTIAL)
SHARED: dict[str, Any] = {"partitions_def": MONTHS, "group_name": "billing", "owners": ["team:finance"], "retry_policy": RETRY}
LINES = dg.AssetKey(["intermediate", "int_invoice_lines"])
NAMED_MAX = 20


def billing_assets(differences: Differences, *, without_counters: bool) -> list[dg.AssetsDefinition]:
    """Drafts, certificates and final invoices. Args: as of `examine`."""

    @dg.asset(key=["billing", "drafts"], deps=[LINES], kinds={"postgres"}, **SHARED)
    def drafts(context: dg.AssetExecutionContext, warehouse: Warehouse) -> dg.MaterializeResult:
        """A draft for each organization whose month is not final, made anew from the lines as they are computed now."""
        with warehouse.connect() as conn:
            made = closing.draft(conn, _month(context))
        context.log.info("%s drafts", len(made))
        return dg.MaterializeResult(metadata={"dagster/row_count": len(made)})

    @dg.asset(
        key=["billing", "certificates"],
        deps=[drafts],
        kinds={"greatexpectations", "polars"},
        check_specs=[
            dg.AssetCheckSpec(
                "every_draft_passes",
                asset=["billing", "certificates"],
                description="Parity, completeness, prices, sums, days, reconciliation, hours: a draft that fails stays a draft.",
            )
        ],
        **SHARED,
    )
    def certificates(context: dg.AssetExecutionContext, warehouse: Warehouse) -> dg.MaterializeResult:
        """What the gate found about each draft of the month, kept with it."""
        with warehouse.connect() as conn:
            verdicts = examine(conn, closing.drafts_of(conn, _month(context)), differences, without_counters=without_counters)
        refused = [verdict for verdict in verdicts if not verdict.passed]
        for verdict in refused:
            context.log.error("%s", _said(verdict))
        return dg.MaterializeResult(
            metadata={"dagster/row_count": len(verdicts), "refused": len(refused)},
            check_results=[
                dg.AssetCheckResult(
                    passed=not refused,
                    check_name="every_draft_passes",
                    description="; ".join(map(_said, refused[:NAMED_MAX])) or "every draft passes",
                    metadata={"drafts": len(verdicts), "refused": [verdict.invoice for verdict in refused[:NAMED_MAX]]},
                )
            ],
        )

    @dg.asset(key=["billing", "final_invoices"], deps=[certificates], kinds={"postgres"}, **SHARED)
    def final_invoices(context: dg.AssetExecutionContext, warehouse: Warehouse) -> dg.MaterializeResult:
        """Drafts that have passed, frozen: numbered, credits applied, and never changed again."""
        with warehouse.connect() as conn:
            month = _month(context)
            closed = closing.finalize(conn, closing.drafts_of(conn, month))
            left = closing.drafts_of(conn, month)
        for invoice, why in closed.refused.items():
            context.log.error("%s: %s", invoice, why)
        if left:
            context.log.warning("%s drafts are not final: their certificates say why, and what to do", len(left))
        return dg.MaterializeResult(metadata={"dagster/row_count": len(closed.finalized), "not_final": len(left)})

    return [drafts, certificates, final_invoices]


def certify_job(differences: Differences, *, without_counters: bool) -> dg.JobDefinition:
    """A job for drafts that people have made: the gate looks at them, and at nothing else."""

    @dg.op(config_schema={"invoices": [str]}, retry_policy=RETRY)
    def certify(context: dg.OpExecutionContext, warehouse: Warehouse) -> None:
        """Certify the drafts that are named."""
        with warehouse.connect() as conn:
            for verdict in examine(conn, context.op_config["invoices"], differences, without_counters=without_counters):
                context.log.info("%s", _said(verdict))

    @dg.job(name="certify_drafts", executor_def=dg.in_process_executor)
    def certify_drafts() -> None:
        """The gate for drafts made through the API."""
        certify()

    return certify_drafts


def _month(context: dg.AssetExecutionContext) -> date:
    return date.fromisoformat(context.partition_key)


def _said(verdict: Verdict) -> str:
    return f"{verdict.organization}, {verdict.invoice}: {'; '.join(verdict.words) or 'passes'}"
