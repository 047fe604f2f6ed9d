"""`/v1/organization/admin_api_keys`: keys that manage an organization, or only read its usage; none calls an engine.

Source: the Admin API keys section of OpenAI's API reference.
"""

from typing import Annotated, Any, Literal

from fastapi import Depends, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from router.management.access import Access, Needs
from router.management.api_keys import (
    KEY,
    SECRETS,
    KeyId,
    Minted,
    check_there,
    find_key,
    home_of,
    mint,
    page_values,
    redacted,
    revoke,
    seconds,
)
from router.management.changes import IdempotencyKey, changing, creating, tell_version
from router.management.key_rules import Cidrs, Instant, Name, instant, networks
from router.management.pages import Listed, Paged
from router.routes import routes
from warehouse.access import api_keys
from warehouse.access.api_keys import KeyRow, NewKey

router = routes("admin api keys", "/organization/admin_api_keys")
Status = Literal["active", "revoked", "expired", "organization_suspended", "user_disabled", "user_removed"]


class AdminOwner(BaseModel):
    """The user who made the key: it works while this user is a member, and does no more than this user may."""

    type: Literal["user"] = "user"
    object: Literal["organization.user"] = "organization.user"
    id: str
    name: str
    created_at: int
    role: str | None


class AdminKeyShape(BaseModel):
    """An admin key as the API shows it; instants are Unix seconds."""

    object: Literal["organization.admin_api_key"] = "organization.admin_api_key"
    id: str
    redacted_value: str
    name: str
    created_at: int
    last_used_at: int | None = Field(description="To the minute.")
    owner: AdminOwner | None = Field(description="Null for a key that another key without an owner has made.")
    scopes: list[str]
    cidrs: list[str] | None
    expires_at: int | None
    revoked_at: int | None
    created_by: str | None
    status: Status = Field(description="`active`, or why it does not work.")
    version: int

    @classmethod
    def of(cls, row: KeyRow) -> "AdminKeyShape":
        """The shape of a row."""
        owner = None
        if row.user_public_id is not None and row.user_created_at is not None:
            owner = AdminOwner(
                id=row.user_public_id,
                name=row.user_name or "",
                created_at=int(row.user_created_at.timestamp()),
                role=row.user_role,
            )
        return cls(
            id=KEY + row.public_id,
            redacted_value=redacted(row),
            name=row.name,
            created_at=int(row.created_at.timestamp()),
            last_used_at=seconds(row.last_used_at),
            owner=owner,
            scopes=row.scopes,
            cidrs=row.cidrs,
            expires_at=seconds(row.expires_at),
            revoked_at=seconds(row.revoked_at),
            created_by=row.created_by,
            status=row.status,  # type: ignore[arg-type]  # the query's words are the literals
            version=row.version,
        )


class MintedAdminKeyShape(AdminKeyShape):
    """An admin key with its secret: the only answer that has it."""

    value: str | None = Field(description="The key. Keep it now: it is not shown again, and null where a create is repeated.")

    @classmethod
    def minted(cls, minted: Minted) -> "MintedAdminKeyShape":
        """The shape of a new key."""
        return cls(**AdminKeyShape.of(minted.row).model_dump(), value=minted.secret)


class AdminKeyDeleted(BaseModel):
    """The answer to a revocation."""

    object: Literal["organization.admin_api_key.deleted"] = "organization.admin_api_key.deleted"
    id: str
    deleted: Literal[True] = True


class AdminKeyBody(BaseModel):
    """What an admin key is made of."""

    model_config = ConfigDict(extra="forbid", str_strip_whitespace=True)
    name: Name
    scopes: list[Literal["admin", "usage.read"]] = Field(default=["admin"], min_length=1, max_length=2)
    cidrs: Cidrs | None = None
    expires_at: Instant | None = None


@router.get("", response_model=Listed[AdminKeyShape])
async def list_admin_api_keys(
    access: Annotated[Access, Depends(Needs("admin_api_keys.read"))],
    window: Paged,
    include_revoked: Annotated[bool, Query()] = False,
) -> Listed[AdminKeyShape]:
    """Admin keys by age."""
    async with access.transaction() as conn:
        home = home_of(access, "admin")
        rows = await api_keys.page(conn, home, **await page_values(conn, window, home), include_revoked=include_revoked)
    return window.page([AdminKeyShape.of(row) for row in rows], [KEY + row.public_id for row in rows])


@router.post("", response_model=MintedAdminKeyShape)
async def create_admin_api_key(
    body: AdminKeyBody,
    request: Request,
    access: Annotated[Access, Depends(Needs("admin_api_keys.write"))],
    idempotency_key: IdempotencyKey = None,
) -> MintedAdminKeyShape | dict[str, Any]:
    """A new admin key, of the caller's or of the key's owner. Raises: NotAllowed: a scope has rights that the caller lacks."""
    async with creating(access, request, body, idempotency_key) as creation:
        if creation.known is not None:
            return creation.known
        key = NewKey(
            name=body.name,
            scopes=sorted(set(body.scopes)),
            user_id=access.principal.user_id,
            cidrs=networks(body.cidrs),
            expires_at=instant(body.expires_at),
        )
        shape = MintedAdminKeyShape.minted(await mint(creation.changing, key, kind="admin"))
        await creation.keep(shape, secrets=SECRETS)
        return shape


@router.get("/{key_id}", response_model=AdminKeyShape)
async def get_admin_api_key(
    key_id: KeyId, response: Response, access: Annotated[Access, Depends(Needs("admin_api_keys.read"))]
) -> AdminKeyShape:
    """One admin key that is not revoked. Raises: NotFound."""
    async with access.transaction() as conn:
        row = check_there(await find_key(conn, home_of(access, "admin"), key_id))
    tell_version(response, row.version)
    return AdminKeyShape.of(row)


@router.delete("/{key_id}", response_model=AdminKeyDeleted)
async def delete_admin_api_key(
    key_id: KeyId, access: Annotated[Access, Depends(Needs("admin_api_keys.write"))]
) -> AdminKeyDeleted:
    """Revoke an admin key: within a second it is refused everywhere. Raises: NotFound (also where it is revoked)."""
    async with changing(access) as change:
        home = home_of(access, "admin")
        await revoke(change, home, await find_key(change.conn, home, key_id, lock=True))
    return AdminKeyDeleted(id=key_id)
