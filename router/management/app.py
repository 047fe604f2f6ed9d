"""Which routes make up the management API, and what each needs."""

from collections.abc import Iterator

from fastapi import APIRouter, FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute

from router.management import (
    accept_invite,
    admin_api_keys,
    alerts,
    aliases,
    api_keys,
    audit_logs,
    budgets,
    costs,
    device_logins,
    discounts,
    engines,
    invites,
    invoices,
    limits,
    models,
    oidc,
    organization,
    organizations,
    own_account,
    platform_api_keys,
    platform_health,
    platform_invoices,
    prices,
    project_users,
    projects,
    service_accounts,
    sessions,
    shadow_refusals,
    sql_access,
    taxes,
    usage,
    users,
    volume_tiers,
    wallets,
    webhooks,
)
from router.management.access import Needs
from router.management.document import document

MODULES = (
    sessions,
    device_logins,
    oidc,
    own_account,
    accept_invite,
    invites,
    organization,
    organizations,
    engines,
    projects,
    users,
    project_users,
    service_accounts,
    api_keys,
    admin_api_keys,
    platform_api_keys,
    platform_health,
    audit_logs,
    budgets,
    alerts,
    webhooks,
    costs,
    wallets,
    limits,
    models,
    aliases,
    prices,
    discounts,
    volume_tiers,
    shadow_refusals,
    sql_access,
    usage,
    invoices,
    platform_invoices,
    taxes,
)
PUBLIC = frozenset(
    {
        ("GET", "/health/live"),
        ("GET", "/health/ready"),
        ("GET", "/metrics"),
        ("POST", "/v1/invites/accept"),
        ("POST", "/v1/sessions"),
        ("GET", "/v1/sessions/methods"),
        ("POST", "/v1/sessions/device"),
        ("POST", "/v1/sessions/device/token"),
        ("POST", "/v1/sessions/oidc"),
        ("POST", "/v1/sessions/oidc/start"),
    }
)
"""(method, path) of what anybody may call: signing in, and what supervisors ask."""
SIGNED_IN = frozenset(
    {
        ("GET", "/v1/sessions"),
        ("GET", "/v1/sessions/current"),
        ("DELETE", "/v1/sessions/current"),
        ("POST", "/v1/sessions/current/rotate"),
        ("POST", "/v1/sessions/revoke_others"),
        ("DELETE", "/v1/sessions/{session_id}"),
        ("POST", "/v1/sessions/device/find"),
        ("POST", "/v1/sessions/device/approve"),
        ("POST", "/v1/sessions/device/deny"),
        ("POST", "/v1/users/me/password"),
        ("POST", "/v1/users/me/totp"),
        ("POST", "/v1/users/me/totp/confirm"),
        ("POST", "/v1/users/me/totp/disable"),
    }
)
"""(method, path) of what every signed-in user may call, because it is about nobody but that user."""


def include_management(app: FastAPI) -> None:
    """Add every management route, and say in the OpenAPI document what each needs."""
    for module in MODULES:
        app.router.routes += module.router.routes

    def openapi() -> dict[str, object]:
        if not app.openapi_schema:
            app.openapi_schema = document(app, permissions(), PUBLIC)
        return app.openapi_schema

    app.openapi = openapi  # type: ignore[method-assign]  # FastAPI's documented way to extend the document


def operations() -> Iterator[tuple[str, str, APIRoute]]:
    """(method, path, route) of every management route."""
    for module in MODULES:
        router: APIRouter = module.router
        for route in router.routes:
            assert isinstance(route, APIRoute)
            for method in sorted(route.methods or ()):
                yield method, route.path_format, route


def needs(route: APIRoute) -> list[Needs]:
    """The permission dependencies of a route."""

    def walk(dependant: Dependant) -> Iterator[Needs]:
        if isinstance(dependant.call, Needs):
            yield dependant.call
        for inner in dependant.dependencies:
            yield from walk(inner)

    return list(walk(route.dependant))


def permissions() -> dict[tuple[str, str], str]:
    """{(method, path): permission} of the routes that need one."""
    return {(method, path): found[0].permission for method, path, route in operations() if (found := needs(route))}
