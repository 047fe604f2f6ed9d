"""`/v1/organization/projects/{project_id}/api_keys`: OpenAI's shapes, and creating, changing and rotating in their style.

Source: the Project API keys section of OpenAI's API reference. A key is shown once, in the answer that makes it.
"""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

from fastapi import Depends, Path, Query, Request, Response
from psycopg import AsyncConnection
from pydantic import BaseModel, ConfigDict, Field

from router.management.access import Access, NeedsInProject
from router.management.changes import (
    Changing,
    Conflict,
    IdempotencyKey,
    IfMatch,
    changing,
    check_version,
    creating,
    tell_version,
)
from router.management.key_rules import (
    GRACE_S_MAX,
    Choices,
    Cidrs,
    Effective,
    Instant,
    Models,
    Name,
    OutputTokens,
    check,
    check_count,
    check_scopes,
    instant,
    last_day,
    networks,
)
from router.management.pages import Listed, Paged
from router.routes import routes
from warehouse.access import api_keys
from warehouse.access.api_keys import Caps, Home, KeyRow, NewKey
from warehouse.base.errors import InvalidRequest, NotFound
from warehouse.identity.keys import ApiKeySecret

router = routes("api keys", "/organization/projects/{project_id}/api_keys")
KEY = "key_"
SECRETS = frozenset({"value"})
KeyId = Annotated[str, Path(max_length=64, description="`key_…`, as lists show it.")]
OwnerId = Annotated[str | None, Field(min_length=1, max_length=64, pattern=r"^[0-9A-Za-z_-]+$")]


@dataclass(frozen=True, slots=True)
class Minted:
    """A new key, and the one time that it is whole."""

    row: KeyRow
    secret: str = field(repr=False)


async def mint(change: Changing, key: NewKey, *, kind: api_keys.Kind = "inference") -> Minted:
    """A new key of the project, organization or platform that the caller's path is about, with its audit entry.

    Nothing is checked but rights and caps; `user_id` and `service_account_id` are the caller's to have looked up.
    Raises: NotAllowed: more rights than the caller has.  InvalidRequest: an unknown model, or a cap of the organization.
        Conflict: the project is archived.
    """
    access, now = change.access, datetime.now(UTC)
    home = home_of(access, kind)
    if kind == "inference":
        if access.in_project.archived_at is not None:
            raise Conflict("this project is archived: it gets no new keys", param="project_id")
        caps = await api_keys.caps(change.conn, access.org.id)
        key = replace(key, expires_at=key.expires_at or last_day(access, caps))
        in_service = await api_keys.names_in_service(change.conn, access.org.id)
        check(access, key, caps, in_service, since=now + timedelta(minutes=1))
        if key.user_id is not None:
            check_count(access, caps, await api_keys.count_of_member(change.conn, access.org.id, key.user_id))
    else:
        check_scopes(access, key.scopes, admin=True)
    made = ApiKeySecret.generate()
    key = replace(key, created_by=key.created_by or access.principal.public_id)
    row = await api_keys.add(change.conn, home, made.public_id, made.hash(access.state.key_pepper), key)
    await change.record("api_key.created", KEY + row.public_id, after=told(row))
    return Minted(row, made.reveal())


def home_of(access: Access, kind: api_keys.Kind) -> Home:
    """Where the keys of a route are."""
    if kind == "platform":
        return Home(kind)
    return Home(kind, access.org.id, access.in_project.id if kind == "inference" else None)


def told(row: KeyRow) -> dict[str, Any]:
    """What the audit log says of a key."""
    return {
        "name": row.name,
        "kind": row.kind,
        "scopes": row.scopes,
        "models": row.models,
        "cidrs": row.cidrs,
        "choices_max": row.choices_max,
        "output_tokens_max": row.output_tokens_max,
        "expires_at": seconds(row.expires_at),
        "rotated_at": seconds(row.rotated_at),
        "previous_secret_until": seconds(row.previous_secret_until),
        "revoked_at": seconds(row.revoked_at),
        "user_id": row.user_public_id,
        "service_account_id": row.service_account_public_id,
    }


