"""Types of fields that the nouns of the management API share. What they refuse never reaches the database."""

import zoneinfo
from email.message import EmailMessage
from functools import cache
from typing import Annotated

from fastapi import Path
from pydantic import AfterValidator, Field, StringConstraints

from router.management.parameters import LAST_SECOND

EMAIL_CHARACTERS_MAX = 320
NAME_CHARACTERS_MAX = 200
# PostgreSQL takes these for abbreviations, without summer time, and Python for zones that have it: days would begin twice.
OFFSETS_TO_POSTGRES = frozenset({"CET", "EET", "MET", "WET"})
_NOT_MAILABLE = "no mail can be addressed to this; write it like name@example.org"
NO_CONTROL = r"^[^\x00-\x1f\x7f-\x9f]*$"


def _mailable(address: str) -> str:
    message = EmailMessage()
    try:
        message["To"] = address
        read = [found.addr_spec for found in message["To"].addresses]
    except Exception as error:  # its parser of addresses fails in many ways
        raise ValueError(_NOT_MAILABLE) from error
    if read != [address]:  # <a@b.org> or a(b)@c.org: mail would go to another address than the one that is shown
        raise ValueError(_NOT_MAILABLE)
    return address


Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=NAME_CHARACTERS_MAX, pattern=NO_CONTROL)]
"""A name that people read: one line, without control characters."""
Email = Annotated[
    str,
    StringConstraints(
        strip_whitespace=True,
        min_length=3,
        max_length=EMAIL_CHARACTERS_MAX,
        pattern=r"^[^@\s\x00-\x1f\x7f-\x9f]+@[^@\s\x00-\x1f\x7f-\x9f]+$",
    ),
    AfterValidator(_mailable),
]
PublicId = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[0-9A-Za-z_-]+$")]
PathId = Annotated[str, Path(min_length=1, max_length=64, pattern=r"^[0-9A-Za-z_-]+$")]
Reason = Annotated[str, Field(min_length=1, max_length=500, pattern=r"^[^\x00]+$")]
"""Why somebody did it; it may have several lines."""
UnixSeconds = Annotated[int, Field(ge=0, le=LAST_SECOND)]


@cache
def _zones() -> frozenset[str]:
    # Two files of the list are no zones: what this machine is set to, and what is set nowhere.
    return frozenset(zoneinfo.available_timezones()) - {"localtime", "Factory"}


def _known_zone(name: str) -> str:
    if name not in _zones():
        raise ValueError("no time zone of the IANA database has this name; write it like Europe/Berlin")
    if name in OFFSETS_TO_POSTGRES:
        raise ValueError("this is no place, and does not say whether it has summer time; write it like Europe/Berlin")
    return name


TimeZone = Annotated[str, StringConstraints(max_length=64, pattern=NO_CONTROL), AfterValidator(_known_zone)]
