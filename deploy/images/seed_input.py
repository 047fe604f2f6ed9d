"""`python -m deploy.images.seed_input`: what the seed reads, from SEED_* and the catalogue, as JSON on standard output."""

import os
import re
import sys
from typing import ClassVar

import orjson
from pydantic import Field, SecretStr

from engines import catalog
from warehouse.base.errors import InferhouseError, SettingsError
from warehouse.base.settings import Settings

_ENGINE = re.compile(r"(?P<name>[a-z0-9][a-z0-9-]*)=(?P<kind>vllm|simulated):(?P<model>[^@\s]+)@(?P<base_url>https?://[^/\s]+)")


class SeedInputSettings(Settings):
    """The engines of this deployment, and its first organization."""

    PREFIX: ClassVar[str] = "SEED_"

    engines: str
    """`NAME=KIND:MODEL@BASE_URL`, separated by blanks; KIND is vllm or simulated, MODEL one of the catalogue."""
    organization: str
    """Public ids, `org_…`, `proj_…` and `user_…`, so that a second run finds what the first has made."""
    project: str
    user: str
    organization_name: str = "Demo"
    time_zone: str = "UTC"
    email: str = "admin@demo.example"
    password: SecretStr = Field(min_length=12)
    api_key: SecretStr
    admin_key: SecretStr
    sql_login: str = "demo_analyst"
    sql_password: SecretStr = Field(min_length=12)


def seed_input(settings: SeedInputSettings) -> dict[str, object]:
    """The seed's input. Raises: SettingsError: an engine is not of the form, or its model not in the catalogue."""
    engines = []
    for text in settings.engines.split():
        match = _ENGINE.fullmatch(text)
        if match is None:
            raise SettingsError(f"SEED_ENGINES: {text!r} is not NAME=KIND:MODEL@BASE_URL", param="SEED_ENGINES")
        engines.append(match.groupdict())
    known = catalog.load()
    return {
        "models": [known.model(name).model_dump() for name in sorted({engine["model"] for engine in engines})],
        "engines": engines,
        "demo": {
            "organization": settings.organization,
            "project": settings.project,
            "user": settings.user,
            "name": settings.organization_name,
            "time_zone": settings.time_zone,
            "email": settings.email,
            "password": settings.password.get_secret_value(),
            "api_key": settings.api_key.get_secret_value(),
            "admin_key": settings.admin_key.get_secret_value(),
            "sql_login": settings.sql_login,
            "sql_password": settings.sql_password.get_secret_value(),
        },
    }


def main() -> int:
    """Exit code 1 with a message when a setting is wrong; standard output is empty then, and the seed refuses it."""
    try:
        content = seed_input(SeedInputSettings.from_env(os.environ))
    except InferhouseError as error:
        sys.stderr.write(f"{error.code}: {error}\n")
        return 1
    sys.stdout.buffer.write(orjson.dumps(content))
    return 0


if __name__ == "__main__":
    sys.exit(main())
