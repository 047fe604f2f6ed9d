"""Which routes make up the management API."""

from fastapi import FastAPI

from router.management import engines, organizations, projects, sessions


def include_management(app: FastAPI) -> None:
    """Add every management route below /v1."""
    for module in (sessions, organizations, engines, projects):
        app.include_router(module.router, prefix="/v1")