def seconds(at: datetime | None) -> int | None:
    """Unix seconds of an instant."""
    return int(at.timestamp()) if at else None


def redacted(row: KeyRow) -> str:
    """What of a key may be shown for ever: its public part."""
    return f"sk-ih-{row.public_id}-…"


class OwnerUser(BaseModel):
    """The user whose key it is."""

    object: Literal["organization.project.user"] = "organization.project.user"
    id: str
    name: str
    email: str
    role: str | None = Field(description="In the project, or in the organization where the user has none in the project.")
    created_at: int


class OwnerServiceAccount(BaseModel):
    """The service account whose key it is."""

    object: Literal["organization.project.service_account"] = "organization.project.service_account"
    id: str
    name: str
    role: str
    created_at: int


class Owner(BaseModel):
    """Whose key it is; both may be null for a key that was made with the installation."""

    type: Literal["user", "service_account"]
    user: OwnerUser | None = None
    service_account: OwnerServiceAccount | None = None

    @classmethod
    def of(cls, row: KeyRow) -> "Owner":
        """The owner of a key."""
        if row.service_account_public_id is not None:
            assert row.service_account_name is not None
            assert row.service_account_role is not None
            assert row.service_account_created_at is not None
            account = OwnerServiceAccount(
                id=row.service_account_public_id,
                name=row.service_account_name,
                role=row.service_account_role,
                created_at=int(row.service_account_created_at.timestamp()),
            )
            return cls(type="service_account", service_account=account)
        if row.user_public_id is None:
            return cls(type="user")
        assert row.user_created_at is not None
        user = OwnerUser(
            id=row.user_public_id,
            name=row.user_name or "",
            email=row.user_email or "",
            role=row.user_role,
            created_at=int(row.user_created_at.timestamp()),
        )
        return cls(type="user", user=user)


Status = Literal[
    "active", "revoked", "expired", "organization_suspended", "project_archived", "user_disabled", "user_removed",
    "service_account_deleted",
]  # fmt: skip


class KeyShape(BaseModel):
    """A key as the API shows it; instants are Unix seconds."""

    object: Literal["organization.project.api_key"] = "organization.project.api_key"
    id: str
    redacted_value: str
    name: str
    created_at: int
    last_used_at: int | None = Field(description="To the minute.")
    owner: Owner
    project_id: str
    scopes: list[str]
    models: list[str] | None
    cidrs: list[str] | None
    choices_max: int | None
    output_tokens_max: int | None
    expires_at: int | None
    revoked_at: int | None
    rotated_at: int | None
    previous_secret_until: int | None = Field(description="Until then the secret before the last rotation works too.")
    created_by: str | None
    status: Status = Field(description="`active`, or why it does not work.")
    effective: Effective
    version: int

    @classmethod
    def of(cls, row: KeyRow, caps: Caps, in_service: frozenset[str]) -> "KeyShape":
        """The shape of a row, under the policy of its organization."""
        return cls(
            id=KEY + row.public_id,
            redacted_value=redacted(row),
            name=row.name,
            created_at=int(row.created_at.timestamp()),
            last_used_at=seconds(row.last_used_at),
            owner=Owner.of(row),
            project_id=row.project or "",
            scopes=row.scopes,
            models=row.models,
            cidrs=row.cidrs,
            choices_max=row.choices_max,
            output_tokens_max=row.output_tokens_max,
            expires_at=seconds(row.expires_at),
            revoked_at=seconds(row.revoked_at),
            rotated_at=seconds(row.rotated_at),
            previous_secret_until=seconds(row.previous_secret_until),
            created_by=row.created_by,
            status=row.status,  # type: ignore[arg-type]  # the query's words are the literals
            effective=Effective.of(row, caps, in_service),
            version=row.version,
        )


