"""Passwords are kept as argon2id, and an unknown user costs as much as a wrong password."""

import pytest
from argon2 import PasswordHasher, extract_parameters

from warehouse.identity.passwords import hash_password, verify_password


def test_right_and_wrong_password() -> None:
    stored = hash_password("correct horse battery staple")
    assert verify_password(stored, "correct horse battery staple")
    assert not verify_password(stored, "correct horse battery stapl")
    assert not verify_password(stored, "")


def test_the_hash_is_salted_argon2id_without_the_password() -> None:
    first, second = hash_password("the same password"), hash_password("the same password")
    assert first != second
    assert first.startswith("$argon2id$")
    assert "the same password" not in first


def test_an_unknown_user_is_refused_whatever_the_password() -> None:
    assert not verify_password(None, "nobody has this password")
    assert not verify_password(None, "")


def test_a_hash_of_another_kind_is_refused() -> None:
    assert not verify_password("not a hash", "not a hash")


def test_an_unknown_user_costs_the_same_work(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not measured by the clock: one argon2 verification with the same parameters, known or not."""
    parameters = []
    real = PasswordHasher.verify

    def verify(self: PasswordHasher, password_hash: str, password: str) -> bool:
        parameters.append(extract_parameters(password_hash))
        return bool(real(self, password_hash, password))

    stored = hash_password("x")
    monkeypatch.setattr(PasswordHasher, "verify", verify)
    assert verify_password(stored, "x")
    assert not verify_password(None, "x")
    assert len(parameters) == 2
    assert parameters[0] == parameters[1]
