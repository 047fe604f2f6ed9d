"""Settings of the Dagster processes, read from ORCHESTRATION_*."""

from pathlib import Path
from typing import ClassVar, Literal, Self

from psycopg.conninfo import conninfo_to_dict
from pydantic import Field, SecretStr, field_validator, model_validator

from warehouse.access.addresses import DatabaseUrl
from warehouse.base.settings import Settings
from warehouse.identity.networks import parse_networks

RAW_DAYS_KEPT_MIN = 45  # archive.drop_day refuses younger days, whatever is set
DBT_PROJECT = Path(__file__).resolve().parents[1] / "dbt"


class OrchestrationSettings(Settings):
    """Where the warehouse is, and where dbt may write."""

    PREFIX: ClassVar[str] = "ORCHESTRATION_"

    database_url: DatabaseUrl
    """Connection string of role inferhouse_transform."""
    dagster_database_url: DatabaseUrl
    """Connection string of role inferhouse_dagster; dagster.yaml reads it too."""
    dbt_target_dir: Path = Path("/tmp/inferhouse-dbt")  # noqa: S108  # the runtime gives each instance its own
    """Folder for what dbt compiles: the manifest and one run's SQL."""

    close_grace_days: int = Field(default=3, ge=0, le=60)
    """Days after a month's end until it is closed: what comes later becomes an adjustment on the next invoice."""
    close_without_counters: bool = False
    """Whether a month is closed though an engine's counters were not read on some of its days, as with imported rows."""

    operator_organization: str | None = Field(default=None, pattern=r"^org_[0-9a-z]+$")
    """Public id of the organization of whoever runs the platform: it is told of what concerns all, such as engines that drift."""

    archive_url: str = ""
    """Folder or bucket of the archive, as `/srv/archive` or `s3://bucket/archive`; without it nothing is archived or dropped."""
    archive_options: str = "{}"
    """JSON for the archive's fsspec driver, as `{"anon": false}`; credentials are better left to the driver's own places."""
    raw_days_kept: int = Field(default=0, ge=0)
    """Days after which archived days are dropped from the database, at least 45; 0 keeps all."""
    webhook_key: SecretStr | None = None
    """Key of the webhooks' secrets, made of the router's pepper; 64 hexadecimal digits. Without it nothing is delivered."""
    webhook_networks: str = ""
    """Networks beside the internet that webhooks may go to, in plain HTTP too, as `10.0.0.0/8,fd00::/8`."""
    smtp_host: str | None = None
    """Mail server for alerts; without it, deliveries by mail fail at once."""
    smtp_port: int = 587
    """Usually 587 with `starttls`, 465 with `tls`."""
    smtp_security: Literal["starttls", "tls", "none"] = "starttls"
    """`starttls`, `tls` or `none`."""
    smtp_user: str | None = None
    """Who signs in at the mail server; without it nobody does."""
    smtp_password: SecretStr | None = None
    """The password of that user."""
    smtp_sender: str | None = None
    """Sender of the mails, as `Inferhouse <alerts@example.org>`."""

    @field_validator(
        "operator_organization", "webhook_key", "smtp_host", "smtp_user", "smtp_password", "smtp_sender", mode="before"
    )
    @classmethod
    def _empty_is_none(cls, value: object) -> object:
        """A container's environment has a variable that nobody set as an empty one."""
        return None if value == "" else value

    @field_validator("webhook_key")
    @classmethod
    def _is_a_key(cls, key: SecretStr | None) -> SecretStr | None:
        if key is not None and len(bytes.fromhex(key.get_secret_value())) != 32:
            raise ValueError("it has 64 hexadecimal digits")
        return key

    @field_validator("raw_days_kept")
    @classmethod
    def _keeps_late_days(cls, count: int) -> int:
        if 0 < count < RAW_DAYS_KEPT_MIN:
            raise ValueError(f"rows come up to 40 days late: 0, or at least {RAW_DAYS_KEPT_MIN}")
        return count

    @field_validator("webhook_networks")
    @classmethod
    def _are_networks(cls, text: str) -> str:
        text = text.replace(" ", "")
        parse_networks(part for part in text.split(",") if part)
        return text

    @model_validator(mode="after")
    def _mail_has_a_sender(self) -> Self:
        if self.smtp_host is not None and "@" not in (self.smtp_sender or ""):
            raise ValueError("with ORCHESTRATION_SMTP_HOST, ORCHESTRATION_SMTP_SENDER is an address")
        return self

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
