"""One good probe brings an engine up, two bad ones in a row take it down."""

from datetime import UTC, datetime, timedelta

from engines.health import Health

START = datetime(2026, 1, 1, tzinfo=UTC)


def at(seconds: int) -> datetime:
    return START + timedelta(seconds=seconds)


def test_an_engine_that_nobody_has_seen_is_down() -> None:
    health = Health.unknown(START).failed(at(1), "refused")
    assert (health.up, health.since, health.reason) == (False, START, "refused")


def test_one_good_probe_brings_it_up_and_more_do_not_move_since() -> None:
    health = Health.unknown(START).succeeded(at(1)).succeeded(at(2))
    assert health == Health(up=True, since=at(1))


def test_one_bad_probe_is_forgiven_and_two_in_a_row_are_not() -> None:
    up = Health.unknown(START).succeeded(at(1))
    assert up.failed(at(2), "slow").succeeded(at(3)).failed(at(4), "slow").up
    down = up.failed(at(2), "slow").failed(at(3), "refused")
    assert (down.up, down.since, down.reason) == (False, at(3), "refused")
    assert down.failed(at(4), "refused").since == at(3)
    assert down.succeeded(at(5)) == Health(up=True, since=at(5))
