"""A few seeds of `make budgets`: 500 clients of three router processes spend all of a budget, and never more."""

from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from tests.bench.budgets import seeds
from tests.bench.budgets.world import World, world

SEEDS = (1, 2, 3, 4)


@pytest.fixture
def spending(db: psycopg.Connection, role_url: Callable[..., str], redis_url: str, tmp_path: Path) -> Iterator[World]:
    with world(db, role_url("inferhouse_router"), redis_url, tmp_path) as made:
        yield made


def test_three_routers_spend_all_of_a_budget_and_never_more(spending: World) -> None:
    outcomes = [seeds.run(spending, seed) for seed in SEEDS]
    assert [outcome.mismatches for outcome in outcomes] == [[]] * len(SEEDS)
    assert all(outcome.answered > seeds.HOLDS_MIN for outcome in outcomes)
