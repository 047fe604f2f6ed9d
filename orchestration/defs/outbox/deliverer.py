"""Deliveries that are due, tried once each, and what came of it noted: at least once, whatever dies."""

import asyncio
import random
import ssl
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field

import orjson
import psycopg

from orchestration.defs.outbox import mail
from orchestration.defs.outbox.mail import MailServer
from orchestration.defs.outbox.webhook import post
from warehouse.access import outbox
from warehouse.access.outbox import Due, Tried
from warehouse.base.clock import now
from warehouse.identity.networks import Network
from warehouse.identity.webhooks import secret_of, signature

BATCH_MAX = 50
OF_ORGANIZATION_MAX = 10  # in one batch: one organization's dead receivers do not keep another's alerts waiting
DELIVERING_S_MAX = 8.0  # then no further batch is begun: Dagster gives a sensor 60 s, and a batch takes at most 35
LEASE_S = 120.0  # longer than a batch takes
PAUSES_S = (5, 30, 120, 600, 3600, 3 * 3600, 6 * 3600, 12 * 3600)
"""After each try that failed; after the last of them there is one more try, 23 h after the first."""
Connect = Callable[[], AbstractContextManager[psycopg.Connection]]


@dataclass(frozen=True, slots=True)
class Outlet:
    """What delivering needs. `networks`: where webhooks may go beside the internet. Without `mail_server` no mail is sent."""

    key: bytes = field(repr=False)
    networks: Sequence[Network] = ()
    mail_server: MailServer | None = None


def deliver_due(connect: Connect, outlet: Outlet, *, retries: bool | None = None) -> Counter[str]:
    """Try everything that is due, in batches, for some seconds; {status: deliveries} of what came of it.

    Args: retries: only what was tried before, or only what was not; None: both.

    Each batch is taken in one transaction and noted in another one; between them nothing is locked. If the process dies there,
    the batch is due again after LEASE_S, so a receiver may see an event twice, with the same id.
    """
    done: Counter[str] = Counter()
    until = time.monotonic() + DELIVERING_S_MAX
    while time.monotonic() < until:
        with connect() as conn:
            batch = outbox.claim(
                conn, rows_max=BATCH_MAX, of_organization_max=OF_ORGANIZATION_MAX, lease_s=LEASE_S, retries=retries
            )
        if not batch:
            break
        results = asyncio.run(_try_all(batch, outlet))
        with connect() as conn:
            for due, tried in zip(batch, results, strict=True):
                done[outbox.note(conn, due, tried, pause_after(due.tries))] += 1
    return done


def pause_after(tries: int) -> float | None:
    """Seconds until the next try, give or take a tenth, or None where that was the last one."""
    if tries > len(PAUSES_S):
        return None
    return PAUSES_S[tries - 1] * random.uniform(0.9, 1.1)


async def _try_all(batch: Sequence[Due], outlet: Outlet) -> list[Tried]:
    """In the order of the batch: webhooks at once, mails one after the other."""
    mails = [due for due in batch if due.email is not None]
    tls = ssl.create_default_context()
    sending = asyncio.create_task(asyncio.to_thread(_send_mails, mails, outlet.mail_server))
    posted = await asyncio.gather(*(_post(due, outlet, tls) for due in batch if due.email is None))
    of_mails, of_webhooks = iter(await sending), iter(posted)
    return [next(of_webhooks) if due.email is None else next(of_mails) for due in batch]


def _send_mails(mails: Sequence[Due], server: MailServer | None) -> list[Tried]:
    if not mails:
        return []
    if server is None:
        return [Tried("no mail server is set: ORCHESTRATION_SMTP_HOST", final=True)] * len(mails)
    written, results = {}, {}
    for due in mails:
        try:
            written[due.id] = mail.message_of(due, server.sender)
        except Exception as error:  # noqa: BLE001 - an event, or an address, of a wrong shape must not keep the others waiting
            results[due.id] = Tried(f"no mail can be written of it: {type(error).__name__}", final=True)
    results |= dict(zip(written, mail.send(server, list(written.values())), strict=True))
    return [results[due.id] for due in mails]


async def _post(due: Due, outlet: Outlet, tls: ssl.SSLContext) -> Tried:
    if not due.wanted:
        return Tried("the webhook was turned off or taken away", final=True)
    assert due.url is not None
    assert due.webhook is not None
    assert due.secret_serial is not None
    sent_at = now()
    serials = [due.secret_serial]
    if due.previous_secret_until is not None and sent_at < due.previous_secret_until:
        serials.append(due.secret_serial - 1)
    body = body_of(due)
    headers = {
        "content-type": "application/json",
        "user-agent": "inferhouse-webhooks",
        "webhook-id": due.event,
        "webhook-timestamp": str(int(sent_at.timestamp())),
        "webhook-signature": signature(
            [secret_of(outlet.key, due.webhook, serial) for serial in serials], due.event, sent_at, body
        ),
    }
    return await post(due.url, headers, body, networks=outlet.networks, tls=tls)


def body_of(due: Due) -> bytes:
    """What a webhook is sent: the same bytes at every try."""
    return orjson.dumps({"id": due.event, "type": due.event_type, "timestamp": due.event_at.isoformat(), "data": due.data})
