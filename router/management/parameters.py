"""Query parameters that several lists share."""

from typing import Annotated

from pydantic import Field

LAST_SECOND = 253_402_300_799  # of the year 9999, in Unix seconds
FILTER_VALUES_MAX = 100
Value = Annotated[str, Field(min_length=1, max_length=320)]
Values = Annotated[list[Value], Field(max_length=FILTER_VALUES_MAX)]


def either(bracketed: list[str], plain: list[str]) -> list[str] | None:
    """The values of a list that was sent as `name[]=a&name[]=b`, as OpenAI's SDKs do, or as `name=a&name=b`; None without."""
    return [*bracketed, *plain] or None
