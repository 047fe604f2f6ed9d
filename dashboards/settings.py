"""Settings of the portal, read from PORTAL_*."""

from typing import ClassVar

from pydantic import Field

from warehouse.access.addresses import DatabaseUrl
from warehouse.base.settings import Settings


class PortalSettings(Settings):
    """Where the management API and the marts are."""

    PREFIX: ClassVar[str] = "PORTAL_"

    api_url: str = Field(pattern=r"^https?://.+/v1$")
    """Base URL of the router, with /v1: sign-in and engines; shown to users as the address for their SDK."""
    database_url: DatabaseUrl
    """Connection string of role inferhouse_portal, which sees one organization at a time."""
    platform_database_url: DatabaseUrl | None = None
    """Connection string of role inferhouse_platform; without it the pages for platform admins are not offered."""
