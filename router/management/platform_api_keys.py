"""`/v1/platform/api_keys`: keys of the whole installation, for platform admins."""

from typing import Annotated, Any, Literal

from fastapi import Depends, Query, Request
from pydantic import BaseModel, ConfigDict, Field

from router.management.access import Access, Needs
from router.management.admin_api_keys import AdminOwner
from router.management.api_keys import (
    KEY,
    SECRETS,
    KeyId,
    Minted,
    find_key,
    home_of,
    mint,
    page_values,
    redacted,
    revoke,
    seconds,
)
from router.management.changes import IdempotencyKey, changing, creating
from router.management.key_rules import Cidrs, Instant, Name, instant, networks
from router.management.pages import Listed, Paged
from router.routes import routes
from warehouse.access import api_keys
from warehouse.access.api_keys import KeyRow, NewKey

router = routes("platform api keys", "/platform/api_keys")


class PlatformKeyShape(BaseModel):
    """A platform key as the API shows it; instants are Unix seconds."""

    object: Literal["platform.api_key"] = "platform.api_key"
    id: str
    redacted_value: str
    name: str
    created_at: int
    last_used_at: int | None = Field(description="To the minute.")
    owner: AdminOwner | None = Field(description="Works while this user is a platform admin. Null for the installation's own.")
    cidrs: list[str] | None
    expires_at: int | None
    revoked_at: int | None
    created_by: str | None
    status: Literal["active", "revoked", "expired", "user_disabled", "user_removed"]
    version: int

    @classmethod
    def of(cls, row: KeyRow) -> "PlatformKeyShape":
        """The shape of a row."""
        owner = None
        if row.user_public_id is not None and row.user_created_at is not None:
            created_at = int(row.user_created_at.timestamp())
            owner = AdminOwner(id=row.user_public_id, name=row.user_name or "", created_at=created_at, role=None)
        return cls(
            id=KEY + row.public_id,
            redacted_value=redacted(row),
            name=row.name,
            created_at=int(row.created_at.timestamp()),
            last_used_at=seconds(row.last_used_at),
            owner=owner,
            cidrs=row.cidrs,
            expires_at=seconds(row.expires_at),
            revoked_at=seconds(row.revoked_at),
            created_by=row.created_by,
            status=row.status,  # type: ignore[arg-type]  # the query's words are the literals
            version=row.version,
        )


class MintedPlatformKeyShape(PlatformKeyShape):
    """A platform key with its secret: the only answer that has it."""

    value: str | None = Field(description="The key. Keep it now: it is not shown again, and null where a create is repeated.")

    @classmethod
    def minted(cls, minted: Minted) -> "MintedPlatformKeyShape":
        """The shape of a new key."""
        return cls(**PlatformKeyShape.of(minted.row).model_dump(), value=minted.secret)


class PlatformKeyDeleted(BaseModel):
    """The answer to a revocation."""

    object: Literal["platform.api_key.deleted"] = "platform.api_key.deleted"
    id: str
    deleted: Literal[True] = True


class PlatformKeyBody(BaseModel):
    """What a platform key is made of."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True)
    name: Name
    cidrs: Cidrs | None = None
    expires_at: Instant | None = None


@router.get("", response_model=Listed[PlatformKeyShape])
async def list_platform_api_keys(
    access: Annotated[Access, Depends(Needs("platform_keys.read"))],
    window: Paged,
    include_revoked: Annotated[bool, Query()] = False,
) -> Listed[PlatformKeyShape]:
    """Platform keys by age."""
    async with access.transaction() as conn:
        home = home_of(access, "platform")
        rows = await api_keys.page(conn, home, **await page_values(conn, window, home), include_revoked=include_revoked)
    return window.page([PlatformKeyShape.of(row) for row in rows], [KEY + row.public_id for row in rows])


@router.post("", response_model=MintedPlatformKeyShape)
async def create_platform_api_key(
    body: PlatformKeyBody,
    request: Request,
    access: Annotated[Access, Depends(Needs("platform_keys.write"))],
    idempotency_key: IdempotencyKey = None,
) -> MintedPlatformKeyShape | dict[str, Any]:
    """A new platform key, of the caller's or of the key's owner: it may do whatever platform admins may."""
    async with creating(access, request, body, idempotency_key) as creation:
        if creation.known is not None:
            return creation.known
        key = NewKey(
            name=body.name,
            scopes=["admin"],
            user_id=access.principal.user_id,
            cidrs=networks(body.cidrs),
            expires_at=instant(body.expires_at),
        )
        shape = MintedPlatformKeyShape.minted(await mint(creation.changing, key, kind="platform"))
        await creation.keep(shape, secrets=SECRETS)
        return shape


@router.delete("/{key_id}", response_model=PlatformKeyDeleted)
async def delete_platform_api_key(
    key_id: KeyId, access: Annotated[Access, Depends(Needs("platform_keys.write"))]
) -> PlatformKeyDeleted:
    """Revoke a platform key: within a second it is refused everywhere. Raises: NotFound (also where it is revoked)."""
    async with changing(access) as change:
        home = home_of(access, "platform")
        await revoke(change, home, await find_key(change.conn, home, key_id, lock=True))
    return PlatformKeyDeleted(id=key_id)
