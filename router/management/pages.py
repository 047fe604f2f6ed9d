"""Lists in OpenAI's shape: a page, and the id to go on from."""

from typing import Annotated, Any, Generic, Literal, TypeVar

from fastapi import Depends, Query
from psycopg import AsyncConnection
from pydantic import BaseModel

from router.management.numbered_ids import number_of
from warehouse.access import cursors
from warehouse.base.errors import InvalidRequest

LIMIT_MAX = 100
Item = TypeVar("Item")


class Listed(BaseModel, Generic[Item]):
    """One page. `last_id` is the next page's `after`, while `has_more`."""

    object: Literal["list"] = "list"
    data: list[Item]
    first_id: str | None
    last_id: str | None
    has_more: bool


class Window:
    """Which page is wanted. One row more than `limit` is read, to know whether there is another page."""

    def __init__(
        self,
        limit: Annotated[int, Query(ge=1, le=LIMIT_MAX, description="Rows of the page.")] = 20,
        after: Annotated[str | None, Query(max_length=128, description="The last id of the page before.")] = None,
    ) -> None:
        self.limit, self.after = limit, after or None

    async def values(self, conn: AsyncConnection, list_name: str, *, prefix: str = "", **home: Any) -> dict[str, Any]:
        """For a query with `after` and `rows_max`. Raises: InvalidRequest: there is nothing of this id to go on from.

        Args: prefix: of the ids, which the database keeps without it.  home: whose list it is, as `cursors.is_known` takes it.
        """
        after = self.after.removeprefix(prefix) if self.after else None
        if after is not None and not await cursors.is_known(conn, list_name, after, **home):
            raise unknown_after()
        return {"after": after, "rows_max": self.limit + 1}

    @property
    def sorted_values(self) -> dict[str, object]:
        """The same where entries stand in the order of their ids, and one that is gone still has its place."""
        return {"after": self.after, "rows_max": self.limit + 1}

    def numbered(self, kind: str) -> dict[str, object]:
        """The same where ids are like `price_12`: by number. Raises: InvalidRequest."""
        return self.sorted_values | {"after": number_of(self.after, kind, "after") if self.after else None}

    def page(self, found: list[Item], ids: list[str]) -> Listed[Item]:
        """The answer. Args: found: as many as were read.  ids: the public id of each."""
        kept, kept_ids = found[: self.limit], ids[: self.limit]
        first, last = (kept_ids[0], kept_ids[-1]) if kept_ids else (None, None)
        return Listed(data=kept, first_id=first, last_id=last, has_more=len(found) > self.limit)


def unknown_after() -> InvalidRequest:
    """What is answered to an `after` that is nothing of the list."""
    return InvalidRequest("no entry of this list has or had this id: `after` is the `last_id` of the page before", param="after")


Paged = Annotated[Window, Depends()]
