"""A few seeds of `make faults`: whatever fails under load, rows are the engines' own account and Redis agrees with them."""

from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from tests.bench.faults import seeds
from tests.bench.faults.money import Money
from tests.bench.faults.world import World, world

SEEDS = (1, 2, 3, 4, 5)


@pytest.fixture
def faulty(db: psycopg.Connection, role_url: Callable[..., str], redis_url: str, tmp_path: Path) -> Iterator[World]:
    with world(db, role_url("inferhouse_router"), redis_url, tmp_path) as made:
        yield made


def test_rows_and_redis_agree_with_the_engines_whatever_fails(faulty: World) -> None:
    money = Money(faulty)
    outcomes = [seeds.run(faulty, money, seed) for seed in SEEDS]
    assert [outcome.mismatches for outcome in outcomes] == [[]] * len(SEEDS)
    assert all(outcome.answered for outcome in outcomes), "under load"
