"""A change: one transaction with the audit entry that tells of it, repeatable by an idempotency key, checked by a version."""

import contextlib
import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Header, Request, Response
from psycopg import AsyncConnection
from pydantic import BaseModel, SecretStr

from router.management.access import Access
from warehouse.access import audit_log, management
from warehouse.access.audit_log import Change
from warehouse.access.management import KnownAnswer
from warehouse.base.errors import InferhouseError, InvalidRequest

IdempotencyKey = Annotated[
    str | None,
    Header(
        max_length=255,
        min_length=1,
        description="The same key and body in the same organization again answer as the first time, for 24 h.",
    ),
]
IfMatch = Annotated[str | None, Header(max_length=64, description="The ETag that the caller has seen; 412 if it has changed.")]


class VersionChanged(InferhouseError):
    """Somebody else has changed it since the caller read it. Nothing was changed."""

    status, code, type = 412, "version_changed", "invalid_request_error"


class AlreadyExists(InferhouseError):
    """There is one already. Nothing was changed."""

    status, code, type = 409, "already_exists", "invalid_request_error"


class Conflict(InferhouseError):
    """What is there forbids it; the message says what. Nothing was changed."""

    status, code, type = 409, "conflict", "invalid_request_error"


@dataclass(frozen=True, slots=True)
class Changing:
    """A transaction under way."""

    access: Access
    conn: AsyncConnection

    async def record(
        self,
        event_type: str,
        target_id: str,
        *,
        before: BaseModel | Mapping[str, Any] | None = None,
        after: BaseModel | Mapping[str, Any] | None = None,
        org_id: int | None = None,
        project_id: int | None = None,
    ) -> None:
        """The audit entry of this change. Organization and project are those of the path unless given."""
        access = self.access
        change = Change(
            event_type,
            target_id,
            org_id if org_id is not None else access.organization.id if access.organization else None,
            project_id if project_id is not None else access.project.id if access.project else None,
            _plain(before),
            _plain(after),
        )
        await audit_log.append(self.conn, access.actor, change, access.state.audit_key)


def _plain(shape: BaseModel | Mapping[str, Any] | None) -> dict[str, Any] | None:
    if shape is None:
        return None
    return shape.model_dump(mode="json") if isinstance(shape, BaseModel) else dict(shape)


@contextlib.asynccontextmanager
async def changing(access: Access) -> AsyncIterator[Changing]:
    """One transaction for a change and its audit entry."""
    async with access.transaction() as conn:
        yield Changing(access, conn)


class Creation:
    """A create that may be repeated: `async with creation(...) as made: if made.known: return made.known`.

    What is kept for a repetition is the answer without `secrets`; they are shown once.
    """

    def __init__(self, changing_: Changing, key: str | None, request_hash: bytes) -> None:
        self.changing, self._key, self._request_hash = changing_, key, request_hash
        access = changing_.access
        # Who has several organizations may use one key in each: an answer of the first would hide that the second got nothing.
        where = (access.organization.public_id,) if access.organization else ()
        self._actor = " ".join((access.principal.public_id, *where))
        self.known: dict[str, Any] | None = None

    @property
    def conn(self) -> AsyncConnection:
        """The connection of the transaction."""
        return self.changing.conn

    async def find(self) -> None:
        """Look for the first answer. Raises: InvalidRequest: the key was used with another body."""
        if self._key is None:
            return
        known = await management.claim_answer(self.conn, self._actor, self._key)
        if known is not None and known.request_hash != self._request_hash:
            raise InvalidRequest("this idempotency key was used with another request: take a new one", param="Idempotency-Key")
        self.known = known.answer if known else None

    async def keep(self, shape: BaseModel, *, secrets: frozenset[str] = frozenset()) -> None:
        """Keep the answer for a repetition."""
        if self._key is not None:
            answer = {name: None if name in secrets else value for name, value in shape.model_dump(mode="json").items()}
            await management.keep_answer(self.conn, self._actor, self._key, KnownAnswer(self._request_hash, 200, answer))


@contextlib.asynccontextmanager
async def creating(access: Access, request: Request, body: BaseModel, key: str | None) -> AsyncIterator[Creation]:
    """One transaction for a create, its audit entry and its answer."""
    said = json.dumps([request.url.path, _whole(body)], sort_keys=True)
    async with changing(access) as under_way:
        creation = Creation(under_way, key, hmac.digest(access.state.key_pepper, b"creates\0" + said.encode(), hashlib.sha256))
        await creation.find()
        yield creation


def _whole(body: BaseModel) -> dict[str, Any]:
    """A body with its secrets, without which a request with another one would be taken for the first again.

    It is hashed with a key, so that nobody who reads the hashes can try secrets on them.
    """
    secrets = {name: value.get_secret_value() for name, value in body if isinstance(value, SecretStr)}
    return body.model_dump(mode="json", exclude_unset=True) | secrets


def check_version(if_match: str | None, version: int) -> None:
    """Raises: VersionChanged: the caller has seen another version."""
    if if_match is not None and if_match.strip().removeprefix("W/").strip('"') not in {str(version), "*"}:
        raise VersionChanged(f"it has changed since you read it (now version {version}): read it again", param="If-Match")


def tell_version(response: Response, version: int) -> None:
    """The ETag of what is answered."""
    response.headers["etag"] = f'"{version}"'
