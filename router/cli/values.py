"""What is typed, as the API takes it. Raises from every function: ValueError, with what to type instead."""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from router.cli.operation import NULL, Field

_SPAN = re.compile(r"([+-])([0-9]{1,6})([smhdw])")
_NUMBER = re.compile(r"[0-9]{1,18}|[0-9]{1,3}(?:,[0-9]{3}){1,5}")  # a comma is one of thousands: 2,5 is not 25
_INSTEAD_OF_EMPTY = {
    (False, False): "leave the option out",
    (True, False): "leave the option out, or write none to take the value away",
    (False, True): "a value is wanted",
    (True, True): "a value is wanted, or none",
}
"""By whether a value can be taken away, and whether it has to be said."""
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}


def instant(said: str, now: datetime) -> int:
    """Unix seconds of a date, a time, +30d, -7d or Unix seconds. A date or time without a zone is in UTC."""
    span = _SPAN.fullmatch(said)
    if re.fullmatch("[0-9]{1,18}", said) and len(said) != len("20270131"):
        return int(said)
    try:
        if span is not None:
            seconds = int(span[2]) * _UNITS[span[3]]
            return int((now + timedelta(seconds=seconds if span[1] == "+" else -seconds)).timestamp())
        found = datetime.fromisoformat(said)
    except (ValueError, OverflowError):
        raise ValueError(f"{said!r} is no date or time: write 2027-01-31, 2027-01-31T12:00+01:00, +30d or -7d") from None
    return int((found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp())


def of(field: Field, said: Any) -> Any:
    """The value of an option; None where it was not given.

    An empty one, as of a variable that is not set, is refused: without it a budget of a project would be everybody's.
    """
    if said is None or said == []:
        return None
    if said == "" or (isinstance(said, list) and "" in said):
        raise ValueError(f"it is empty: {_INSTEAD_OF_EMPTY[field.can_clear, field.required]}")
    if field.can_clear and said in ("none", ["none"]):
        return NULL
    reading = _READINGS.get(field.type)
    return reading(field, said) if reading else said or None


def _instant(_: Field, said: str) -> int:
    return instant(said, datetime.now(UTC))


def _numbers(field: Field, said: list[str]) -> list[int]:
    return [_number(field, part) for part in said]


def _boolean(_: Field, said: str) -> bool:
    if said not in {"true", "false"}:
        raise ValueError(f"true or false is wanted, not {said!r}")
    return said == "true"


def _number(_: Field, said: str) -> int:
    plain = said.replace("_", "")
    if not _NUMBER.fullmatch(plain):
        raise ValueError(f"a whole number is wanted, not {said!r}")
    return int(plain.replace(",", ""))


def _roles(_: Field, said: list[str]) -> list[dict[str, str]]:
    found = [part.rpartition(":") for part in said]
    for part, (project, colon, role) in zip(said, found, strict=True):
        if not (project and colon and role):
            raise ValueError(f"PROJECT:ROLE is wanted, not {part!r}")
    return [{"id": project, "role": role} for project, _, role in found]


def _stages(field: Field, said: list[str]) -> list[list[dict[str, Any]]]:
    return [[_share(field, entry) for entry in part.split(",")] for part in said]


def _share(field: Field, said: str) -> dict[str, Any]:
    name, equals, weight = said.rpartition("=")
    model = name if equals else weight
    if not model:
        raise ValueError("MODEL=WEIGHT is wanted, with commas between")
    return {"model": model, "weight": _number(field, weight) if equals else 1}


def _pairs(_: Field, said: list[str]) -> dict[str, str]:
    found = {}
    for part in said:
        name, equals, value = part.partition("=")
        if not equals or not name:
            raise ValueError(f"NAME=VALUE is wanted, not {part!r}")
        found[name] = value
    return found


_READINGS: Mapping[str, Callable[[Field, Any], Any]] = {
    "instant": _instant,
    "number": _number,
    "numbers": _numbers,
    "boolean": _boolean,
    "roles": _roles,
    "stages": _stages,
    "pairs": _pairs,
}
