"""Settings of the commands that own the database: migrations, role passwords, seed."""

from typing import ClassVar

from pydantic import SecretStr

from warehouse.access.addresses import DatabaseUrl
from warehouse.base.settings import Settings


class WarehouseSettings(Settings):
    """Read from WAREHOUSE_*."""

    PREFIX: ClassVar[str] = "WAREHOUSE_"

    database_url: DatabaseUrl
    """Connection string of the owner: creates schemas, roles and the TimescaleDB extension."""
    key_pepper: SecretStr | None = None
    """Secret under which API keys are hashed; the seed needs the one that the router has."""
    role_passwords: SecretStr | None = None
    """JSON object {role: password} for the service roles; the passwords command sets them."""
