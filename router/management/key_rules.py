"""What a new or changed key may be: no more than its maker is, within what the organization's policy lets members make."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Annotated

from pydantic import BaseModel, Field

from router.management.access import Access
from router.management.parameters import LAST_SECOND
from warehouse.access.api_keys import Caps, KeyRow, NewKey
from warehouse.base.errors import InvalidRequest, NotAllowed
from warehouse.identity.networks import narrower, plain
from warehouse.identity.policy import Scope, policy

MODELS_MAX = 100
CIDRS_MAX = 100
CAP_MAX = 2**31 - 1
GRACE_S_MAX = 7 * 24 * 3600
NEW_S_MIN = 1
Name = Annotated[str, Field(min_length=1, max_length=200, pattern=r"^[^\x00]*$")]
Models = Annotated[
    list[Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9][A-Za-z0-9._:/-]*$")]],
    Field(min_length=1, max_length=MODELS_MAX, description="Models and aliases that the key may use; null means every one."),
]
Cidrs = Annotated[
    list[Annotated[str, Field(min_length=2, max_length=49, pattern=r"^[0-9A-Fa-f.:/]+$")]],
    Field(min_length=1, max_length=CIDRS_MAX, description="Networks that the key works from; null means from everywhere."),
]
Choices = Annotated[int, Field(ge=1, le=CAP_MAX, strict=True, description="The largest `n` of a request; null is no cap.")]
OutputTokens = Annotated[
    int,
    Field(ge=1, le=CAP_MAX, strict=True, description="The most output tokens per choice that a request may ask for, and gets."),
]
Instant = Annotated[int, Field(ge=1, le=LAST_SECOND, strict=True, description="Unix seconds.")]
_ADMIN_KEYS = "make an admin key for that: POST /v1/organization/admin_api_keys"


class Effective(BaseModel):
    """What a key may really use: where the key, its organization and what there is agree."""

    models: list[str] = Field(
        description="Names of models in service and of aliases that both the key and its organization allow."
    )
    cidrs: list[str] | None = Field(description="Networks that both the key and its organization allow; null is everywhere.")

    @classmethod
    def of(cls, row: KeyRow, caps: Caps, in_service: Iterable[str]) -> "Effective":
        """Of a key, under the policy of its organization."""
        lists = [set(names) for names in (row.models, caps.key_models) if names is not None]
        models = sorted(name for name in in_service if all(name in names for names in lists))
        return cls(models=models, cidrs=narrower(row.cidrs, caps.key_cidrs))


def instant(seconds: int | None) -> datetime | None:
    """An instant of a body. Raises: InvalidRequest: it is not to come."""
    if seconds is None:
        return None
    at = datetime.fromtimestamp(seconds, UTC)
    if at <= datetime.now(UTC) + timedelta(seconds=NEW_S_MIN):
        raise InvalidRequest("this is in the past: a key ends at an instant to come", param="expires_at")
    return at


def networks(cidrs: Sequence[str] | None, param: str = "cidrs") -> list[str] | None:
    """The networks of a body as they are kept. Raises: InvalidRequest: one cannot be read."""
    return None if cidrs is None else sorted({str(_network(cidr, param)) for cidr in cidrs})


def _network(cidr: str, param: str) -> IPv4Network | IPv6Network:
    try:
        return plain(ip_network(cidr))
    except ValueError:
        pass
    try:
        meant = ip_network(cidr, strict=False)
    except ValueError as error:
        raise InvalidRequest(f"{cidr!r} is no network: write it as 192.0.2.0/24 or 2001:db8::/32", param=param) from error
    raise InvalidRequest(f"{cidr!r} names an address within a network: the network is {str(meant)!r}", param=param)


FIELDS = frozenset({"scopes", "models", "cidrs", "expires_at"})
"""Of a key, what rules are about."""


def check(
    access: Access,
    key: NewKey,
    caps: Caps,
    in_service: frozenset[str],
    *,
    since: datetime,
    fields: frozenset[str] = FIELDS,
) -> None:
    """Whether this caller may make a key that is this, or change `fields` of one to this.

    Args: in_service: names of the models and aliases that there are.  since: when the secret was made.
    Raises: NotAllowed: more than the caller has.  InvalidRequest: what does not exist, or a cap of the organization.
    """
    if "scopes" in fields:
        check_scopes(access, key.scopes)
    if "models" in fields:
        _check_models(key.models or (), caps.key_models, in_service)
    if "cidrs" in fields and key.cidrs is not None and caps.key_cidrs is not None:
        _check_within(key.cidrs, caps.key_cidrs)
    if "expires_at" in fields and caps.key_days_max is not None and capped(access):
        last = since + timedelta(days=caps.key_days_max)
        if key.expires_at is None or key.expires_at > last:
            raise InvalidRequest(
                f"this organization's policy (key_days_max) lets members' keys live for at most {caps.key_days_max} days",
                param="expires_at",
            )


def _check_models(models: Iterable[str], allowed: Iterable[str] | None, in_service: frozenset[str]) -> None:
    """Raises: InvalidRequest: there is no such name, or it is none that the organization allows."""
    if unknown := sorted(set(models) - in_service):
        raise InvalidRequest(f"there is no model or alias {unknown[0]!r}", param="models")
    outside = sorted(set(models) - set(allowed)) if allowed is not None else []
    if outside:
        raise InvalidRequest(
            f"{outside[0]!r} is outside of this organization's policy (key_models), which allows:"
            f" {', '.join(sorted(allowed or ())) or 'none'}",
            param="models",
        )


def _check_within(cidrs: Sequence[str], allowed: Sequence[str]) -> None:
    """Raises: InvalidRequest: a network reaches out of those that the organization allows."""
    for cidr in cidrs:
        if narrower([cidr], allowed) != [cidr]:
            raise InvalidRequest(
                f"{cidr} is outside of this organization's policy (key_cidrs), which allows: {', '.join(allowed)}", param="cidrs"
            )


def check_scopes(access: Access, scopes: Iterable[str], *, admin: bool = False) -> None:
    """Raises: NotAllowed: a scope has permissions that the caller lacks.  InvalidRequest: `admin` for a key of a project."""
    where = Scope(access.organization.id if access.organization else None, access.project.id if access.project else None)
    granted = policy().granted(access.principal, where)
    for scope in scopes:
        if scope == "admin" and not admin:
            raise InvalidRequest(f"a key of a project has no scope 'admin': {_ADMIN_KEYS}", param="scopes")
        if missing := sorted(policy().scopes[scope] - granted):
            raise NotAllowed(
                f"a key has no more rights than its maker: the scope {scope!r} includes {missing[0]}, which you do not have;"
                f" {policy().who_may(missing[0])} have it",
                param="scopes",
            )


def capped(access: Access) -> bool:
    """Whether the caps for members hold for this caller: whoever manages every key of the organization sets them himself."""
    return not policy().allowed(access.principal, "api_keys.write", Scope(access.org.id)).allowed


def last_day(access: Access, caps: Caps) -> datetime | None:
    """When a new key of a caller under a cap ends if the caller says nothing."""
    if caps.key_days_max is None or not capped(access):
        return None
    return datetime.now(UTC) + timedelta(days=caps.key_days_max)


def check_count(access: Access, caps: Caps, count: int) -> None:
    """Raises: InvalidRequest: a member has as many keys as the policy allows."""
    if caps.keys_per_member_max is not None and count >= caps.keys_per_member_max and capped(access):
        raise InvalidRequest(
            f"this organization's policy (keys_per_member_max) lets a member have at most {caps.keys_per_member_max} keys in"
            " force: revoke one, or ask an owner or admin",
            param="keys_per_member_max",
        )
