"""Credits whose time is over leave the wallet by the daily job."""

from collections.abc import Callable

import dagster as dg
import psycopg

from orchestration.defs.billing.credits import expire_credits
from orchestration.resources import Warehouse
from tests.factories import add_tenant


def test_the_daily_job_books_what_has_expired(db: psycopg.Connection, role_url: Callable[..., str]) -> None:
    org_id = add_tenant(db).org_id
    grant = "select ledger.grant_credit(%s, %s, 'prepaid', now() + %s::interval, 'r', 'a', %s, now() - interval '2 days')"
    for amount, life, reference in ((10, "-1 second", "over"), (5, "1 hour", "not yet")):
        db.execute(grant.encode(), [org_id, amount, life, reference])
    db.commit()
    warehouse = Warehouse(database_url=role_url("inferhouse_transform"))
    with dg.DagsterInstance.ephemeral() as instance:
        for _ in range(2):
            assert expire_credits.execute_in_process(instance=instance, resources={"warehouse": warehouse}).success
    found = db.execute(
        "select a.kind, a.balance_picousd from ledger.accounts a where a.kind <> 'prepaid' order by a.kind"
    ).fetchall()
    assert found == [("expired", 10), ("wallet", 5)]
    assert db.execute("select count(*) from ledger.transactions where kind = 'expiry'").fetchone() == (1,)
