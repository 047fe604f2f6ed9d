"""Rate-limit headers as OpenAI's clients read them."""

import pytest

from router.inference.reservations.rate_headers import MINUTE, duration, meters, rate_headers
from router.inference.reservations.refusals import RateLimited
from warehouse.access.spend_rules import LimitRule


def limit(requests: int | None, input_tokens: int | None, output_tokens: int | None, *, shadow: bool = False) -> LimitRule:
    """A limit with these rates a minute."""
    return LimitRule(1, "limit_1", None, None, None, None, shadow, requests, input_tokens, output_tokens, None)


@pytest.mark.parametrize(
    ("us", "text"),
    [
        (0, b"0ms"),
        (1, b"1ms"),
        (17_000, b"17ms"),
        (999_001, b"1s"),
        (8_640_000, b"8.64s"),
        (59_999_000, b"60s"),
        (60_000_000, b"1m0s"),
        (61_000_000, b"1m1s"),
        (360_000_000, b"6m0s"),
    ],
)
def test_durations_are_written_as_openai_writes_them(us: int, text: bytes) -> None:
    assert duration(us) == text


def test_the_tightest_bound_is_told_of() -> None:
    limits = [limit(60, 1000, None), limit(600, None, 100), limit(1, 1, 1, shadow=True)]
    levels = [[MINUTE, 200 * MINUTE + 1, 0], [MINUTE, 0, 10 * MINUTE], [MINUTE, MINUTE, MINUTE]]
    assert rate_headers(meters(limits), levels).decode().splitlines() == [
        "x-ratelimit-limit-requests: 60", "x-ratelimit-remaining-requests: 59", "x-ratelimit-reset-requests: 1s",
        "x-ratelimit-limit-tokens: 100", "x-ratelimit-remaining-tokens: 90", "x-ratelimit-reset-tokens: 6s",
    ]  # fmt: skip


def test_a_limit_of_nothing_leaves_nothing() -> None:
    lines = rate_headers(meters([limit(0, None, None)]), [[0, 0, 0]])
    assert b"x-ratelimit-remaining-requests: 0\r\n" in lines


def test_without_a_rate_there_is_nothing_to_tell() -> None:
    assert meters([limit(None, None, None)]) == ()


@pytest.mark.parametrize(
    ("wait_us", "words"), [(1, "in 0.1 s"), (100_000, "in 0.1 s"), (100_001, "in 0.2 s"), (59_950_000, "in 60.0 s")]
)
def test_who_has_to_wait_is_not_told_of_too_short_a_time(wait_us: int, words: str) -> None:
    assert words in str(RateLimited.of(limit(60, None, None), 0, wanted=1, wait_us=wait_us))
