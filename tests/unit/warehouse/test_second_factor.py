"""The second factor: the codes of RFC 6238, each once, and codes for the day on which the phone is lost."""

from datetime import UTC, datetime, timedelta

import pyotp
import pytest

from warehouse.identity.second_factor import RECOVERY_CODES, STEP_S, SecondFactor

FACTOR = SecondFactor(b"a pepper of the tests")
NOW = datetime(2026, 3, 1, 12, 0, 5, tzinfo=UTC)


def test_the_published_codes_of_the_standard() -> None:
    # RFC 6238, appendix B: the secret is the ASCII text 12345678901234567890, the codes are the last six digits.
    sealed = FACTOR.seal("GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ")
    for second, code in ((59, "287082"), (1111111109, "081804"), (1234567890, "005924"), (2000000000, "279037")):
        assert FACTOR.step_of(sealed, code, datetime.fromtimestamp(second, UTC), None) == second // STEP_S


@pytest.mark.parametrize(("apart", "taken"), [(-2, False), (-1, True), (0, True), (1, True), (2, False)])
def test_a_clock_may_be_one_step_off(apart: int, taken: bool) -> None:
    secret = FACTOR.new_secret()
    code = pyotp.TOTP(secret).at(NOW + apart * timedelta(seconds=STEP_S))
    assert (FACTOR.step_of(FACTOR.seal(secret), code, NOW, None) is not None) == taken


def test_a_code_works_once() -> None:
    secret = FACTOR.new_secret()
    sealed, code = FACTOR.seal(secret), pyotp.TOTP(secret).at(NOW)
    step = FACTOR.step_of(sealed, code, NOW, None)
    assert step is not None
    assert FACTOR.step_of(sealed, code, NOW, step) is None


@pytest.mark.parametrize("code", ["", "12345", "1234567", "abcdef", "１２３４５６", "\ud800"])
def test_what_is_no_code_is_refused_without_an_error(code: str) -> None:
    assert FACTOR.step_of(FACTOR.seal(FACTOR.new_secret()), code, NOW, None) is None


def test_another_pepper_says_what_is_wrong() -> None:
    with pytest.raises(ValueError, match="ROUTER_KEY_PEPPER"):
        SecondFactor(b"another pepper entirely").step_of(FACTOR.seal(FACTOR.new_secret()), "123456", NOW, None)


def test_a_secret_is_not_stored_as_it_is() -> None:
    secret = FACTOR.new_secret()
    assert secret.encode() not in FACTOR.seal(secret)
    assert FACTOR.seal(secret) != FACTOR.seal(secret)


def test_recovery_codes_differ_and_may_be_typed_carelessly() -> None:
    codes = FACTOR.new_recovery_codes()
    assert len(set(codes)) == RECOVERY_CODES
    assert FACTOR.recovery_hash(f" {codes[0].upper().replace('-', '')} ") == FACTOR.recovery_hash(codes[0])
    assert len({FACTOR.recovery_hash(code) for code in codes}) == RECOVERY_CODES
