"""One instance as it is to run: its settings, ports, secrets and addresses. Decided once, before anything is started."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

from deploy.local.account import Account
from deploy.local.credentials import DEMO_EMAIL, DEMO_SQL_LOGIN, Credentials
from deploy.local.engine import MODEL
from deploy.local.layout import Layout
from deploy.local.postgres import OWNER, SUPERUSER, PostgresServer
from deploy.local.redis_server import RedisServer
from deploy.local.settings import LocalSettings

DATABASE = "inferhouse"


@dataclass(frozen=True, slots=True)
class Instance:
    """Everything that the steps of `up` need to know; nothing in it changes while they run."""

    layout: Layout
    account: Account
    settings: LocalSettings
    ports: Mapping[str, int]
    credentials: Credentials
    handed_down: Mapping[str, str]
    """Settings of our processes that a person gave to `up`."""

    def without_own_addresses(self) -> "Instance":
        """`.local/env` sourced into a shell names our own servers: that is no wish for servers from outside."""
        own = replace(self, settings=self.settings.model_copy(update={"database_url": None, "redis_url": None}))
        given = self.settings
        return replace(
            self,
            settings=given.model_copy(
                update={
                    "database_url": None if self.owner_url == own.owner_url else given.database_url,
                    "redis_url": None if self.redis_url == own.redis_url else given.redis_url,
                }
            ),
        )

    @property
    def postgres(self) -> PostgresServer:
        folder = self.layout.work / "postgres" / "data"
        return PostgresServer(
            self.layout.runtime, folder, self.ports["postgres"], self.credentials.postgres_password, self.account
        )

    @property
    def redis(self) -> RedisServer:
        folder = self.layout.work / "redis"
        return RedisServer(self.layout.runtime, folder, self.ports["redis"], self.credentials.redis_password, self.account)

    @property
    def has_own_postgres(self) -> bool:
        return self.settings.database_url is None

    @property
    def has_own_redis(self) -> bool:
        return self.settings.redis_url is None

    @property
    def superuser_url(self) -> str:
        """Of our own server only."""
        return self._own_url(SUPERUSER, self.credentials.postgres_password, "postgres")

    @property
    def owner_url(self) -> str:
        if self.settings.database_url:
            # SQLAlchemy, which Dagster has, knows the one name only.
            return re.sub("^postgres://", "postgresql://", self.settings.database_url.get_secret_value())
        return self._own_url(OWNER, self.credentials.owner_password, DATABASE)

    @property
    def redis_url(self) -> str:
        return self.settings.redis_url.get_secret_value() if self.settings.redis_url else self.redis.url

    def role_url(self, role: str, password: str | None = None, schema: str = "") -> str:
        """Connection string of a service role (or another login) to the instance's database. Args: schema: where it works.

        The owner's parameters, such as `sslmode`, are everybody's.
        """
        parts = urlsplit(self.owner_url)
        login = f"{quote(role)}:{quote(password or self.credentials.role_passwords[role])}"
        query = parts.query
        if schema:
            said = dict(parse_qsl(query))
            query = urlencode(said | {"options": f"{said.get('options', '')} -csearch_path={schema}".strip()}, quote_via=quote)
        return urlunsplit(parts._replace(netloc=f"{login}@{parts.netloc.rpartition('@')[2]}", query=query))

    def _own_url(self, user: str, password: str, database: str) -> str:
        return f"postgresql://{user}:{password}@127.0.0.1:{self.ports['postgres']}/{database}"

    def http(self, name: str) -> str:
        return f"http://127.0.0.1:{self.ports[name]}"

    @property
    def base_url(self) -> str:
        return f"{self.http('router')}/v1"

    def outputs(self, model: str) -> dict[str, str]:
        """What `.local/env` says. `model`: the one that the first request went to."""
        return {
            "INFERHOUSE_BASE_URL": self.base_url,
            "INFERHOUSE_API_KEY": self.credentials.api_key,
            "INFERHOUSE_MODEL": model,
            "INFERHOUSE_ADMIN_KEY": self.credentials.admin_key,
            "INFERHOUSE_ORGANIZATION": self.credentials.demo_organization,
            "INFERHOUSE_PORTAL_URL": self.http("portal"),
            "INFERHOUSE_PORTAL_EMAIL": DEMO_EMAIL,
            "INFERHOUSE_PORTAL_PASSWORD": self.credentials.demo_password,
            "INFERHOUSE_DAGSTER_URL": self.http("dagster"),
            "INFERHOUSE_SQL_URL": self.role_url(DEMO_SQL_LOGIN, self.credentials.demo_sql_password),
            "INFERHOUSE_DATABASE_URL": self.owner_url,
            "INFERHOUSE_REDIS_URL": self.redis_url,
        }


ENGINES = {"vllm": ("engine-vllm", MODEL), "simulated": ("engine-simulated", "simulated")}
"""Kind of engine -> its program and the model it serves."""
