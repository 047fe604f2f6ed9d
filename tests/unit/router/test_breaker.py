"""What a breaker and a budget of retries count: the last seconds, and nothing from before."""

from datetime import UTC, datetime

import pytest

from router.inference.breaker import PAUSE_S, REQUESTS_MIN, TRY_S, WINDOW_S, Breaker, Window
from router.inference.retries import RETRIES_MIN, RetryBudget, lacks_model, retry_after_s

AT = datetime(2026, 1, 1, tzinfo=UTC)
HALF_S = WINDOW_S / 2


def test_a_window_forgets_by_halves() -> None:
    window = Window(WINDOW_S)
    window.add(100.0, failed=True)
    window.add(100.0 + HALF_S - 0.1, failed=False)
    assert window.totals(100.0 + HALF_S) == (2, 1), "the older half"
    window.add(100.0 + HALF_S + 1, failed=True)
    assert window.totals(100.0 + WINDOW_S - 0.1) == (3, 2)
    assert window.totals(100.0 + WINDOW_S) == (1, 1)
    assert window.totals(100.0 + WINDOW_S + HALF_S) == (0, 0)


def test_a_window_that_nobody_has_asked_for_long_is_empty() -> None:
    for count in (Window.totals, lambda window, at_s: window.add(at_s, failed=False) or window.totals(at_s)):
        window = Window(WINDOW_S)
        for at_s in (100.0, 100.0 + HALF_S):
            window.add(at_s, failed=True)
        assert count(window, 100.0 + 2 * WINDOW_S)[1] == 0
    window.clear()
    assert window.totals(100.0 + 2 * WINDOW_S) == (0, 0)


def test_a_window_is_no_longer_for_those_who_look_late() -> None:
    window = Window(WINDOW_S)
    window.add(100.0, failed=True)
    window.add(100.0 + WINDOW_S - 0.1, failed=False)
    assert window.totals(100.0 + WINDOW_S - 0.1) == (2, 1)
    assert window.totals(100.0 + WINDOW_S) == (1, 0)
    window = Window(WINDOW_S)
    for at_s in (100.0, 100.0 + HALF_S):
        window.add(at_s, failed=True)
    assert window.totals(100.0 + WINDOW_S) == (1, 1)
    window = Window(WINDOW_S)
    window.add(100.0, failed=True)
    assert window.totals(100.0 + WINDOW_S) == (0, 0)


def test_failures_of_long_ago_open_no_breaker() -> None:
    breaker = Breaker()
    for number in range(3 * REQUESTS_MIN):
        breaker.failed(100.0 + number * WINDOW_S)
    assert not breaker.is_open


def test_a_try_that_says_nothing_lets_the_next_one_begin_at_once() -> None:
    breaker = Breaker()
    for _ in range(REQUESTS_MIN):
        assert breaker.able(100.0)
        breaker.failed(100.0)
    assert not breaker.able(100.0 + PAUSE_S - 0.1)
    again_s = 100.0 + PAUSE_S
    assert breaker.able(again_s)
    breaker.began(again_s)
    assert not breaker.able(again_s)
    breaker.abandoned()
    assert breaker.able(again_s)
    breaker.began(again_s)
    assert not breaker.able(again_s + TRY_S - 0.1)
    assert breaker.able(again_s + TRY_S), "nor does one that never ends keep the others out"
    breaker.succeeded(again_s)
    assert not breaker.is_open
    breaker.failed(again_s)
    assert not breaker.is_open, "what failed before is forgotten"


def test_who_was_asked_before_the_breaker_opened_says_nothing_about_now() -> None:
    breaker = Breaker()
    for _ in range(REQUESTS_MIN):
        breaker.failed(100.0)
    breaker.succeeded(100.1)
    assert breaker.is_open
    breaker.failed(100.2)
    assert breaker.able(100.0 + PAUSE_S), "it has not begun its pause anew"


def _opened(at_s: float, breaker: Breaker | None = None) -> Breaker:
    breaker = breaker or Breaker()
    for number in range(5):
        assert not breaker.is_open, number
        breaker.failed(at_s)
    assert breaker.is_open
    return breaker


