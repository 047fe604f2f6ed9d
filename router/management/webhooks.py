"""`/v1/organization/webhooks`: where events are sent, signed as Standard Webhooks has it. A secret is shown once."""

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import Depends, Request, Response
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from router.management.access import Access, Needs
from router.management.changes import Conflict, IdempotencyKey, IfMatch, changing, check_version, creating, tell_version
from router.management.fields import PathId, Text
from router.management.pages import Listed, Paged
from router.routes import routes
from warehouse.access import outbox, webhooks
from warehouse.access.webhooks import Webhook
from warehouse.base.errors import NotFound
from warehouse.base.ids import public_id
from warehouse.identity.webhooks import check_url, secret_of, webhook_key

router = routes("webhooks", "/organization/webhooks")
WEBHOOKS_MAX = 20
EVENT_TYPES_MAX = 20
EVENT_TYPES = (
    "budget.exhausted", "budget.threshold_reached", "invoice.blocked", "invoice.finalized", "invoice.voided", "marts.late",
    "reconciliation.drift", "usage.anomaly", "webhook.test",
)  # fmt: skip
URL_CHARACTERS_MAX = 2000
GRACE_S_MAX = 7 * 24 * 3600


def _known_type(name: str) -> str:
    if name not in EVENT_TYPES:  # a slip would only be noticed by what nobody is told
        raise ValueError(f"there is no such type of event: {', '.join(EVENT_TYPES)}")
    return name


Url = Annotated[
    str,
    Field(
        min_length=8,
        max_length=URL_CHARACTERS_MAX,
        examples=["https://hooks.example.com/inferhouse"],
        description="An https:// address of the internet; other networks only where the operator has allowed them.",
    ),
    AfterValidator(check_url),
]
EventTypes = Annotated[
    list[
        Annotated[
            str,
            Field(max_length=64, pattern=r"^[a-z_]+(\.[a-z_]+)+$", examples=["budget.exhausted"]),
            AfterValidator(_known_type),
        ]
    ],
    Field(min_length=1, max_length=EVENT_TYPES_MAX, description="Types that it is told of; null is all, later ones too."),
]


class WebhookShape(BaseModel):
    """A webhook. `previous_secret_until`: until then the secret before the last rotation signs, too."""

    object: Literal["organization.webhook"] = "organization.webhook"
    id: str
    name: str
    url: str
    event_types: list[str] | None
    enabled: bool
    previous_secret_until: int | None
    created_at: int
    version: int

    @classmethod
    def of(cls, row: Webhook) -> "WebhookShape":
        """The shape of a row."""
        return cls(**_fields(row))


class WebhookWithSecret(WebhookShape):
    """A webhook and its newest secret, which is shown this once."""

    secret: str | None = Field(description="What signatures are checked with; null when a creation is repeated.")


class WebhookBody(BaseModel):
    """A new webhook."""

    model_config = ConfigDict(extra="forbid")
    name: Text
    url: Url
    event_types: EventTypes | None = None
    enabled: bool = True


class WebhookChange(BaseModel):
    """What is left out stays; `event_types` null is all types."""

    model_config = ConfigDict(extra="forbid")
    name: Text | None = None
    url: Url | None = None
    event_types: EventTypes | None = None
    enabled: bool | None = None


class SecretRotation(BaseModel):
    """How long the secret before signs, too."""

    model_config = ConfigDict(extra="forbid")
    grace_seconds: int = Field(default=24 * 3600, ge=0, le=GRACE_S_MAX, strict=True, description="0 where the secret has leaked.")


class WebhookDeleted(BaseModel):
    """A webhook that is sent nothing more."""

    object: Literal["organization.webhook.deleted"] = "organization.webhook.deleted"
    id: str
    deleted: Literal[True] = True


class TestSent(BaseModel):
    """A test event, under way. What came of it is among the deliveries of the event within seconds."""

    object: Literal["organization.webhook.test"] = "organization.webhook.test"
    webhook_id: str
    event_id: str


@router.get("", response_model=Listed[WebhookShape])
async def list_webhooks(access: Annotated[Access, Depends(Needs("webhooks.read"))], window: Paged) -> Listed[WebhookShape]:
    """Webhooks by age."""
    async with access.transaction() as conn:
        rows = await webhooks.page(conn, access.org.id, **await window.values(conn, "webhooks", org_id=access.org.id))
    return window.page([WebhookShape.of(row) for row in rows], [row.public_id for row in rows])


@router.post("", response_model=WebhookWithSecret)
async def create_webhook(
    body: WebhookBody,
    request: Request,
    access: Annotated[Access, Depends(Needs("webhooks.write"))],
    idempotency_key: IdempotencyKey = None,
) -> WebhookWithSecret | dict[str, Any]:
    """A new webhook, with its secret. Raises: Conflict: there are WEBHOOKS_MAX."""
    async with creating(access, request, body, idempotency_key) as creation:
        if creation.known is not None:
            return creation.known
        if await webhooks.count(creation.conn, access.org.id) >= WEBHOOKS_MAX:
            raise Conflict(f"an organization has at most {WEBHOOKS_MAX} webhooks: delete one first")
        row = await webhooks.add(creation.conn, access.org.id, public_id("webhook"), **body.model_dump())
        shape = _with_secret(access, row)
        await creation.changing.record("webhook.created", row.public_id, after=WebhookShape.of(row))
        await creation.keep(shape, secrets=frozenset({"secret"}))
        return shape


