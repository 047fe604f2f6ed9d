"""`/v1/organization`: the caller's own organization, and its policy for members' keys and sign-in."""

from typing import Annotated, Any, Literal

from fastapi import Depends, Response
from psycopg import AsyncConnection
from pydantic import BaseModel, ConfigDict, Field

from router.management.access import Access, Needs
from router.management.changes import Conflict, IfMatch, changing, check_version, tell_version
from router.management.fields import Text, TimeZone
from router.management.key_rules import Cidrs, Models, networks
from router.routes import routes
from warehouse.access import api_keys, organizations, own_organization
from warehouse.access.own_organization import OwnOrganizationRow
from warehouse.base.errors import InvalidRequest

router = routes("organization", "/organization")
KEY_DAYS_MAX = 3650
KEYS_PER_MEMBER_MAX = 10_000
POLICY = (
    "name",
    "time_zone",
    "key_days_max",
    "keys_per_member_max",
    "key_models",
    "key_cidrs",
    "totp_required",
    "answers_kept_s",
    "when_redis_is_down",
)
_NEVER_NULL = frozenset({"name", "time_zone", "totp_required", "answers_kept_s", "when_redis_is_down"})
ANSWERS_KEPT_S_MAX = 7 * 86_400


class OwnOrganization(BaseModel):
    """The organization and its policy; null is no cap. Instants are Unix seconds."""

    object: Literal["organization"] = "organization"
    id: str
    name: str
    time_zone: str
    status: Literal["active", "suspended"]
    created_at: int
    key_days_max: int | None = Field(description="Days that a key of a member lives at most.")
    keys_per_member_max: int | None = Field(description="Keys in force that a member has at most.")
    key_models: list[str] | None = Field(description="Models and aliases that keys may use, whatever a key says itself.")
    key_cidrs: list[str] | None = Field(description="Networks that keys work from, whatever a key says itself.")
    totp_required: bool = Field(description="Whether members see nothing here without a second factor.")
    answers_kept_s: int = Field(
        description="Seconds for which answers to requests with an Idempotency-Key are kept, to be sent again; 0 keeps none."
    )
    when_redis_is_down: Literal["refuse", "share"] = Field(
        description="What budgets and limits do then: refuse requests, or let each router admit its share of what was left."
    )
    keys_above_days_max: int = Field(description="Keys in force that live longer than key_days_max; they stay as they are.")
    members_above_keys_max: int = Field(description="Members with more keys than keys_per_member_max; they keep them.")
    version: int

    @classmethod
    async def of(cls, conn: AsyncConnection, row: OwnOrganizationRow) -> "OwnOrganization":
        """The shape of a row."""
        above = await own_organization.above(conn, row.id)
        return cls(
            id=row.public_id,
            status="suspended" if row.suspended_at else "active",
            created_at=int(row.created_at.timestamp()),
            keys_above_days_max=above.keys_above_days_max,
            members_above_keys_max=above.members_above_keys_max,
            version=row.version,
            **_policy(row),
        )


class OwnOrganizationChange(BaseModel):
    """What of it is changed; what is not named stays, and null takes a cap away."""

    model_config = ConfigDict(extra="forbid")
    name: Text | None = None
    time_zone: TimeZone | None = None
    key_days_max: Annotated[int, Field(ge=1, le=KEY_DAYS_MAX, strict=True)] | None = None
    keys_per_member_max: Annotated[int, Field(ge=0, le=KEYS_PER_MEMBER_MAX, strict=True)] | None = None
    key_models: Models | None = None
    key_cidrs: Cidrs | None = None
    totp_required: Annotated[bool, Field(strict=True)] | None = None
    answers_kept_s: Annotated[int, Field(ge=0, le=ANSWERS_KEPT_S_MAX, strict=True)] | None = None
    when_redis_is_down: Literal["refuse", "share"] | None = None


def _policy(row: OwnOrganizationRow) -> dict[str, Any]:
    return {name: getattr(row, name) for name in POLICY}


@router.get("", response_model=OwnOrganization)
async def get_own_organization(
    response: Response, access: Annotated[Access, Depends(Needs("organization.read"))]
) -> OwnOrganization:
    """The caller's organization, or the one that OpenAI-Organization names."""
    async with access.transaction() as conn:
        row = await own_organization.find(conn, access.org.id)
        shape = await OwnOrganization.of(conn, row)
    tell_version(response, row.version)
    return shape


@router.post("", response_model=OwnOrganization)
async def update_own_organization(
    body: OwnOrganizationChange,
    response: Response,
    access: Annotated[Access, Depends(Needs("organization.write"))],
    if_match: IfMatch = None,
) -> OwnOrganization:
    """Change what is named. Existing keys keep their lives; lists of models and networks hold for them at once.

    Raises: InvalidRequest (an unknown model, no network), Conflict (the caller would shut itself out), VersionChanged.
    """
    async with changing(access) as change:
        before = await own_organization.find(change.conn, access.org.id, lock=True)
        check_version(if_match, before.version)
        wanted = await _wanted(change.conn, access, before, body)
        row = before
        if wanted != _policy(before):
            row = await own_organization.change(change.conn, access.org.id, **wanted)
            await change.record("organization.updated", row.public_id, before=_policy(before), after=_policy(row))
        shape = await OwnOrganization.of(change.conn, row)
    tell_version(response, row.version)
    return shape


async def _wanted(
    conn: AsyncConnection, access: Access, before: OwnOrganizationRow, body: OwnOrganizationChange
) -> dict[str, Any]:
    """What it is to be, by the names of POLICY. Raises: InvalidRequest, Conflict."""
    named = {name: getattr(body, name) for name in body.model_fields_set}
    named = {name: value for name, value in named.items() if value is not None or name not in _NEVER_NULL}
    if named.get("key_models") is not None:
        named["key_models"] = sorted(set(named["key_models"]))
        unknown = set(named["key_models"]) - set(before.key_models or ()) - await api_keys.names_in_service(conn, access.org.id)
        if unknown:
            raise InvalidRequest(f"there is no model or alias {min(unknown)!r}", param="key_models")
    await check_zone(conn, named.get("time_zone"))
    if "key_cidrs" in named:
        named["key_cidrs"] = networks(named["key_cidrs"], "key_cidrs")
    person = access.principal.kind == "user"
    if named.get("totp_required") and not before.totp_required and person and not access.principal.second_factor:
        raise Conflict(
            "this would shut you out: turn on your own second factor first (POST /v1/users/me/totp), and sign in with it",
            param="totp_required",
        )
    return _policy(before) | named


async def check_zone(conn: AsyncConnection, time_zone: str | None) -> None:
    """Raises: InvalidRequest: the database cannot reckon in this time zone."""
    if time_zone is not None and not await organizations.knows_zone(conn, time_zone):
        raise InvalidRequest(
            f"the database has no time zone {time_zone!r}, as its list is older than the router's: take another one",
            param="time_zone",
        )
