"""`python -m warehouse.seed`: models, engines and a demo organization, from JSON on standard input; again and again, once.

The caller makes the secrets and keeps them; nothing is printed that it does not know. Input:
`{"models": [as engines.catalog prints them], "engines": [{name, kind, base_url, model}], "demo": {organization, project,
user (public ids), name, time_zone, email, password, api_key, admin_key, sql_login, sql_password}}`; "demo" may be left out.
"""

import os
import sys

import msgspec
import psycopg
from psycopg.errors import UniqueViolation

from warehouse.access.lines import answering
from warehouse.access.queries import load_queries
from warehouse.base.errors import InferhouseError, SettingsError
from warehouse.identity.keys import ApiKeySecret
from warehouse.identity.passwords import hash_password
from warehouse.settings import WarehouseSettings

QUERIES = load_queries(__file__)


class SeedPrice(msgspec.Struct, frozen=True):
    """Pico-dollars per token."""

    input_picousd: int
    cached_input_picousd: int
    output_picousd: int


class SeedModel(msgspec.Struct, frozen=True):
    """A model and its first list price."""

    name: str
    context_tokens_max: int
    output_tokens_max: int
    list_price: SeedPrice


class SeedEngine(msgspec.Struct, frozen=True):
    """Where a model is served."""

    name: str
    kind: str
    base_url: str
    model: str


class SeedDemo(msgspec.Struct, frozen=True):
    """An organization to begin with, and the secrets of those who may use it."""

    organization: str
    project: str
    user: str
    name: str
    time_zone: str
    email: str
    password: str
    api_key: str
    admin_key: str
    sql_login: str
    sql_password: str


class Seed(msgspec.Struct, frozen=True):
    """The whole input."""

    models: list[SeedModel] = []
    engines: list[SeedEngine] = []
    demo: SeedDemo | None = None


def put_catalogue(conn: psycopg.Connection, seed: Seed) -> None:
    """Models with a first price, and engines as they are now; an engine that is not named is switched off."""
    for model in seed.models:
        conn.execute(QUERIES["put_model"], msgspec.structs.asdict(model))
        conn.execute(QUERIES["put_first_list_price"], msgspec.structs.asdict(model.list_price) | {"name": model.name})
    for engine in seed.engines:
        conn.execute(QUERIES["put_engine"], msgspec.structs.asdict(engine))
    conn.execute(QUERIES["disable_other_engines"], {"names": [engine.name for engine in seed.engines]})


def put_demo(conn: psycopg.Connection, demo: SeedDemo, pepper: bytes) -> None:
    """The demo organization with a project, an owner, two keys and a read-only SQL login.

    Raises: SettingsError: a key is not of the form of our keys, or the e-mail address is another user's.
    """
    names = {"organization": demo.organization, "project": demo.project, "user": demo.user}
    conn.execute(QUERIES["put_organization"], {"public_id": demo.organization, "name": demo.name, "time_zone": demo.time_zone})
    conn.execute(QUERIES["put_project"], names | {"public_id": demo.project, "name": "Default project"})
    user = {"public_id": demo.user, "email": demo.email, "name": "Demo Admin"}
    try:
        conn.execute(QUERIES["put_user"], user | {"password_hash": hash_password(demo.password)})
    except UniqueViolation as error:  # going on would make keys of nobody
        raise SettingsError(f"another user has the address {demo.email}: seed with that user's public id") from error
    conn.execute(QUERIES["put_owner"], names)
    for query, text in (("put_inference_key", demo.api_key), ("put_platform_key", demo.admin_key)):
        key = ApiKeySecret.parse(text)
        if key is None:
            raise SettingsError("a key in the seed is not of the form sk-ih-<public id>-<secret>")
        conn.execute(QUERIES[query], names | {"public_id": key.public_id, "secret_hash": key.hash(pepper)})
    conn.execute(
        QUERIES["put_sql_login"],
        {"login": demo.sql_login, "password": demo.sql_password, "organization": demo.organization},
    )


def main() -> int:
    try:
        settings = WarehouseSettings.from_env(os.environ)
        if settings.key_pepper is None:
            raise SettingsError("setting WAREHOUSE_KEY_PEPPER is not set")
        seed = msgspec.json.decode(sys.stdin.buffer.read(), type=Seed)
        with answering(), psycopg.connect(settings.database_url.get_secret_value()) as conn:
            put_catalogue(conn, seed)
            if seed.demo:
                put_demo(conn, seed.demo, settings.key_pepper.get_secret_value().encode())
    except (InferhouseError, msgspec.ValidationError, msgspec.DecodeError) as error:
        print(f"seed_failed: {error}", file=sys.stderr)
        return 1
    print(f"{len(seed.models)} models, {len(seed.engines)} engines, {'a' if seed.demo else 'no'} demo organization")
    return 0


if __name__ == "__main__":
    sys.exit(main())
