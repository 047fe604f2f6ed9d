"""What a route of the management API is to the client and to the command: its noun, its verb, and what is sent."""

import re
from dataclasses import dataclass, field
from typing import Literal
from urllib.parse import quote

Type = Literal["text", "number", "flag", "instant", "texts", "numbers", "roles", "boolean", "stages", "pairs"]
"""`instant`: Unix seconds, typed as a date, a time or +30d. `texts`, `numbers`: an option that may be repeated. `roles`:
PROJECT:ROLE, repeated. `stages`: MODEL=WEIGHT,MODEL=WEIGHT, repeated. `pairs`: NAME=VALUE, repeated."""

NULL = object()
"""A value that is sent as null: it takes away what is there. None is not sent at all."""


@dataclass(frozen=True, slots=True)
class Field:
    """A value that is sent. `option` is how it is typed, where that differs from the API's name."""

    name: str
    help: str = ""
    type: Type = "text"
    required: bool = False
    option: str = ""
    can_clear: bool = False
    """Whether `none` takes the value away."""

    @property
    def flag(self) -> str:
        """`--name-of-it`."""
        return "--" + (self.option or self.name.removesuffix("[]")).replace("_", "-")


@dataclass(frozen=True, slots=True)
class Operation:
    """One route. `many`: a list in pages. `buckets`: a report in pages of buckets. `destroys`: what is asked before."""

    noun: str
    verb: str
    method: str
    path: str
    help: str
    body: tuple[Field, ...] = ()
    query: tuple[Field, ...] = ()
    many: bool = False
    buckets: bool = False
    creates: bool = False
    destroys: str = ""
    columns: tuple[str, ...] = field(default=())
    proof: str = ""
    """Name of the value that proves who asks: with it, no session and no key is sent."""
    hidden: bool = False
    """Called by a command of its own instead of one made of this row."""

    @property
    def ids(self) -> list[str]:
        """Names of the ids in the path, in order."""
        return re.findall(r"{(\w+)}", self.path)

    @property
    def sends_body(self) -> bool:
        """Whether it has a JSON body."""
        return self.method == "POST" and (bool(self.body) or self.creates)

    def filled(self, ids: dict[str, str] | object) -> str:
        """The path with ids in it."""
        return re.sub(r"{(\w+)}", lambda match: quote(str(ids[match[1]]), safe=""), self.path)  # type: ignore[index]


def list_(noun: str, path: str, help_: str, *query: Field, verb: str = "list", columns: str = "") -> Operation:
    """A list in pages."""
    return Operation(noun, verb, "GET", path, help_, query=query, many=True, columns=tuple(columns.split()))


def get_(noun: str, path: str, help_: str = "") -> Operation:
    """One thing."""
    return Operation(noun, "get", "GET", path, help_ or f"One {noun}.")


def create_(noun: str, path: str, help_: str, *body: Field) -> Operation:
    """A new thing; it may be repeated with a key."""
    return Operation(noun, "create", "POST", path, help_, body=body, creates=True)


def update_(noun: str, path: str, help_: str, *body: Field) -> Operation:
    """A change of some fields."""
    return Operation(noun, "update", "POST", path, help_, body=body)


def post_(noun: str, verb: str, path: str, help_: str, *body: Field, destroys: str = "") -> Operation:
    """A verb of a thing."""
    return Operation(noun, verb, "POST", path, help_, body=body, destroys=destroys)


def delete_(noun: str, verb: str, path: str, help_: str, destroys: str, *query: Field) -> Operation:
    """A thing goes, or what it was."""
    return Operation(noun, verb, "DELETE", path, help_, query=query, destroys=destroys)