class MintedKeyShape(KeyShape):
    """A key with its secret: the only answer that has it."""

    value: str | None = Field(description="The key. Keep it now: it is not shown again, and null where a create is repeated.")


class KeyDeleted(BaseModel):
    """The answer to a revocation."""

    object: Literal["organization.project.api_key.deleted"] = "organization.project.api_key.deleted"
    id: str
    deleted: Literal[True] = True


class KeyBody(BaseModel):
    """What a key is made of."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True)
    name: Name
    scopes: list[Literal["inference", "usage.read", "admin"]] = Field(default=["inference"], min_length=1, max_length=3)
    models: Models | None = None
    cidrs: Cidrs | None = None
    choices_max: Choices | None = None
    output_tokens_max: OutputTokens | None = None
    expires_at: Instant | None = None
    service_account_id: OwnerId = Field(default=None, description="For this service account instead of for oneself.")


class KeyChange(BaseModel):
    """What of a key is changed; what is not named stays, null takes a list or an end away."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True)
    name: Name | None = None
    scopes: Annotated[list[Literal["inference", "usage.read", "admin"]], Field(min_length=1, max_length=3)] | None = None
    models: Models | None = None
    cidrs: Cidrs | None = None
    choices_max: Choices | None = None
    output_tokens_max: OutputTokens | None = None
    expires_at: Instant | None = None


class Rotation(BaseModel):
    """How a key is rotated."""

    model_config = ConfigDict(extra="forbid")
    grace_seconds: int = Field(
        default=0,
        ge=0,
        le=GRACE_S_MAX,
        strict=True,
        description="For so long the secret before works too: time to replace it everywhere.",
    )


@router.get("", response_model=Listed[KeyShape])
async def list_project_api_keys(
    access: Annotated[Access, Depends(NeedsInProject("api_keys.read"))],
    window: Paged,
    owner: Annotated[Literal["user", "service_account"] | None, Query(description="Only keys of users, or of accounts.")] = None,
    owner_id: Annotated[OwnerId, Query(description="Only keys of this user or service account.")] = None,
    include_revoked: Annotated[bool, Query()] = False,
) -> Listed[KeyShape]:
    """Keys of a project by age; members see their own."""
    home = home_of(access, "inference")
    async with access.transaction() as conn:
        ids = {"user_id": access.own_user_id, "service_account_id": None}
        if owner_id is not None:
            found = await api_keys.find_owner(conn, access.org.id, access.in_project.id, owner_id)
            wanted = {name: id_ for name, id_ in found.items() if id_ is not None}
            if not wanted or access.own_user_id not in {None, wanted.get("user_id")}:
                return window.page([], [])
            ids |= wanted
        rows = await api_keys.page(
            conn, home, **await page_values(conn, window, home), **ids, owner=owner, include_revoked=include_revoked
        )
        shapes = await _shapes(conn, access, rows)
    return window.page(shapes, [shape.id for shape in shapes])


async def page_values(conn: AsyncConnection, window: Paged, home: Home) -> dict[str, object]:
    """The window for a query of keys. Raises: InvalidRequest."""
    return await window.values(conn, "api_keys", prefix=KEY, **home.values)


async def _shapes(conn: AsyncConnection, access: Access, rows: list[KeyRow]) -> list[KeyShape]:
    caps, in_service = await _bounds(conn, access)
    return [KeyShape.of(row, caps, in_service) for row in rows]


async def _bounds(conn: AsyncConnection, access: Access) -> tuple[Caps, frozenset[str]]:
    """(the organization's policy, names of models and aliases that there are for it)."""
    return await api_keys.caps(conn, access.org.id), await api_keys.names_in_service(conn, access.org.id)


