"""Every error has the shape that OpenAI's clients read."""

from collections.abc import Iterator

import pytest

from warehouse.base import errors
from warehouse.base.errors import EngineUnavailable, InferhouseError, InvalidRequest


def _all(base: type[InferhouseError]) -> Iterator[type[InferhouseError]]:
    yield base
    for child in base.__subclasses__():
        yield from _all(child)


def test_the_envelope_is_openai_s_with_the_request_id() -> None:
    error = InvalidRequest("`model` is empty", param="model")
    assert error.envelope("0190-abc") == {
        "error": {
            "message": "`model` is empty",
            "type": "invalid_request_error",
            "param": "model",
            "code": "invalid_request",
            "request_id": "0190-abc",
        }
    }


def test_an_error_without_a_class_of_its_own_is_an_internal_one() -> None:
    error = InferhouseError("something")
    assert (error.status, error.code, error.type) == (500, "internal_error", "server_error")


def test_when_to_try_again_is_kept() -> None:
    assert EngineUnavailable("none", retry_after_s=5).retry_after_s == 5


OWN = [error for error in _all(InferhouseError) if error.__module__ == errors.__name__]


@pytest.mark.parametrize("error", OWN, ids=lambda error: error.__name__)
def test_each_error_has_a_status_a_code_and_a_reason_to_exist(error: type[InferhouseError]) -> None:
    assert 400 <= error.status < 600
    assert error.code == error.code.lower()
    assert error.__doc__
    assert (error.type == "server_error") == (error.status >= 500)


def test_the_tree_in_the_docstring_is_the_tree() -> None:
    assert errors.__doc__ is not None
    assert [error.__name__ for error in OWN if error.__name__ not in errors.__doc__] == []
