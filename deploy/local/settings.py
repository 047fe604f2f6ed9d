"""Settings of the local runtime: INFERHOUSE_*, from the environment and an optional `.env`; and the check of all others."""

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field, SecretStr, field_validator

from warehouse.access.addresses import DATABASE_WORDS, DatabaseUrl, RedisUrl
from warehouse.base.errors import SettingsError
from warehouse.base.settings import Settings, nearest

# What `.local/env` holds beside the addresses that are settings too. Sourced into a shell, they are no settings of ours.
OUTPUTS = (
    "INFERHOUSE_BASE_URL", "INFERHOUSE_API_KEY", "INFERHOUSE_ADMIN_KEY", "INFERHOUSE_SQL_URL", "INFERHOUSE_MODEL",
    "INFERHOUSE_PORTAL_URL", "INFERHOUSE_PORTAL_EMAIL", "INFERHOUSE_PORTAL_PASSWORD", "INFERHOUSE_DAGSTER_URL",
    "INFERHOUSE_ORGANIZATION",
)  # fmt: skip
Port = Field(default=None, ge=1, le=65535)


class LocalSettings(Settings):
    """Read from INFERHOUSE_*. A port that is not set is the usual one, or a free one where that is taken."""

    PREFIX: ClassVar[str] = "INFERHOUSE_"

    state_dir: Path | None = None
    """Folder of the instance: databases, journal, logs, secrets. Another folder is another instance. Default: `.local`."""
    engine: Literal["auto", "vllm", "simulated"] = "auto"
    """`auto`: real vLLM where the machine can (x86-64 with AVX2, 6 GiB of free memory), else the simulated engine."""
    vllm_profile: str = "cpu-small"
    """Launch profile of engines/catalog.toml that vLLM is started with."""
    database_url: DatabaseUrl | None = None
    """Owner's connection string to a TimescaleDB that is to be used instead of starting one."""
    redis_url: RedisUrl | None = None
    """Address of a Redis that is to be used instead of starting one."""
    router_port: int | None = Port
    """Inference and management; usually 8000. A port that is asked for and taken stops the start."""
    portal_port: int | None = Port
    """Usually 8501."""
    dagster_port: int | None = Port
    """Dagster's web server; usually 3000."""
    dagster_code_port: int | None = Port
    """Dagster's code server; usually 4266."""
    postgres_port: int | None = Port
    """Usually 5432."""
    redis_port: int | None = Port
    """Usually 6379."""
    vllm_port: int | None = Port
    """Usually 8100."""
    simulated_port: int | None = Port
    """Simulated engine; usually 8101."""

    @field_validator("database_url")
    @classmethod
    def _is_a_url(cls, value: SecretStr | None) -> SecretStr | None:
        """Those of the service roles are made of it."""
        if value is not None and not value.get_secret_value().startswith(("postgresql://", "postgres://")):
            raise ValueError(DATABASE_WORDS)
        return value

    @classmethod
    def from_env(cls, env: Mapping[str, str]) -> "LocalSettings":
        return super().from_env({name: value for name, value in env.items() if name not in OUTPUTS and value != ""})

    @property
    def ports(self) -> dict[str, int | None]:
        """What was asked for, by process."""
        return {name.removesuffix("_port"): getattr(self, name) for name in type(self).model_fields if name.endswith("_port")}


def read_dotenv(path: Path) -> dict[str, str]:
    """Variables of a file of `NAME=value` lines; `#` starts a comment line, quotes around a value are taken off.

    Raises: SettingsError: a line is neither.
    """
    values: dict[str, str] = {}
    for number, line in enumerate(path.read_text().splitlines() if path.is_file() else [], start=1):
        text = line.strip().removeprefix("export ")
        if not text or text.startswith("#"):
            continue
        name, equals, value = text.partition("=")
        if not equals or not name.strip().isidentifier():
            raise SettingsError(f"{path.name}, line {number}: expected NAME=value")
        value = value.strip()
        quoted = len(value) > 1 and value[0] == value[-1] and value[0] in "\"'"
        values[name.strip()] = value[1:-1] if quoted else value
    return values


def service_settings(env: Mapping[str, str], classes: Mapping[str, type[Settings]], managed: Mapping[str, str]) -> dict[str, str]:
    """The variables of `env` that are settings of our processes, to be handed down to them.

    `classes`: the settings class of each process. `managed`: variables that the runtime sets itself, and what sets them.
    Raises: SettingsError: one is unknown or misspelt (the nearest right name is given), or is not for a person to set.
    """
    prefixes = {settings.PREFIX for settings in classes.values()}
    known = [f"{settings.PREFIX}{field.upper()}" for settings in classes.values() for field in settings.model_fields]
    for name in sorted(env):
        if name.startswith(tuple(prefixes)):
            if name not in known:
                raise SettingsError(f"unknown setting {name}; {nearest(name, known)}", param=name)
            if name in managed:
                raise SettingsError(f"{name} is set by the local runtime itself: {managed[name]}", param=name)
    _refuse_misspelt_prefix(env, [*known, *(f"INFERHOUSE_{field.upper()}" for field in LocalSettings.model_fields)])
    return {name: value for name, value in env.items() if name in known}


def _refuse_misspelt_prefix(env: Mapping[str, str], known: list[str]) -> None:
    """Stop at INFERHOSE_ENGINE or ROUTR_WORKERS, which no prefix claims and which would silently do nothing."""
    for name in sorted(set(env) - set(known) - set(OUTPUTS)):
        if name.isupper() and difflib.get_close_matches(name, known, n=1, cutoff=0.92):
            raise SettingsError(f"unknown setting {name}; {nearest(name, known)}", param=name)