@router.post("", response_model=MintedKeyShape)
async def create_project_api_key(
    body: KeyBody,
    request: Request,
    access: Annotated[Access, Depends(NeedsInProject("api_keys.create"))],
    idempotency_key: IdempotencyKey = None,
) -> MintedKeyShape | dict[str, Any]:
    """A new key for the caller, or for a service account. Raises: NotAllowed, InvalidRequest, NotFound, Conflict."""
    async with creating(access, request, body, idempotency_key) as creation:
        if creation.known is not None:
            return creation.known
        user_id, account_id = await _owner(creation.changing, body.service_account_id)
        key = NewKey(
            name=body.name,
            scopes=sorted(set(body.scopes)),
            user_id=user_id,
            service_account_id=account_id,
            models=body.models and sorted(set(body.models)),
            cidrs=networks(body.cidrs),
            choices_max=body.choices_max,
            output_tokens_max=body.output_tokens_max,
            expires_at=instant(body.expires_at),
        )
        minted = await mint(creation.changing, key)
        shape = await minted_shape(creation.conn, access, minted)
        await creation.keep(shape, secrets=SECRETS)
        return shape


async def minted_shape(conn: AsyncConnection, access: Access, minted: Minted) -> MintedKeyShape:
    """The answer that has the secret."""
    (shape,) = await _shapes(conn, access, [minted.row])
    return MintedKeyShape(**shape.model_dump(), value=minted.secret)


async def _owner(change: Changing, service_account: str | None) -> tuple[int | None, int | None]:
    """(user id, service account id) of a new key. Raises: NotAllowed, NotFound, InvalidRequest."""
    access = change.access
    if service_account is None:
        if access.principal.user_id is None:
            raise InvalidRequest(
                f"a {access.principal.kind} is nobody to make a key for: name a service account", param="service_account_id"
            )
        return access.principal.user_id, None
    access.require("api_keys.create")
    access.require("service_accounts.write")
    found = await api_keys.find_owner(change.conn, access.org.id, access.in_project.id, service_account)
    if found["service_account_id"] is None:
        raise NotFound("this project has no such service account", param="service_account_id")
    return None, found["service_account_id"]


@router.get("/{key_id}", response_model=KeyShape)
async def get_project_api_key(
    key_id: KeyId, response: Response, access: Annotated[Access, Depends(NeedsInProject("api_keys.read"))]
) -> KeyShape:
    """One key that is not revoked. Raises: NotFound, NotAllowed (it is somebody else's)."""
    async with access.transaction() as conn:
        row = check_there(await _find(conn, access, key_id, "api_keys.read"))
        (shape,) = await _shapes(conn, access, [row])
    tell_version(response, row.version)
    return shape


async def _find(conn: AsyncConnection, access: Access, key_id: str, permission: str, *, lock: bool = False) -> KeyRow:
    row = await find_key(conn, home_of(access, "inference"), key_id, lock=lock)
    access.require(permission, row.user_id)
    return row


def check_there(row: KeyRow) -> KeyRow:
    """Raises: NotFound: the key is revoked; lists show it to those who ask for revoked ones too."""
    if row.revoked_at is not None:
        raise NotFound("this key is revoked: lists show it with include_revoked=true", param="key_id")
    return row


async def find_key(conn: AsyncConnection, home: Home, key_id: str, *, lock: bool = False) -> KeyRow:
    """A key by the id that the API shows, revoked or not. Raises: NotFound."""
    row = await api_keys.find(conn, home, key_id.removeprefix(KEY), lock=lock) if key_id.startswith(KEY) else None
    if row is None:
        raise NotFound("there is no such key here", param="key_id")
    return row


