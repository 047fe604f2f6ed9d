"""The instance's database: made, migrated, filled with the catalogue and the demo organization. Again and again, once."""

import psycopg

from deploy.local.credentials import DEMO_EMAIL, DEMO_SQL_LOGIN
from deploy.local.errors import StepFailed
from deploy.local.instance import DATABASE, ENGINES, Instance
from deploy.local.postgres import create_database, create_owner
from engines import catalog
from warehouse.migrations.runner import migrate
from warehouse.role_passwords import set_role_passwords
from warehouse.seed import Seed, SeedDemo, SeedEngine, SeedModel, SeedPrice, put_catalogue, put_demo


def prepare(instance: Instance, engines: list[str]) -> str:
    """Bring the database to this version and seed it; returns what was done.

    Raises: StepFailed: a database given from outside cannot be reached.
    """
    if instance.has_own_postgres:
        instance.postgres.wait()
        with psycopg.connect(instance.superuser_url, autocommit=True) as conn:
            create_owner(conn, instance.credentials.owner_password)
            create_database(conn, DATABASE)
    try:
        ran = migrate(instance.owner_url)
        set_role_passwords(instance.owner_url, instance.credentials.role_passwords)
        seed(instance, engines)
    except psycopg.OperationalError as error:
        raise StepFailed(f"the database does not answer: {error}") from error
    return f"{len(ran)} migrations applied, demo organization seeded" if ran else "up to date"


def seed(instance: Instance, engines: list[str]) -> None:
    """Write models, engines (kinds, as in ENGINES) and the demo organization."""
    content = Seed(
        models=[_model(ENGINES[kind][1]) for kind in engines],
        engines=[SeedEngine(ENGINES[kind][0], kind, instance.http(kind), ENGINES[kind][1]) for kind in engines],
    )
    with psycopg.connect(instance.owner_url) as conn:
        put_catalogue(conn, content)
        put_demo(conn, _demo(instance), instance.credentials.key_pepper.encode())


def _model(name: str) -> SeedModel:
    model = catalog.load().model(name)
    prices = model.list_price
    return SeedModel(
        name=model.name,
        context_tokens_max=model.context_tokens_max,
        output_tokens_max=model.output_tokens_max,
        list_price=SeedPrice(prices.input_picousd, prices.cached_input_picousd, prices.output_picousd),
    )


def _demo(instance: Instance) -> SeedDemo:
    made = instance.credentials
    return SeedDemo(
        organization=made.demo_organization,
        project=made.demo_project,
        user=made.demo_user,
        name="Demo",
        time_zone="UTC",
        email=DEMO_EMAIL,
        password=made.demo_password,
        api_key=made.api_key,
        admin_key=made.admin_key,
        sql_login=DEMO_SQL_LOGIN,
        sql_password=made.demo_sql_password,
    )
