"""A wrong setting stops the start, says which, and never repeats a secret."""

import traceback
from typing import ClassVar, Self

import pytest
from pydantic import Field, SecretStr, field_validator, model_validator

from warehouse.base.errors import SettingsError
from warehouse.base.settings import Settings

SECRET = "hunter2-hunter2"


class ExampleSettings(Settings):
    """Settings of a process that is only here."""

    PREFIX: ClassVar[str] = "EXAMPLE_"

    database_url: SecretStr
    pepper: SecretStr = Field(default=SecretStr("x" * 16), min_length=16)
    body_bytes_max: int = Field(default=1024, gt=0)
    port: int = 8000
    pause_s: float = Field(default=1, gt=0)
    first: int = 0

    @field_validator("port")
    @classmethod
    def _is_even(cls, value: int) -> int:
        if value % 2:
            raise ValueError("an even number")
        return value

    @model_validator(mode="after")
    def _comes_before_the_port(self) -> Self:
        if self.first > self.port:
            raise ValueError("EXAMPLE_FIRST is at most EXAMPLE_PORT")
        return self


GOOD = {"EXAMPLE_DATABASE_URL": f"postgresql://u:{SECRET}@h/db"}


def _refused(env: dict[str, str]) -> SettingsError:
    with pytest.raises(SettingsError) as raised:
        ExampleSettings.from_env(env)
    return raised.value


def test_variables_become_fields_and_others_are_left_alone() -> None:
    settings = ExampleSettings.from_env(GOOD | {"EXAMPLE_PORT": "9000", "OTHER_PORT": "1", "PATH": "/bin"})
    assert settings.port == 9000
    assert settings.body_bytes_max == 1024
    assert settings.database_url.get_secret_value().endswith("@h/db")


def test_a_misspelt_name_is_answered_with_the_nearest_right_one() -> None:
    error = _refused(GOOD | {"EXAMPLE_BODY_BYTE_MAX": "5"})
    assert str(error) == "unknown setting EXAMPLE_BODY_BYTE_MAX; did you mean EXAMPLE_BODY_BYTES_MAX?"
    assert error.param == "EXAMPLE_BODY_BYTE_MAX"


def test_a_name_like_no_other_is_answered_with_the_known_ones() -> None:
    message = str(_refused(GOOD | {"EXAMPLE_ZZZZZZZZZZZZZZZZZZZZZZZZ": "5"}))
    assert (
        "known are: EXAMPLE_BODY_BYTES_MAX, EXAMPLE_DATABASE_URL, EXAMPLE_FIRST, EXAMPLE_PAUSE_S, EXAMPLE_PEPPER, EXAMPLE_PORT"
        in message
    )


def test_a_missing_setting_is_named() -> None:
    assert str(_refused({})) == "setting EXAMPLE_DATABASE_URL is not set"


@pytest.mark.parametrize(("value", "what"), [("many", "integer"), ("0", "greater than 0"), ("1.5", "integer")])
def test_a_wrong_value_is_named_with_what_is_wrong(value: str, what: str) -> None:
    error = _refused(GOOD | {"EXAMPLE_BODY_BYTES_MAX": value})
    assert str(error).startswith("setting EXAMPLE_BODY_BYTES_MAX is wrong: ")
    assert what in str(error)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("EXAMPLE_PORT", "1", "setting EXAMPLE_PORT is wrong: an even number"),
        ("EXAMPLE_FIRST", "9000", "EXAMPLE_FIRST is at most EXAMPLE_PORT"),
        ("EXAMPLE_PEPPER", "short", "setting EXAMPLE_PEPPER is wrong: it has 5 characters, and needs 16"),
    ],
)
def test_what_is_wrong_is_said_in_our_own_words(name: str, value: str, said: str) -> None:
    assert str(_refused(GOOD | {name: value})) == said


def test_a_wrong_secret_is_neither_in_the_message_nor_in_the_traceback() -> None:
    error = _refused(GOOD | {"EXAMPLE_PEPPER": SECRET})
    assert "EXAMPLE_PEPPER" in str(error)
    assert SECRET not in "".join(traceback.format_exception(error))


@pytest.mark.parametrize("value", ["inf", "-inf", "nan", "1e400"])
def test_a_bound_that_is_no_number_is_refused(value: str) -> None:
    assert "EXAMPLE_PAUSE_S is wrong: Input should be " in str(_refused(GOOD | {"EXAMPLE_PAUSE_S": value}))


def test_a_secret_is_not_printed_with_the_settings() -> None:
    settings = ExampleSettings.from_env(GOOD)
    assert SECRET not in f"{settings!r} {settings} {settings.model_dump_json()}"


def test_settings_cannot_be_changed_later() -> None:
    with pytest.raises(ValueError, match="frozen"):
        ExampleSettings.from_env(GOOD).port = 1


def test_all_that_is_wrong_is_said_at_once() -> None:
    error = _refused({"EXAMPLE_PORT": "7", "EXAMPLE_PAUSE_S": "0", "EXAMPLE_PEPPER": SECRET})
    assert str(error) == (
        "setting EXAMPLE_DATABASE_URL is not set; setting EXAMPLE_PEPPER is wrong: it has 15 characters, and needs 16;"
        " setting EXAMPLE_PORT is wrong: an even number; setting EXAMPLE_PAUSE_S is wrong: Input should be greater than 0"
    )
    assert error.param == "EXAMPLE_DATABASE_URL"
