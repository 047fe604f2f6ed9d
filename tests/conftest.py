"""Real servers, one migrated database that every test gets a fresh copy of, and nothing of the outside environment."""

import functools
import os
import secrets
import ssl
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
import redis
from hypothesis import settings
from psycopg.conninfo import make_conninfo
from psycopg.sql import SQL, Identifier

from deploy.local.postgres import OWNER, create_database, create_owner
from tests.dbt_runs import Dbt
from tests.services import Services, running_services
from warehouse.migrations.runner import migrate
from warehouse.role_passwords import set_role_passwords

SERVICE_ROLES = (
    "inferhouse_router", "inferhouse_management", "inferhouse_transform",
    "inferhouse_portal", "inferhouse_platform", "inferhouse_dagster",
)  # fmt: skip
# How long an example takes says nothing about what it shows, and on a busy machine it would fail.
settings.register_profile("ours", deadline=None)
settings.load_profile("ours")
OURS = ("INFERHOUSE_", "WAREHOUSE_", "ROUTER_", "ORCHESTRATION_", "PORTAL_", "DAGSTER_", "DBT_", "PG")


@pytest.fixture(scope="session", autouse=True)
def _no_settings_from_outside() -> Iterator[None]:
    """A developer's own settings must not change what a test sees."""
    with pytest.MonkeyPatch.context() as patch:
        for name in [name for name in os.environ if name.startswith(OURS)]:
            patch.delenv(name)
        yield


@pytest.fixture(scope="session", autouse=True)
def _certificates_are_read_once() -> Iterator[None]:
    """httpx reads all of them for each client, which takes 45 ms of a processor; tests make thousands of clients."""
    make = ssl.create_default_context
    once = functools.cache(lambda cafile: make(cafile=cafile))

    def made(*arguments: Any, **named: Any) -> ssl.SSLContext:
        return once(**named) if not arguments and named.keys() == {"cafile"} else make(*arguments, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ssl, "create_default_context", made)
        yield


@pytest.fixture(scope="session")
def services() -> Iterator[Services]:
    """TimescaleDB and Redis of this session."""
    with running_services() as running:
        yield running


@pytest.fixture(scope="session")
def server_dsn(services: Services) -> str:
    """Connection string of the superuser, to the maintenance database."""
    return services.server_dsn


@pytest.fixture(scope="session")
def admin(server_dsn: str) -> Iterator[psycopg.Connection]:
    """The superuser's connection: makes and drops databases."""
    with psycopg.connect(server_dsn, autocommit=True) as conn:
        yield conn


@pytest.fixture(scope="session")
def role_passwords() -> dict[str, str]:
    """Password of the owner and of each service role, in every database of the server."""
    return {role: secrets.token_hex(8) for role in (OWNER, *SERVICE_ROLES)}


@pytest.fixture(scope="session")
def empty_database(admin: psycopg.Connection, role_passwords: dict[str, str]) -> Callable[[], str]:
    """Makes a database that belongs to the owner, as `make up` does, and returns its name. The caller drops it."""
    create_owner(admin, role_passwords[OWNER])

    def create() -> str:
        name = f"test_{uuid4().hex}"
        create_database(admin, name)
        return name

    return create


@pytest.fixture(scope="session")
def template(
    server_dsn: str, admin: psycopg.Connection, empty_database: Callable[[], str], role_passwords: dict[str, str]
) -> Iterator[str]:
    """Name of the migrated database that each test's own is copied from; nobody stays connected to it."""
    name = empty_database()
    owner = make_conninfo(server_dsn, dbname=name, user=OWNER, password=role_passwords[OWNER])
    migrate(owner)
    set_role_passwords(owner, {role: role_passwords[role] for role in SERVICE_ROLES})
    yield name
    admin.execute(SQL("drop database {} with (force)").format(Identifier(name)))


@pytest.fixture(scope="session")
def name_for_dbt() -> str:
    """What the database of each test that runs dbt is called: for another name, dbt parses the whole project anew (3 s)."""
    return f"test_{uuid4().hex}"


@pytest.fixture
def database_url(
    request: pytest.FixtureRequest, server_dsn: str, admin: psycopg.Connection, template: str, role_passwords: dict[str, str]
) -> Iterator[str]:
    """The owner's connection string to a fresh copy of the migrated database, dropped after the test."""
    runs_dbt = not {"dbt", "dbt_target"}.isdisjoint(request.fixturenames)
    name = request.getfixturevalue("name_for_dbt") if runs_dbt else f"test_{uuid4().hex}"
    admin.execute(
        SQL("create database {} template {} strategy file_copy owner {}").format(
            Identifier(name), Identifier(template), Identifier(OWNER)
        )
    )
    yield _url(make_conninfo(server_dsn, dbname=name), OWNER, role_passwords[OWNER])
    admin.execute(SQL("drop database {} with (force)").format(Identifier(name)))


@pytest.fixture
def db(database_url: str) -> Iterator[psycopg.Connection]:
    """The owner's connection to this test's database."""
    with psycopg.connect(database_url) as conn:
        yield conn


@pytest.fixture
def role_url(database_url: str, role_passwords: dict[str, str]) -> Callable[..., str]:
    """`role_url("inferhouse_router")`: connection string of a service role to this test's database.

    For a login that the test made itself: `role_url(name, password)`.
    """

    def url(role: str, password: str | None = None) -> str:
        return _url(database_url, role, password or role_passwords[role])

    return url


@pytest.fixture(scope="session")
def dbt_target(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One target folder for the session, where dbt keeps what it has parsed."""
    return tmp_path_factory.mktemp("dbt")


@pytest.fixture
def dbt(role_url: Callable[..., str], dbt_target: Path) -> Dbt:
    """dbt on this test's database."""
    return Dbt(role_url("inferhouse_transform"), dbt_target)


@pytest.fixture
def redis_url(services: Services) -> str:
    """An empty Redis."""
    with redis.Redis.from_url(services.redis_url) as client:
        client.flushall()
    return services.redis_url


def _url(dsn: str, user: str, password: str) -> str:
    """The server and database of a connection string, for another user, as a URL (which every driver understands)."""
    parts = psycopg.conninfo.conninfo_to_dict(dsn)
    return f"postgresql://{user}:{password}@{parts['host']}:{parts['port']}/{parts['dbname']}"