@router.post("/{key_id}", response_model=KeyShape)
async def update_project_api_key(
    key_id: KeyId,
    body: KeyChange,
    response: Response,
    access: Annotated[Access, Depends(NeedsInProject("api_keys.write"))],
    if_match: IfMatch = None,
) -> KeyShape:
    """Change what is named. Raises: NotFound, NotAllowed, InvalidRequest, Conflict (it is revoked), VersionChanged."""
    async with changing(access) as change:
        before = await _find(change.conn, access, key_id, "api_keys.write", lock=True)
        check_version(if_match, before.version)
        _check_in_force(before)
        key = _changed(before, body)
        caps, in_service = await _bounds(change.conn, access)
        fields = frozenset(name for name in body.model_fields_set if getattr(key, name) != getattr(before, name))
        check(access, key, caps, in_service, since=before.rotated_at or before.created_at, fields=fields)
        if "expires_at" in fields and before.status == "expired" and before.user_id is not None:  # it comes back into force
            check_count(access, caps, await api_keys.count_of_member(change.conn, access.org.id, before.user_id))
        row = before
        if fields:
            row = await api_keys.change(change.conn, home_of(access, "inference"), before.id, key)
            await change.record("api_key.updated", key_id, before=told(before), after=told(row))
    tell_version(response, row.version)
    return KeyShape.of(row, caps, in_service)


def _check_in_force(row: KeyRow) -> None:
    if row.revoked_at is not None:
        raise Conflict("this key is revoked: it cannot be changed any more, make a new one", param="key_id")


def _changed(row: KeyRow, body: KeyChange) -> NewKey:
    """The key as it is to be."""
    named = body.model_fields_set
    return NewKey(
        name=body.name or row.name,
        scopes=sorted(set(body.scopes or row.scopes)),
        models=(body.models and sorted(set(body.models))) if "models" in named else row.models,
        cidrs=networks(body.cidrs) if "cidrs" in named else row.cidrs,
        choices_max=body.choices_max if "choices_max" in named else row.choices_max,
        output_tokens_max=body.output_tokens_max if "output_tokens_max" in named else row.output_tokens_max,
        expires_at=instant(body.expires_at) if "expires_at" in named else row.expires_at,
    )


@router.post("/{key_id}/rotate", response_model=MintedKeyShape)
async def rotate_project_api_key(
    key_id: KeyId,
    body: Rotation,
    response: Response,
    access: Annotated[Access, Depends(NeedsInProject("api_keys.write"))],
    if_match: IfMatch = None,
) -> MintedKeyShape:
    """Another secret; id, limits, budgets and history stay. Raises: NotFound, NotAllowed, Conflict, VersionChanged."""
    async with changing(access) as change:
        before = await _find(change.conn, access, key_id, "api_keys.write", lock=True)
        check_version(if_match, before.version)
        _check_in_force(before)
        check_scopes(access, before.scopes)
        made = replace(ApiKeySecret.generate(), public_id=before.public_id)
        secret_hash = made.hash(access.state.key_pepper)
        row = await api_keys.rotate(change.conn, home_of(access, "inference"), before.id, secret_hash, body.grace_seconds)
        await change.record("api_key.rotated", key_id, before=told(before), after=told(row))
        shape = await minted_shape(change.conn, access, Minted(row, made.reveal()))
    tell_version(response, row.version)
    return shape


@router.delete("/{key_id}", response_model=KeyDeleted)
async def delete_project_api_key(
    key_id: KeyId, access: Annotated[Access, Depends(NeedsInProject("api_keys.write"))]
) -> KeyDeleted:
    """Revoke a key: within a second no router takes it. Its history stays. Raises: NotFound (also where it is revoked)."""
    async with changing(access) as change:
        before = await _find(change.conn, access, key_id, "api_keys.write", lock=True)
        await revoke(change, home_of(access, "inference"), before)
    return KeyDeleted(id=key_id)


async def revoke(change: Changing, home: Home, before: KeyRow) -> None:
    """End a key, with its audit entry. Raises: NotFound: it has ended."""
    row = await api_keys.revoke(change.conn, home, check_there(before).id)
    await change.record("api_key.deleted", KEY + before.public_id, before=told(before), after=told(row))
