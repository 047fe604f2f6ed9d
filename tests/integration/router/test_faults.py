"""A few seeds of `make faults`: whatever fails under load, rows are the engines' own account and Redis agrees with them."""

from tests.bench.faults import seeds
from tests.bench.faults.money import Money
from tests.bench.faults.world import World

SEEDS = (1, 2, 3, 4, 5)


def test_rows_and_redis_agree_with_the_engines_whatever_fails(faulty: World) -> None:
    money = Money(faulty)
    outcomes = [seeds.run(faulty, money, seed) for seed in SEEDS]
    assert [outcome.mismatches for outcome in outcomes] == [[]] * len(SEEDS)
    assert all(outcome.answered for outcome in outcomes), "under load"
