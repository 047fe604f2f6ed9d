"""What is left of a credit whose time is over leaves the wallet: once a day, as a transaction of the ledger."""

import dagster as dg

from orchestration.resources import Warehouse
from warehouse.access import wallets


@dg.op(description="Takes what is left of credits whose time is over out of the wallets, a transaction for each.")
def expire_due_credits(context: dg.OpExecutionContext, warehouse: Warehouse) -> None:
    """A draw already passes over them; this is so that balances say it too. Safe to run twice."""
    with warehouse.connect() as conn:
        expired = wallets.expire(conn)
    context.log.info("%s credits have expired", expired)


@dg.job(description="Books the expiry of credits. Daily; a run that was missed is made up for by the next.")
def expire_credits() -> None:
    """Once a day."""
    expire_due_credits()
