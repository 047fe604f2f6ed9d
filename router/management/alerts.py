"""`/v1/organization/alerts` and `/deliveries`: what an organization was told of, who gets mail, what came of each delivery."""

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import Depends, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from router.management.access import Access, Needs
from router.management.changes import Conflict, IfMatch, changing, check_version, tell_version
from router.management.fields import Email, PathId
from router.management.pages import Listed, Paged
from router.routes import routes
from warehouse.access import outbox, webhooks
from warehouse.access.outbox import Delivery, Event
from warehouse.access.webhooks import Recipients
from warehouse.base.errors import NotFound

router = routes("alerts", "/organization")
EMAILS_MAX = 20
Role = Literal["owner", "admin", "billing", "member", "auditor"]
Status = Literal["waiting", "delivered", "failed"]
Id = Annotated[str | None, Query(max_length=64)]


class DeliveryCounts(BaseModel):
    """How many of an event's deliveries stand where."""

    waiting: int
    delivered: int
    failed: int


class AlertShape(BaseModel):
    """Something that the organization was told of; `data` is as in the body of its webhooks."""

    object: Literal["organization.alert"] = "organization.alert"
    id: str
    type: str
    data: dict[str, Any]
    created_at: int
    deliveries: DeliveryCounts

    @classmethod
    def of(cls, row: Event) -> "AlertShape":
        """The shape of a row."""
        counts = DeliveryCounts(waiting=row.waiting, delivered=row.delivered, failed=row.failed)
        created = int(row.created_at.timestamp())
        return cls(id=row.public_id, type=row.event_type, data=row.data, created_at=created, deliveries=counts)


class DeliveryShape(BaseModel):
    """An event on its way to one receiver: `webhook_id` or `email`. `next_try_at` is null once it is delivered or has failed."""

    object: Literal["organization.delivery"] = "organization.delivery"
    id: str
    event_id: str
    event_type: str
    webhook_id: str | None
    email: str | None
    status: Status
    tries: int
    next_try_at: int | None
    tried_at: int | None
    delivered_at: int | None
    http_status: int | None
    error: str | None
    created_at: int

    @classmethod
    def of(cls, row: Delivery) -> "DeliveryShape":
        """The shape of a row."""
        return cls(
            id=row.public_id,
            event_id=row.event,
            event_type=row.event_type,
            webhook_id=row.webhook,
            email=row.email,
            status=row.status,  # type: ignore[arg-type]  # the column is checked
            tries=row.tries,
            next_try_at=_seconds(row.next_try_at) if row.status == "waiting" else None,
            tried_at=_seconds(row.tried_at),
            delivered_at=_seconds(row.delivered_at),
            http_status=row.http_status,
            error=row.error,
            created_at=int(row.created_at.timestamp()),
        )


class RecipientsShape(BaseModel):
    """Who gets mail: members with one of the roles, and further addresses."""

    object: Literal["organization.alert_recipients"] = "organization.alert_recipients"
    roles: list[str]
    emails: list[str]
    version: int

    @classmethod
    def of(cls, row: Recipients) -> "RecipientsShape":
        """The shape of a row."""
        return cls(roles=row.roles, emails=row.emails, version=row.version)


class RecipientsChange(BaseModel):
    """What is left out stays; an empty list is nobody."""

    model_config = ConfigDict(extra="forbid")
    roles: Annotated[list[Role], Field(max_length=5)] | None = None
    emails: Annotated[list[Email], Field(max_length=EMAILS_MAX)] | None = None


@router.get("/alerts", response_model=Listed[AlertShape])
async def list_alerts(
    access: Annotated[Access, Depends(Needs("webhooks.read"))],
    window: Paged,
    *,
    type_: Annotated[str | None, Query(alias="type", max_length=64)] = None,
) -> Listed[AlertShape]:
    """What the organization was told of, the newest first; kept for 90 days."""
    async with access.transaction() as conn:
        rows = await outbox.events(
            conn, access.org.id, event_type=type_, **await window.values(conn, "events", org_id=access.org.id)
        )
    return window.page([AlertShape.of(row) for row in rows], [row.public_id for row in rows])


@router.get("/alerts/recipients", response_model=RecipientsShape)
async def get_recipients(response: Response, access: Annotated[Access, Depends(Needs("webhooks.read"))]) -> RecipientsShape:
    """Who gets mail: owners and billing users, unless the organization has said something else."""
    async with access.transaction() as conn:
        row = await webhooks.recipients(conn, access.org.id)
    tell_version(response, row.version)
    return RecipientsShape.of(row)


@router.post("/alerts/recipients", response_model=RecipientsShape)
async def update_recipients(
    body: RecipientsChange,
    response: Response,
    access: Annotated[Access, Depends(Needs("webhooks.write"))],
    if_match: IfMatch = None,
) -> RecipientsShape:
    """Say who gets mail of what happens from now on. Raises: VersionChanged."""
    async with changing(access) as change:
        await webhooks.count(change.conn, access.org.id)  # locks: a first row cannot be locked before it is there
        before = await webhooks.recipients(change.conn, access.org.id)
        check_version(if_match, before.version)
        roles = before.roles if body.roles is None else sorted(set(body.roles))
        emails = before.emails if body.emails is None else sorted({email.lower() for email in body.emails})
        row = await webhooks.put_recipients(change.conn, access.org.id, list(roles), emails)
        was, now = RecipientsShape.of(before), RecipientsShape.of(row)
        await change.record("alert_recipients.updated", access.org.public_id, before=was, after=now)
    tell_version(response, row.version)
    return now


@router.get("/deliveries", response_model=Listed[DeliveryShape])
async def list_deliveries(
    access: Annotated[Access, Depends(Needs("webhooks.read"))],
    window: Paged,
    *,
    status: Status | None = None,
    webhook_id: Id = None,
    event_id: Id = None,
) -> Listed[DeliveryShape]:
    """Deliveries, the newest first; kept as long as their event."""
    filters = {"status": status, "webhook": webhook_id, "event": event_id}
    async with access.transaction() as conn:
        rows = await outbox.deliveries(
            conn, access.org.id, **await window.values(conn, "deliveries", org_id=access.org.id), **filters
        )
    return window.page([DeliveryShape.of(row) for row in rows], [row.public_id for row in rows])


@router.post("/deliveries/{delivery_id}/resend", response_model=DeliveryShape)
async def resend_delivery(delivery_id: PathId, access: Annotated[Access, Depends(Needs("webhooks.write"))]) -> DeliveryShape:
    """Send it again, whether it failed or was delivered; it has all its tries once more. Raises: NotFound, Conflict."""
    async with changing(access) as change:
        before = await outbox.lock_delivery(change.conn, access.org.id, delivery_id)
        if before is None:
            raise NotFound("there is no such delivery in this organization", param="delivery_id")
        if before.status == "waiting" and before.tries == 0:
            raise Conflict("it is waiting for its first try: it needs no other one")
        row = await outbox.resend(change.conn, access.org.id, delivery_id)
        await change.record("delivery.resent", delivery_id, before={"status": before.status, "tries": before.tries})
    return DeliveryShape.of(row)


def _seconds(at: datetime | None) -> int | None:
    return int(at.timestamp()) if at else None
