"""Migrations: `once/` runs exactly once with frozen hashes, `always/` (roles, views, policies) on every deploy."""

from warehouse.migrations.runner import MigrationError, migrate

__all__ = ["MigrationError", "migrate"]
