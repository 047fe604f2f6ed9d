"""The setup service of docker-compose.yml, with its own command and variables, on a real database."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict
from psycopg.sql import SQL, Identifier

from deploy.images.new_env import new_env
from deploy.local.postgres import OWNER

ROOT = Path(__file__).parents[3]


def setup_command() -> list[str]:
    """The command of the image's target `setup`."""
    stage = (ROOT / "deploy/images/app.Dockerfile").read_text(encoding="utf-8").partition(" AS setup\n")[2]
    found = re.search(r"^CMD (\[.*\])$", stage, re.MULTILINE)
    assert found
    command: list[str] = json.loads(found[1])
    return command


@pytest.fixture
def owner_url(
    server_dsn: str, admin: psycopg.Connection, empty_database: Callable[[], str], role_passwords: Mapping[str, str]
) -> Iterator[str]:
    """The owner's address of an empty database, as the database image's first start leaves it."""
    name = empty_database()
    server = conninfo_to_dict(server_dsn)
    yield f"postgresql://{OWNER}:{role_passwords[OWNER]}@{server['host']}:{server['port']}/{name}"
    admin.execute(SQL("drop database {} with (force)").format(Identifier(name)))


@pytest.fixture
def variables(owner_url: str, role_passwords: Mapping[str, str]) -> dict[str, str]:
    """What the service gets. Roles belong to the whole server, so they keep the passwords that other tests know."""
    env = new_env("gpu", "h100")
    return {
        "WAREHOUSE_DATABASE_URL": owner_url,
        "WAREHOUSE_KEY_PEPPER": env["STACK_KEY_PEPPER"],
        "WAREHOUSE_ROLE_PASSWORDS": json.dumps({role: word for role, word in role_passwords.items() if role != OWNER}),
        "SEED_ENGINES": env["STACK_ENGINES"],
        "SEED_ORGANIZATION": env["STACK_ORGANIZATION"],
        "SEED_PROJECT": env["STACK_PROJECT"],
        "SEED_USER": env["STACK_USER"],
        "SEED_PASSWORD": env["STACK_ADMIN_PASSWORD"],
        "SEED_API_KEY": env["STACK_API_KEY"],
        "SEED_ADMIN_KEY": env["STACK_ADMIN_KEY"],
        "SEED_SQL_LOGIN": f"setup_{env['STACK_PROJECT'][-12:]}",
        "SEED_SQL_PASSWORD": env["STACK_SQL_PASSWORD"],
    }


def run(variables: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    path = f"{Path(sys.executable).parent}:/usr/bin:/bin"
    env = {"PATH": path, "PYTHONPATH": str(ROOT), "HOME": os.environ["HOME"], **variables}
    return subprocess.run(setup_command(), cwd=ROOT, env=env, capture_output=True, text=True, check=False)


def contents(owner_url: str) -> list[object]:
    with psycopg.connect(owner_url) as conn:
        return [
            conn.execute("select name, kind, base_url, enabled from control.engines order by name").fetchall(),
            conn.execute("select name from control.models order by name").fetchall(),
            conn.execute("select count(*) from control.prices").fetchall(),
            conn.execute("select kind, public_id from control.api_keys order by kind").fetchall(),
        ]


def test_setup_fills_an_empty_database_and_changes_nothing_the_second_time(
    variables: dict[str, str], owner_url: str, admin: psycopg.Connection
) -> None:
    try:
        first = run(variables)
        assert first.returncode == 0, first.stderr
        filled = contents(owner_url)
        assert filled[0] == [
            ("simulated", "simulated", "http://engine-simulated:8101", True),
            ("vllm-gpu", "vllm", "http://engine-gpu:8100", True),
        ]
        assert filled[1] == [("qwen2.5-32b-instruct",), ("simulated",)]
        second = run(variables)
        assert second.returncode == 0, second.stderr
        assert contents(owner_url) == filled
        said = first.stdout + first.stderr + second.stdout + second.stderr
        assert not [name for name in variables if re.search("PASSWORD|KEY|PEPPER", name) and variables[name] in said]
    finally:
        admin.execute(SQL("drop role if exists {}").format(Identifier(variables["SEED_SQL_LOGIN"])))


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("SEED_ENGINES", "x=vllm:no-such-model@http://x:1", "no-such-model"),
        ("SEED_PASSWORD", "short", "SEED_PASSWORD"),
        ("SEED_TIMEZONE", "UTC", "did you mean SEED_TIME_ZONE?"),
        ("WAREHOUSE_ROLE_PASSWORDS", "{}}", "settings_error"),
    ],
)
def test_setup_fails_with_the_name_of_what_is_wrong(variables: dict[str, str], name: str, value: str, message: str) -> None:
    done = run({**variables, name: value})
    assert done.returncode != 0
    assert message in done.stderr
