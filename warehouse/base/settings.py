"""Settings: read once in `main`, handed down, and a misspelt variable stops the start."""

import difflib
from collections.abc import Mapping
from typing import ClassVar, Self

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from warehouse.base.errors import SettingsError


def nearest(word: str, known: list[str]) -> str:
    """`; did you mean X?` for the closest known word, or the list of known words where none is close."""
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    return f"did you mean {close[0]}?" if close else f"known are: {', '.join(sorted(known))}"


def complaint(error: ErrorDetails) -> str:
    """What pydantic found wrong, in words for people: those of our own checks as they are."""
    about = error.get("ctx", {})
    match error["type"]:
        case "value_error":
            return str(about["error"])
        case "too_short":
            return f"it has {about['actual_length']} characters, and needs {about['min_length']}"
        case _:
            return error["msg"]


class Settings(BaseModel):
    """Base of every process's settings. A subclass sets `PREFIX`; each field is one variable `PREFIX` + upper-case name."""

    # Input is hidden in pydantic's own error too: it is the cause of ours, and a traceback would print a wrong secret.
    # A bound or a pause of `inf` would be none at all: rows that are never written, engines that are never looked at.
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True, allow_inf_nan=False)
    PREFIX: ClassVar[str]

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> Self:
        """Settings from the variables that start with the prefix.

        Raises: SettingsError: a variable of this prefix is unknown (the nearest right name is given), or all that are missing or
            wrong.
        """
        own = {name: value for name, value in env.items() if name.startswith(cls.PREFIX)}
        known = [f"{cls.PREFIX}{field.upper()}" for field in cls.model_fields]
        for name in own:
            if name not in known:
                raise SettingsError(f"unknown setting {name}; {nearest(name, known)}", param=name)
        try:
            return cls.model_validate({name.removeprefix(cls.PREFIX).lower(): value for name, value in own.items()})
        except ValidationError as error:
            found = error.errors(include_input=False, include_url=False)
            param = cls._name_of(found[0]["loc"]) if found[0]["loc"] else cls.PREFIX
            raise SettingsError("; ".join(map(cls._said_of, found)), param=param) from error

    @classmethod
    def _said_of(cls, error: ErrorDetails) -> str:
        if not error["loc"]:  # about several, which it names
            return complaint(error)
        what = "is not set" if error["type"] == "missing" else f"is wrong: {complaint(error)}"
        return f"setting {cls._name_of(error['loc'])} {what}"

    @classmethod
    def _name_of(cls, loc: tuple[int | str, ...]) -> str:
        return f"{cls.PREFIX}{str(loc[0]).upper()}"
