"""`python -m warehouse.migrations`: bring the database of WAREHOUSE_DATABASE_URL to this version."""

import os
import sys

from warehouse.access.lines import answering
from warehouse.base.errors import InferhouseError
from warehouse.migrations.runner import migrate
from warehouse.settings import WarehouseSettings


def main() -> int:
    try:
        settings = WarehouseSettings.from_env(os.environ)
        with answering():
            ran = migrate(settings.database_url.get_secret_value())
    except InferhouseError as error:
        print(f"{error.code}: {error}", file=sys.stderr)
        return 1
    print(f"applied {', '.join(ran)}" if ran else "up to date")
    return 0


if __name__ == "__main__":
    sys.exit(main())
