"""API keys: of one shape, found by scanners, never shown by accident, known by a keyed hash."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from warehouse.identity.keys import ApiKeySecret

SCANNER = re.compile(r"sk-ih-[0-9A-Za-z]{16}-[0-9A-Za-z]{40}")
PEPPER = b"a pepper of the tests"


def test_a_new_key_is_found_by_a_secret_scanner() -> None:
    key = ApiKeySecret.generate()
    text = f'OPENAI_API_KEY="{key.reveal()}"  # left in a file'
    assert SCANNER.findall(text) == [key.reveal()]


def test_a_key_is_read_back() -> None:
    key = ApiKeySecret.generate()
    assert ApiKeySecret.parse(key.reveal()) == key


def test_no_two_keys_are_equal() -> None:
    keys = [ApiKeySecret.generate() for _ in range(1000)]
    assert len({key.public_id for key in keys}) == len({key.secret for key in keys}) == 1000


@pytest.mark.parametrize("change", [str.upper, lambda k: k[:-1], lambda k: k + "a", lambda k: " " + k, lambda k: k + "\n"])
def test_another_shape_is_no_key(change: object) -> None:
    assert callable(change)
    assert ApiKeySecret.parse(change(ApiKeySecret.generate().reveal())) is None


@given(text=st.text())
def test_any_text_is_parsed_without_an_error(text: str) -> None:
    key = ApiKeySecret.parse(text)
    assert key is None or key.reveal() == text


def test_letters_of_other_scripts_are_no_key() -> None:
    assert ApiKeySecret.parse("sk-ih-" + "\u0661" * 16 + "-" + "a" * 40) is None


def test_repr_and_str_hide_the_secret() -> None:
    key = ApiKeySecret.generate()
    assert key.secret not in f"{key!r} {key} {[key]}"
    assert key.public_id in repr(key)


def test_the_hash_depends_on_secret_and_pepper() -> None:
    key, other = ApiKeySecret.generate(), ApiKeySecret.generate()
    stored = key.hash(PEPPER)
    assert len(stored) == 32
    assert key.secret.encode() not in stored
    assert key.matches(stored, PEPPER)
    assert not key.matches(stored, b"another pepper entirely")
    assert not other.matches(stored, PEPPER)


def test_the_hash_is_hmac_sha256() -> None:
    """A fixed value: a change of the algorithm would make every stored key unknown."""
    key = ApiKeySecret("A" * 16, "b" * 40)
    assert key.hash(PEPPER).hex() == "f84f59811fb56e2a7f494708c46bd4c1cf1fecbcc65017dec41074583bcd9cf7"
