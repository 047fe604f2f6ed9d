"""Which routes make up the management API."""

from fastapi import FastAPI

from router.management import engines, organizations, sessions


def include_management(app: FastAPI) -> None:
    """Add every management route below /v1."""
    for module in (sessions, organizations, engines):
        app.include_router(module.router, prefix="/v1", tags=["management"])
