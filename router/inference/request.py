"""One request under way: who sends it, when, and what is known of it so far."""

import asyncio
import contextlib
from collections.abc import Iterator, Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from router.inference.admission import END_USER_CHARACTERS_MAX, ClientGone, plain
from router.inference.auth import Caller
from router.inference.exchange import Exchange
from router.inference.idempotency import Claim
from router.inference.reservations.account import Hold
from router.inference.server import ClientCall
from router.inference.shapes import Call
from warehouse.access import usage_rows
from warehouse.access.catalogue import Price
from warehouse.access.usage_rows import UsageEvent
from warehouse.base.clock import monotonic_us


class Request(msgspec.Struct, eq=False):
    """One request, from the caller's key to its last row."""

    endpoint: str
    client: ClientCall
    caller: Caller
    life: int
    """What its rows have in `router_life`, as far as is known when they begin."""
    id: UUID
    started_at: datetime
    started_us: int
    call: Call | None = None
    tags: dict[str, str] | None = None
    attempts: int = 0
    tried: set[int] = msgspec.field(default_factory=set)
    exchange: Exchange | None = None
    queued: "asyncio.Task[None] | None" = None
    """The request's task, while it waits for a budget, an engine, a connection or the pause before another attempt."""
    queue_us: int | None = None
    """What it has waited for engines with room until now: a request whose attempt has failed may wait a second time."""
    waited_us: int = 0
    """Of its time, what was not the router's own: for a place at an engine, a connection, a pause, an engine that failed it."""
    claim: Claim | None = None
    hold: Hold | None = None
    prices: Sequence[Price] = ()
    """Of which one will price it, of the model with the id `priced_model_id`."""
    priced_model_id: int | None = None
    output_tokens_max: int | None = None
    """What the router sets where the client has set no cap."""
    charged: bool = False
    client_gone: bool = False

    def leave(self) -> None:
        """The client is gone, and with it the reason to go on; an answer that is kept is waited for all the same."""
        self.client_gone = True
        if self.queued is not None:
            self.queued.cancel()
        elif self.exchange is not None and not self.is_kept:
            self.exchange.leave()

    @contextlib.contextmanager
    def waiting(self, *, is_own: bool) -> Iterator[None]:
        """Meanwhile a client that leaves ends the wait. Raises: ClientGone. Args: is_own: it is for the router itself."""
        self.queued, began_us = asyncio.current_task(), monotonic_us()
        try:
            yield
        except asyncio.CancelledError:
            if not self.client_gone:
                raise
            raise ClientGone from None
        finally:
            self.queued = None
            if not is_own:
                self.waited_us += monotonic_us() - began_us

    @property
    def is_kept(self) -> bool:
        """Whether its answer is stored for whoever asks again, so that it is worth having without the client."""
        return self.claim is not None and bool(self.claim.kept_s) and self.call is not None and not self.call.stream

    def row(self) -> UsageEvent:
        """The row of this attempt before anything has happened: what it is if this process dies now."""
        call, caller = self.call, self.caller
        row = usage_rows.new(self.id, self.attempts, self.started_at)
        row.org_id, row.project_id, row.api_key_id = caller.org_id, caller.project_id, caller.api_key_id
        row.user_id, row.service_account_id = caller.user_id, caller.service_account_id
        row.endpoint, row.router_life, row.tags, row.queue_us = self.endpoint, self.life, self.tags, self.queue_us
        if call is not None:
            row.stream = call.stream
            if call.end_user:
                row.end_user = plain(call.end_user, END_USER_CHARACTERS_MAX)
        traceparent = self.client.headers.get(b"traceparent")
        if traceparent is not None:
            row.trace_id = _trace_id(traceparent)
        return row


def _trace_id(traceparent: bytes) -> UUID | None:
    """The trace id of a W3C `traceparent` header (version-traceid-parentid-flags), None where there is none."""
    if len(traceparent) < 55:
        return None
    try:
        return UUID(hex=traceparent[3:35].decode())
    except ValueError:
        return None
