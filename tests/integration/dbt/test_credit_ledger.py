"""Credits in SQL: a running balance, and from each deduction to its credits and back; nobody sees another's."""

from collections.abc import Callable

import psycopg

from tests.dbt_runs import Dbt, table
from tests.factories import Tenant, add_tenant

MARTS = ("marts.credit_ledger", "marts.credit_allocations")
ONLY = ("--select", "+credit_allocations", "--indirect-selection", "cautious")
WALLET = (
    "select kind, amount_picousd::int, balance_picousd::int from marts.credit_ledger where account = 'wallet' and org_id = %s"
)
# A deduction and the grants that paid for it.
FUNDINGS = """
select deduction.reference, funding.reference, allocation.amount_picousd::int
from marts.credit_ledger as deduction
inner join marts.credit_allocations as allocation on deduction.entry_id = allocation.entry_id
inner join marts.credit_ledger as funding on allocation.funding_entry_id = funding.entry_id
where deduction.reference = %s order by funding.entry_id
"""
# A grant and what became of it.
CONSUMPTIONS = """
select allocation.kind, allocation.reference, allocation.amount_picousd::int
from marts.credit_ledger as funding
inner join marts.credit_allocations as allocation on funding.entry_id = allocation.funding_entry_id
where funding.reference = %s order by allocation.allocation_id
"""


def _do(db: psycopg.Connection, tenant: Tenant) -> None:
    """Two grants, a draw over both, half of it given back by another, an expiry and a void."""
    mark = tenant.organization
    grant = "select ledger.grant_credit(%s, %s, 'prepaid', now() + %s::interval, 'r', 'a', %s, now() - interval '1 day')"
    db.execute(grant.encode(), [tenant.org_id, 10, "1 hour", f"{mark} first"])
    db.execute(grant.encode(), [tenant.org_id, 20, "2 hours", f"{mark} second"])
    db.execute("select ledger.draw(%s, 15, %s, now())", [tenant.org_id, f"{mark} draw"])
    db.execute("select ledger.draw(%s, 4, %s, now())", [tenant.org_id, f"{mark} other"])
    db.commit()


def test_credits_are_traced_both_ways_and_by_their_owner_only(
    db: psycopg.Connection, dbt: Dbt, role_url: Callable[..., str]
) -> None:
    mine, other = add_tenant(db), add_tenant(db)
    _do(db, mine)
    _do(db, other)
    dbt.run("build", *ONLY)
    mark = mine.organization
    assert db.execute(WALLET.encode() + b" order by entry_id", [mine.org_id]).fetchall() == [
        ("grant", 10, 10), ("grant", 20, 30), ("draw", -15, 15), ("draw", -4, 11),
    ]  # fmt: skip
    assert db.execute(FUNDINGS.encode(), [f"{mark} draw"]).fetchall() == [
        (f"{mark} draw", f"{mark} first", 10), (f"{mark} draw", f"{mark} second", 5),
    ]  # fmt: skip
    others = table(db, MARTS[0])
    db.execute("select ledger.give_back(%s)", [f"{mark} draw"])
    db.execute("select ledger.expire_credits(now() + interval '90 minutes')")
    db.commit()
    dbt.run("build", *ONLY)
    given_back = db.execute("select reference from ledger.transactions where kind = 'give_back'").fetchone()
    assert given_back is not None
    assert [row[:1] + row[2:] for row in db.execute(CONSUMPTIONS.encode(), [f"{mark} first"]).fetchall()] == [
        ("draw", 10), ("give_back", -10), ("expiry", 10),
    ]  # fmt: skip
    assert db.execute(
        "select reverses_reference, balance_picousd::int from marts.credit_ledger where reference = %s and account = 'wallet'",
        given_back,
    ).fetchall() == [(f"{mark} draw", 26)]
    db.commit()
    assert {row[0] for row in others} < {row[0] for row in table(db, MARTS[0])}
    incremental = {mart: table(db, mart) for mart in MARTS}
    dbt.run("run", "--full-refresh", "--select", "+credit_allocations")
    assert {mart: table(db, mart) for mart in MARTS} == incremental
    _only_the_owner_sees(db, mine, role_url)


def _only_the_owner_sees(db: psycopg.Connection, mine: Tenant, role_url: Callable[..., str]) -> None:
    with psycopg.connect(role_url("inferhouse_portal")) as portal:
        for mart in MARTS:
            assert portal.execute(f"select count(*) from {mart}".encode()).fetchone() == (0,)
        portal.execute(f"set inferhouse.org_id = {mine.org_id}".encode())
        for mart in MARTS:
            assert portal.execute(f"select distinct org_id from {mart}".encode()).fetchall() == [(mine.org_id,)]
