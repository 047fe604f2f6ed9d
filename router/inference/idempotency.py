"""`Idempotency-Key`: a request that is sent twice is answered once, and never charged twice.

Who sends a key holds it while the request is under way; a second one gets 409. A request that was charged keeps its key: where
the organization has chosen to keep answers, the same bytes are sent again, otherwise the second request is told that there was
a first. One that was not charged gives the key back. Source of the semantics: Stripe's idempotent requests, first version.
"""

import asyncio
import hashlib
import logging
from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

from psycopg import AsyncConnection, Error
from psycopg_pool import PoolTimeout

from router.inference.auth import Caller
from warehouse.access import idempotent_answers
from warehouse.access.idempotent_answers import IdempotentAnswer
from warehouse.base.errors import InferhouseError, InvalidRequest, NotReady

_LOG = logging.getLogger(__name__)
KEY_CHARACTERS_MAX = 255
ANSWER_BYTES_MAX = 1024 * 1024
KEPT_S_MIN = 86_400  # for which a charged request keeps its key, however long its answer is kept
LEASE_SLACK_S = 60.0  # beyond the longest call, before a key whose router has died is free again
SWEEP_S = 60.0
SWEPT_ROWS_MAX = 1000
DATABASE_S_MAX = 3.0  # a request waits no longer for it: one that hangs, or whose table is locked, breaks no connection
_AWAY = (Error, PoolTimeout, OSError)

Connect = Callable[[], AbstractAsyncContextManager[AsyncConnection]]
Result = TypeVar("Result")


class IdempotencyConflict(InferhouseError):
    """The key is held by another request; the message says which. Nothing was charged for this one."""

    status, code, type = 409, "idempotency_key_in_use", "invalid_request_error"


@dataclass(slots=True, eq=False)
class Claim:
    """The right to answer the requests of one key."""

    api_key_id: int
    key_hash: bytes
    request_id: UUID
    kept_s: int
    """For which the organization keeps answers; 0 where it keeps none."""
    done: bool = False


@dataclass(frozen=True, slots=True)
class Replay:
    """What an earlier request was answered."""

    request_id: UUID
    model_id: int | None
    answer: bytes


