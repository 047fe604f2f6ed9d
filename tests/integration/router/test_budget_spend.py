"""What the API says is spent of a budget is what the marts say, and the sum of the raw rows."""

from datetime import UTC, datetime, timedelta

from tests.dbt_runs import Dbt
from tests.factories import copy_events, usage_event
from tests.integration.router.callers import demo, owner
from tests.integration.router.conftest import Stack
from warehouse.base.money import usd


def test_what_is_spent_is_the_same_number_everywhere(stack: Stack, dbt: Dbt) -> None:
    tenant, now = demo(stack), datetime.now(UTC)
    found = stack.db.execute("select model_id, id from control.prices where org_id is null order by id limit 1").fetchone()
    assert found is not None
    model_id, price_id = found
    with owner(stack) as client:
        body = {"limit_usd": "0.000000002", "alert_percents": [50, 100]}
        made = [client.post("/organization/budgets", json=body | {"period": period}).json() for period in ("month", "day")]
        assert [one["spend"] for one in client.get("/organization/budgets").json()["data"]] == [None, None], "no marts yet"
        copy_events(
            stack.db,
            [
                usage_event(
                    tenant,
                    n,
                    now - timedelta(minutes=n),
                    model_id=model_id,
                    price_id=price_id,
                    cost_picousd=150 + n,
                    input_tokens=1,
                )
                for n in range(10)
            ]
            + [usage_event(tenant, 99, now - timedelta(days=40), model_id=model_id, price_id=price_id, cost_picousd=9999)],
        )
        dbt.run("run", "--select", "+budget_status")
        listed = {one["id"]: one["spend"] for one in client.get("/organization/budgets").json()["data"]}
        assert set(listed) == {one["id"] for one in made}
        for budget in made:
            shown = client.get(f"/organization/budgets/{budget['id']}").json()
            assert shown["spend"] == listed[budget["id"]]
            spend = shown["spend"]
            starts, ends = (datetime.fromtimestamp(spend[edge], UTC) for edge in ("window_start", "window_end"))
            assert starts <= datetime.now(UTC)
            assert now < ends
            row = stack.db.execute(
                "select spent_picousd,"
                " (select sum(cost_picousd) from raw.usage_events where started_at >= %s and started_at < %s)"
                " from marts.budget_status where budget = %s",
                [starts, ends, budget["id"]],
            ).fetchone()
            assert row is not None
            assert spend["spent_usd"] == usd(int(row[0])) == usd(int(row[1]))
            assert spend["reached_percents"] == [share for share in (50, 100) if row[0] * 100 >= 2000 * share]
