"""`python -m warehouse.role_passwords`: set the passwords of the service roles from WAREHOUSE_ROLE_PASSWORDS."""

import json
import os
import sys
from collections.abc import Mapping

import psycopg
from psycopg import sql

from warehouse.access.lines import answering
from warehouse.base.errors import InferhouseError, SettingsError
from warehouse.settings import WarehouseSettings


def set_role_passwords(dsn: str, passwords: Mapping[str, str]) -> None:
    """Set each role's password, all or none. Roles are made by the migrations.

    Raises: SettingsError: a role does not exist.
    """
    with psycopg.connect(dsn) as conn:
        for role, password in passwords.items():
            try:
                conn.execute(sql.SQL("alter role {} password {}").format(sql.Identifier(role), password))
            except psycopg.errors.UndefinedObject as error:
                raise SettingsError(f"there is no role {role}: run the migrations first") from error


def main() -> int:
    try:
        settings = WarehouseSettings.from_env(os.environ)
        if settings.role_passwords is None:
            raise SettingsError("setting WAREHOUSE_ROLE_PASSWORDS is not set")
        passwords = json.loads(settings.role_passwords.get_secret_value())
        with answering():
            set_role_passwords(settings.database_url.get_secret_value(), passwords)
    except json.JSONDecodeError as error:
        print(f"settings_error: setting WAREHOUSE_ROLE_PASSWORDS is no JSON: {error}", file=sys.stderr)
        return 1
    except InferhouseError as error:
        print(f"{error.code}: {error}", file=sys.stderr)
        return 1
    print(f"set the passwords of {len(passwords)} roles")
    return 0


if __name__ == "__main__":
    sys.exit(main())
