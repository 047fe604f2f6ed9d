"""The id of the request under way: made once, and shown in its answer, its log lines, its errors and its audit entries."""

from contextvars import ContextVar
from uuid import UUID

from warehouse.base.ids import uuid7

HEADER = "x-request-id"
_CURRENT: ContextVar[UUID | None] = ContextVar("inferhouse_request_id", default=None)


def begin() -> UUID:
    """A new id for what this task does from here on, and for the tasks that it starts."""
    made = uuid7()
    _CURRENT.set(made)
    return made


def current() -> UUID | None:
    """The id of the request under way, None outside of any."""
    return _CURRENT.get()


def current_id() -> UUID:
    """The id of the request under way; where none was begun, one is."""
    return _CURRENT.get() or begin()
