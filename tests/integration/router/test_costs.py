"""Costs from the marts in OpenAI's shape: exact to the pico-dollar beside the float that its clients read."""

from collections.abc import Iterator
from decimal import Decimal

import httpx
import pytest

from tests.dbt_runs import Dbt
from tests.integration.router.callers import error, owner
from tests.integration.router.conftest import Stack
from tests.integration.router.test_usage import WINDOW, put_usage

COSTS = "/organization/costs"


@pytest.fixture
def client(stack: Stack) -> Iterator[httpx.Client]:
    with owner(stack) as client:
        yield client


def test_costs_before_the_marts_are_built_are_empty(client: httpx.Client) -> None:
    page = client.get(COSTS, params=WINDOW).json()
    assert ([bucket["results"] for bucket in page["data"]], page["complete_to"]) == ([[], [], []], None)
    assert error(client.get(COSTS, params=WINDOW | {"group_by": "line_item"})) == (400, "invalid_request", "group_by.0")


def test_costs_add_up_to_the_raw_rows_exactly(client: httpx.Client, stack: Stack, dbt: Dbt) -> None:
    mine, _ = put_usage(stack, dbt)
    row = stack.db.execute("select sum(cost_picousd) from raw.usage_events where org_id = %s", [mine.org_id]).fetchone()
    assert row is not None
    for grouping in ({}, {"group_by[]": ["project_id", "model"]}, {"bucket_width": "1h", "limit": 168}):
        page = client.get(COSTS, params=WINDOW | grouping).json()
        results = [result for bucket in page["data"] for result in bucket["results"]]
        assert sum(Decimal(result["amount"]["usd"]) for result in results) * 10**12 == row[0]
        assert {result["object"] for result in results} == {"organization.costs.result"}
        assert all(abs(result["amount"]["value"] - float(result["amount"]["usd"])) < 1e-12 for result in results)
    assert {result["line_item"] for result in results} == {None}
