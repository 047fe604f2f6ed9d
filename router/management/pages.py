"""Lists in OpenAI's shape: a page, and the id to go on from."""

from typing import Annotated, Generic, Literal, TypeVar

from fastapi import Depends, Query
from pydantic import BaseModel

from router.management.numbered_ids import number_of

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
        self.limit, self.after = limit, after

    @property
    def values(self) -> dict[str, object]:
        """For a query with `after` and `rows_max`."""
        return {"after": self.after, "rows_max": self.limit + 1}

    def numbered(self, kind: str) -> dict[str, object]:
        """The same where ids are like `price_12`: by number. Raises: InvalidRequest."""
        return self.values | {"after": number_of(self.after, kind, "after") if self.after else None}

    def page(self, found: list[Item], ids: list[str]) -> Listed[Item]:
        """The answer. Args: found: as many as were read.  ids: the public id of each."""
        kept, kept_ids = found[: self.limit], ids[: self.limit]
        first, last = (kept_ids[0], kept_ids[-1]) if kept_ids else (None, None)
        return Listed(data=kept, first_id=first, last_id=last, has_more=len(found) > self.limit)


Paged = Annotated[Window, Depends()]