def test_five_calls_of_ten_seconds_of_which_half_failed_open_a_breaker_for_a_second() -> None:
    breaker = _opened(100.0)
    assert (breaker.able(100.99), breaker.able(101.0)) == (False, True)
    for again_s, is_open in ((109.9, True), (110.0, False)):
        breaker = Breaker()
        for number in range(9):
            (breaker.failed if number < 4 else breaker.succeeded)(100.0)
        assert not breaker.is_open
        breaker.failed(again_s)
        assert breaker.is_open == is_open


def test_one_that_opens_again_soon_after_it_was_well_pauses_longer() -> None:
    for well_s, pause_s in ((9.9, 2.0), (10.0, 1.0)):
        breaker = _opened(100.0)
        breaker.began(101.0)
        breaker.succeeded(101.0)
        again_s = 101.0 + well_s
        for _ in range(6):
            breaker.failed(again_s)
        assert breaker.is_open
        assert breaker.retry_at_s == again_s + pause_s


def test_a_try_that_fails_doubles_the_pause_to_thirty_seconds_and_a_call_from_before_does_not() -> None:
    breaker, at_s, pauses = _opened(100.0), 100.0, []
    for _ in range(7):
        pauses.append(breaker.retry_at_s - at_s)
        at_s = breaker.retry_at_s
        breaker.failed(at_s)
        assert breaker.retry_at_s == at_s, "it had begun before"
        breaker.began(at_s)
        assert (breaker.able(at_s + 9.9), breaker.able(at_s + 10)) == (False, True)
        breaker.failed(at_s)
    assert pauses == [1, 2, 4, 8, 16, 30, 30]


def test_what_nobody_was_answered_is_known_for_half_a_window_at_least_and_all_of_it_at_most() -> None:
    breaker = Breaker()
    assert breaker.has_heard_nothing(100.0)
    breaker.failed(100.0)
    assert breaker.has_heard_nothing(100.0)
    breaker.succeeded(100.0)
    assert not breaker.has_heard_nothing(109.9)
    assert breaker.has_heard_nothing(110.0)


@pytest.mark.parametrize(("requests", "retries"), [(0, RETRIES_MIN), (50, 10), (55, 11), (99, 19), (100, 20)])
def test_retries_are_a_fifth_of_the_requests_of_the_last_seconds(requests: int, retries: int) -> None:
    budget = RetryBudget()
    for _ in range(requests):
        budget.asked(100.0)
    assert [budget.take(100.0) for _ in range(retries + 2)] == [True] * retries + [False] * 2
    assert budget.take(100.0 + 2 * WINDOW_S), "and later there are others"


@pytest.mark.parametrize(
    ("value", "seconds"),
    [(None, None), (b"0", 0.0), (b"1.5", 1.5), (b"-1", None), (b"inf", None), (b"nan", None), (b"soon", None)],
)
def test_a_pause_is_a_number_from_nothing_on(value: bytes | None, seconds: float | None) -> None:
    assert retry_after_s(value, AT) == seconds


@pytest.mark.parametrize(
    ("status", "error", "lacks"),
    [
        (404, b'{"code":"model_not_found","message":"a"}', True),
        (400, b'{"code":"model_not_found","message":"a"}', True),
        (403, b'{"code":"model_not_found","message":"a"}', True),
        (401, b'{"code":"model_not_found","message":"a"}', False),
        (422, b'{"code":"model_not_found","message":"a"}', False),
        (404, b'{"param":"model","message":"a"}', True),
        (400, b'{"param":"model","message":"a"}', False),
        (404, b'{"param":"n","message":"The model `m` does not exist."}', True),
        (404, b'{"param":"n","message":"response resp_1: the model m does not exist"}', False),
    ],
)
def test_an_engine_lacks_the_model_only_by_what_no_client_can_write(status: int, error: bytes, lacks: bool) -> None:
    assert lacks_model(status, b'{"error":%b}' % error) is lacks
