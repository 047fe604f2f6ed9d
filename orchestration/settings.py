"""Settings of the Dagster processes, read from ORCHESTRATION_*."""

from pathlib import Path
from typing import ClassVar

from psycopg.conninfo import conninfo_to_dict
from pydantic import SecretStr

from warehouse.base.settings import Settings

DBT_PROJECT = Path(__file__).resolve().parents[1] / "dbt"


class OrchestrationSettings(Settings):
    """Where the warehouse is, and where dbt may write."""

    PREFIX: ClassVar[str] = "ORCHESTRATION_"

    database_url: SecretStr
    """Connection string of role inferhouse_transform."""
    dagster_database_url: SecretStr
    """Connection string of role inferhouse_dagster; dagster.yaml reads it too."""
    dbt_target_dir: Path = Path("/tmp/inferhouse-dbt")  # noqa: S108  # the runtime gives each instance its own
    """Folder for what dbt compiles: the manifest and one run's SQL."""

    def dbt_environment(self) -> dict[str, str]:
        """The variables that dbt/profiles.yml reads."""
        parts = conninfo_to_dict(self.database_url.get_secret_value())
        return {
            "DBT_HOST": str(parts.get("host", "127.0.0.1")),
            "DBT_PORT": str(parts.get("port", 5432)),
            "DBT_USER": str(parts.get("user", "")),
            "DBT_PASSWORD": str(parts.get("password", "")),
            "DBT_DATABASE": str(parts.get("dbname", "")),
            "DBT_LOG_PATH": str(self.dbt_target_dir / "logs"),
            "DBT_SEND_ANONYMOUS_USAGE_STATS": "false",
            "DBT_EXCLUDE_RESOURCE_TYPES": "unit_test",  # they test the models, not the rows, and need every table to be there
        }
