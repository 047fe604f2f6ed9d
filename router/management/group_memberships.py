"""Memberships that groups of the identity provider give: brought up to date at each sign-in."""

import logging
from collections.abc import Iterable

from psycopg import AsyncConnection

from router.management.state import ManagementState
from warehouse.access import api_keys, audit_log, federated_users, members
from warehouse.access.audit_log import Actor, Change
from warehouse.access.people import User
from warehouse.base import requests
from warehouse.identity.groups import roles_of

_LOG = logging.getLogger(__name__)
PROVIDER = "identity_provider"


async def follow_groups(conn: AsyncConnection, state: ManagementState, user: User, groups: Iterable[str]) -> None:
    """Give, change and end what groups decide. Memberships that people gave stay, and an organization keeps its last owner."""
    wanted = roles_of(groups, state.settings.group_roles)
    organizations = await federated_users.organizations(conn, list(wanted))
    if len(organizations) < len(wanted):
        missing = sorted(set(wanted) - {found.public_id for found in organizations})
        _LOG.warning("groups are mapped to organizations that do not exist", extra={"organizations": missing})
    has = {membership.org_id: membership for membership in await federated_users.memberships(conn, user.id)}
    given = {found.id: wanted[found.public_id] for found in organizations}
    for org_id in sorted(given.keys() | {org_id for org_id, old in has.items() if old.by_group}):
        old, role = has.get(org_id), given.get(org_id)
        if old is not None and (not old.by_group or old.role == role):
            continue
        await members.lock(conn, org_id)
        if old is not None and old.role == "owner" and await members.owners(conn, org_id) <= 1:
            _LOG.warning("the last owner of an organization has left its group and stays", extra={"org_id": org_id})
            continue
        if role is None:
            await members.remove(conn, org_id, user.id)
            await api_keys.revoke_of_user(conn, org_id, user.id)
        else:
            await federated_users.put_membership(conn, org_id, user.id, role)
        event = "user.deleted" if role is None else "user.added" if old is None else "user.updated"
        change = Change(
            event, user.public_id, org_id, None, {"role": old.role} if old else None, {"role": role} if role else None
        )
        actor = Actor("system", PROVIDER, request_id=requests.current_id())
        await audit_log.append(conn, actor, change, state.audit_key)