class Idempotency:
    """The keys of requests, in the database: they outlive every worker."""

    def __init__(self, connect: Connect, *, request_s_max: float) -> None:
        """Args: request_s_max: how long a request can take, with all that it may have to wait for."""
        self._connect, self._lease_s = connect, request_s_max + LEASE_SLACK_S
        self._given_up: set[asyncio.Task[Any]] = set()
        """Queries that nobody waits for any more: to cancel one may take psycopg ten seconds."""

    async def claim(
        self, caller: Caller, idempotency_key: bytes, request: bytes, request_id: UUID, started_at: datetime
    ) -> Claim | Replay:
        """The right to go on, or the answer that there was.

        Args: request: what makes two requests the same, path and body.
        Raises: InvalidRequest: the key is no key, or came with another request before.  IdempotencyConflict: an earlier request
            is under way, or was charged and its answer was not kept.  NotReady: the database is away.
        """
        if not 0 < len(idempotency_key) <= KEY_CHARACTERS_MAX:
            raise InvalidRequest(f"an Idempotency-Key has 1 to {KEY_CHARACTERS_MAX} characters", param="Idempotency-Key")
        key_hash, request_hash = hashlib.sha256(idempotency_key).digest(), hashlib.sha256(request).digest()
        try:
            claimed, held = await self._in_time(
                self._claimed(
                    caller.api_key_id, key_hash,
                    request_hash=request_hash, request_id=request_id, started_at=started_at, lease_s=self._lease_s,
                )
            )  # fmt: skip
        except _AWAY as error:
            raise NotReady("the database that knows Idempotency-Keys cannot be reached", retry_after_s=1) from error
        if claimed or held is None:
            return Claim(caller.api_key_id, key_hash, request_id, caller.answers_kept_s)
        if held.request_hash != request_hash:
            raise InvalidRequest("this Idempotency-Key came with another request before: use a new one", param="Idempotency-Key")
        if held.finished and held.answer is not None:
            return Replay(held.request_id, held.model_id, held.answer)
        if held.finished or held.expired:
            was = "was charged" if held.finished else "was charged, or what its router wrote has not been read yet"
            raise IdempotencyConflict(
                f"request {held.request_id} with this Idempotency-Key {was}, and its answer is not kept; {_why(caller)}"
            )
        raise IdempotencyConflict(f"request {held.request_id} with this Idempotency-Key is under way", retry_after_s=1)

    async def finish(self, claim: Claim, *, model_id: int | None, answer: bytes | None) -> None:
        """The request was charged. Before its client has the last byte; a database that is away delays no answer."""
        claim.done = True
        kept = answer if claim.kept_s and answer is not None and len(answer) <= ANSWER_BYTES_MAX else None
        try:
            await self._in_time(
                self._done(
                    idempotent_answers.finish, claim, model_id=model_id, answer=kept, answer_s=claim.kept_s, key_s=KEPT_S_MIN
                )
            )
        except _AWAY as error:  # the key stays held until its lease ends, and then the row says that it was charged
            _LOG.warning("an Idempotency-Key could not be finished", extra={"error": type(error).__name__})

    async def release(self, claim: Claim) -> None:
        """The request was not charged."""
        claim.done = True
        try:
            await self._in_time(self._done(idempotent_answers.release, claim))
        except _AWAY as error:  # it is free when its lease ends
            _LOG.warning("an Idempotency-Key could not be given back", extra={"error": type(error).__name__})

    async def _claimed(self, api_key_id: int, key_hash: bytes, **request: Any) -> tuple[bool, IdempotentAnswer | None]:
        async with self._connect() as conn:
            claimed = await idempotent_answers.claim(conn, api_key_id, key_hash, **request)
            return claimed, None if claimed else await idempotent_answers.find(conn, api_key_id, key_hash)

    async def _done(self, query: Callable[..., Coroutine[Any, Any, None]], claim: Claim, **values: Any) -> None:
        async with self._connect() as conn:
            await query(conn, claim.api_key_id, claim.key_hash, claim.request_id, **values)

    async def _in_time(self, work: Coroutine[Any, Any, Result]) -> Result:
        """What a query has found. Raises: TimeoutError: it is cancelled, and what it had done is undone."""
        task = asyncio.create_task(work)
        try:
            await asyncio.wait({task}, timeout=DATABASE_S_MAX)
        finally:
            if not task.done():
                task.cancel()
                self._given_up.add(task)
                task.add_done_callback(self._forget)
        if not task.done():
            raise TimeoutError
        return task.result()

    def _forget(self, task: asyncio.Task[Any]) -> None:
        self._given_up.discard(task)
        if not task.cancelled():
            task.exception()  # else asyncio says that nobody has asked for it

    async def run(self) -> None:
        """Remove what has expired, now and then."""
        while True:
            await asyncio.sleep(SWEEP_S)
            try:
                async with self._connect() as conn:
                    for sweep in (idempotent_answers.forget_answers, idempotent_answers.remove_expired):
                        while await sweep(conn, SWEPT_ROWS_MAX) == SWEPT_ROWS_MAX:
                            pass
            except _AWAY as error:
                _LOG.warning("expired Idempotency-Keys could not be removed", extra={"error": type(error).__name__})


def _why(caller: Caller) -> str:
    """What could be done, or that nothing could."""
    if not caller.answers_kept_s:
        return "an organization's admin can have answers kept (answers_kept_s)"
    return (
        f"this organization keeps whole answers of at most {ANSWER_BYTES_MAX} bytes for {caller.answers_kept_s} s"
        " (answers_kept_s), and no streams"
    )