@router.get("/{webhook_id}", response_model=WebhookShape)
async def get_webhook(
    webhook_id: PathId, response: Response, access: Annotated[Access, Depends(Needs("webhooks.read"))]
) -> WebhookShape:
    """One webhook, without its secret."""
    async with access.transaction() as conn:
        row = _there(await webhooks.find(conn, access.org.id, webhook_id))
    tell_version(response, row.version)
    return WebhookShape.of(row)


@router.post("/{webhook_id}", response_model=WebhookShape)
async def update_webhook(
    webhook_id: PathId,
    body: WebhookChange,
    response: Response,
    access: Annotated[Access, Depends(Needs("webhooks.write"))],
    if_match: IfMatch = None,
) -> WebhookShape:
    """Change a webhook. What already waits for it goes to its new address. Raises: NotFound, VersionChanged."""
    async with changing(access) as change:
        before = _there(await webhooks.lock(change.conn, access.org.id, webhook_id))
        check_version(if_match, before.version)
        row = await webhooks.change(
            change.conn,
            access.org.id,
            webhook_id,
            name=body.name or before.name,
            url=body.url or before.url,
            event_types=body.event_types if "event_types" in body.model_fields_set else before.event_types,
            enabled=before.enabled if body.enabled is None else body.enabled,
        )
        now = WebhookShape.of(row)
        await change.record("webhook.updated", webhook_id, before=WebhookShape.of(before), after=now)
    tell_version(response, row.version)
    return now


@router.delete("/{webhook_id}", response_model=WebhookDeleted)
async def delete_webhook(
    webhook_id: PathId, access: Annotated[Access, Depends(Needs("webhooks.write"))], if_match: IfMatch = None
) -> WebhookDeleted:
    """Take a webhook away; what waits for it is not sent any more."""
    async with changing(access) as change:
        before = _there(await webhooks.lock(change.conn, access.org.id, webhook_id))
        check_version(if_match, before.version)
        await webhooks.remove(change.conn, access.org.id, webhook_id)
        await change.record("webhook.deleted", webhook_id, before=WebhookShape.of(before))
    return WebhookDeleted(id=webhook_id)


@router.post("/{webhook_id}/rotate", response_model=WebhookWithSecret)
async def rotate_webhook(
    webhook_id: PathId,
    body: SecretRotation,
    response: Response,
    access: Annotated[Access, Depends(Needs("webhooks.write"))],
    if_match: IfMatch = None,
) -> WebhookWithSecret:
    """Another secret, shown once; until the grace ends both sign. Raises: NotFound, VersionChanged."""
    async with changing(access) as change:
        before = _there(await webhooks.lock(change.conn, access.org.id, webhook_id))
        check_version(if_match, before.version)
        row = await webhooks.rotate(change.conn, access.org.id, webhook_id, body.grace_seconds)
        await change.record("webhook.rotated", webhook_id, before=WebhookShape.of(before), after=WebhookShape.of(row))
    tell_version(response, row.version)
    return _with_secret(access, row)


@router.post("/{webhook_id}/test", response_model=TestSent)
async def test_webhook(webhook_id: PathId, access: Annotated[Access, Depends(Needs("webhooks.write"))]) -> TestSent:
    """Send an event of type `webhook.test` to this webhook, turned off or not. Raises: NotFound."""
    async with changing(access) as change:
        row = _there(await webhooks.lock(change.conn, access.org.id, webhook_id))
        about, once = {"webhook_id": row.public_id}, public_id("test")
        event = await outbox.put_event(change.conn, access.org.id, "webhook.test", about, once, webhook_id=row.id)
        assert event is not None
        await change.record("webhook.tested", webhook_id, after={"event_id": event})
    return TestSent(webhook_id=webhook_id, event_id=event)


def _fields(row: Webhook) -> dict[str, Any]:
    return {
        "id": row.public_id,
        "name": row.name,
        "url": row.url,
        "event_types": row.event_types,
        "enabled": row.enabled,
        "previous_secret_until": _seconds(row.previous_secret_until),
        "created_at": int(row.created_at.timestamp()),
        "version": row.version,
    }


def _seconds(at: datetime | None) -> int | None:
    return int(at.timestamp()) if at else None


def _with_secret(access: Access, row: Webhook) -> WebhookWithSecret:
    secret = secret_of(webhook_key(access.state.key_pepper), row.public_id, row.secret_serial)
    return WebhookWithSecret(**_fields(row), secret=secret)


def _there(row: Webhook | None) -> Webhook:
    if row is None:
        raise NotFound("there is no such webhook in this organization", param="webhook_id")
    return row
