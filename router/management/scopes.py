"""What a budget or a limit is about: the whole organization, or one of its parts, and perhaps one model."""

from typing import Annotated, Literal

from psycopg import AsyncConnection
from pydantic import BaseModel, Field

from router.management.changes import Conflict
from warehouse.access import scopes
from warehouse.access.scopes import ScopeIds
from warehouse.base.errors import InvalidRequest, NotFound

ALIKE_MAX = 20
KEY = "key_"
NOTE = "It holds in every router within a second, for requests that wait, too."
Id = Annotated[str | None, Field(min_length=1, max_length=64, pattern=r"^[0-9A-Za-z_-]+$")]
ModelName = Annotated[str | None, Field(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/-]*$")]
_NOUNS = {
    "project_id": "project that is active",
    "user_id": "member",
    "service_account_id": "service account",
    "api_key_id": "API key in force",
    "model": "model in service",
}


class OfKey(BaseModel):
    """At most one of project and key; a model may be named beside it."""

    project_id: Id = None
    api_key_id: Id = None
    model: ModelName = None


class OfAnybody(OfKey):
    """At most one of project, user, service account and key; a model may be named beside it."""

    user_id: Id = None
    service_account_id: Id = None


async def resolve(conn: AsyncConnection, org_id: int, body: OfKey) -> ScopeIds:
    """Internal ids of what a body names.

    Raises: InvalidRequest: more than one part.  NotFound: this organization has no such thing; `param` names the field.
    """
    wanted = {name: getattr(body, name, None) for name in _NOUNS}
    parts = [name for name, value in wanted.items() if value is not None and name != "model"]
    if len(parts) > 1:
        raise InvalidRequest(f"name at most one of {' and '.join(parts)}", param=parts[1])
    ids = await scopes.resolve(
        conn,
        org_id,
        project=wanted["project_id"],
        user=wanted["user_id"],
        service_account=wanted["service_account_id"],
        api_key=bare_key(wanted["api_key_id"]),
        model=wanted["model"],
    )
    for name, value in wanted.items():
        if value is not None and getattr(ids, "model_id" if name == "model" else name) is None:
            raise NotFound(f"this organization has no {_NOUNS[name]} {value!r}", param=name)
    return ids


async def check_room(conn: AsyncConnection, org_id: int, kind: Literal["budgets", "limits"], scope: ScopeIds) -> None:
    """Raises: Conflict: there are ALIKE_MAX of this kind about the same already. Each request is held against all of them."""
    if await scopes.count_alike(conn, org_id, kind, scope) >= ALIKE_MAX:
        raise Conflict(f"there are {ALIKE_MAX} {kind} about the same already, which is the most: change or delete one of them")


def bare_key(key_id: str | None) -> str | None:
    """The public id of a key as tables have it, without `key_`."""
    return None if key_id is None else key_id.removeprefix(KEY)


def shown_key(public_id: str | None) -> str | None:
    """The id of a key as the API shows it."""
    return None if public_id is None else KEY + public_id
