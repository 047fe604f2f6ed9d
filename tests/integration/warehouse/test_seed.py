"""The seed and the commands around it: once or again, the same."""

import json
import secrets
import subprocess
import sys
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import make_conninfo

from tests.services import ROOT, free_port
from warehouse.base.ids import public_id
from warehouse.identity.keys import ApiKeySecret
from warehouse.identity.passwords import verify_password

PEPPER = "a pepper of the tests"
TABLES = ("organizations", "projects", "users", "org_members", "api_keys", "models", "engines", "prices", "sql_logins")


def _run(module: str, env: dict[str, str], stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", module], input=stdin, env=env, cwd=ROOT, capture_output=True, text=True, check=False
    )


@pytest.fixture
def content() -> dict[str, Any]:
    """The seed's input."""
    price = {"input_picousd": 100, "cached_input_picousd": 50, "output_picousd": 200}
    return {
        "models": [{"name": "m", "context_tokens_max": 4096, "output_tokens_max": 1024, "list_price": price}],
        "engines": [{"name": "e", "kind": "simulated", "base_url": "http://127.0.0.1:1", "model": "m"}],
        "demo": {
            "organization": public_id("org"), "project": public_id("proj"), "user": public_id("user"), "name": "Demo",
            "time_zone": "Europe/Berlin", "email": "Admin@demo.example", "password": "a password",
            "api_key": ApiKeySecret.generate().reveal(), "admin_key": ApiKeySecret.generate().reveal(),
            "sql_login": f"inferhouse_sql_{secrets.token_hex(4)}", "sql_password": secrets.token_hex(8),
        },
    }  # fmt: skip


@pytest.fixture
def seed(database_url: str) -> Any:
    """Runs `python -m warehouse.seed` with an input; returns what became of it."""
    env = {"WAREHOUSE_DATABASE_URL": database_url, "WAREHOUSE_KEY_PEPPER": PEPPER}
    return lambda content: _run("warehouse.seed", env, json.dumps(content))


def _state(db: psycopg.Connection) -> dict[str, list[Any]]:
    state = {}
    for table in TABLES:
        columns = "password_hash is null" if table == "users" else "*"
        state[table] = db.execute(f"select {columns} from control.{table} order by 1".encode()).fetchall()
    db.commit()
    return state


def test_a_second_seed_changes_nothing(seed: Any, content: dict[str, Any], db: psycopg.Connection) -> None:
    first = seed(content)
    assert (first.returncode, first.stdout) == (0, "1 models, 1 engines, a demo organization\n"), first.stderr
    before = _state(db)
    assert {table: len(rows) for table, rows in before.items()} == dict.fromkeys(TABLES, 1) | {"api_keys": 2}
    again = seed(content)
    assert (again.returncode, again.stderr) == (0, "")
    assert _state(db) == before


def test_what_was_seeded_can_be_used(seed: Any, content: dict[str, Any], db: psycopg.Connection, role_url: Any) -> None:
    seed(content)
    demo = content["demo"]
    row = db.execute(
        "select password_hash, platform_admin from control.users where lower(email) = 'admin@demo.example'"
    ).fetchone()
    assert row is not None
    assert verify_password(row[0], demo["password"])
    for text, kind in ((demo["api_key"], "inference"), (demo["admin_key"], "platform")):
        key = ApiKeySecret.parse(text)
        assert key is not None
        stored = db.execute("select kind, secret_hash from control.api_keys where public_id = %s", [key.public_id]).fetchone()
        assert stored is not None
        assert stored[0] == kind
        assert key.matches(stored[1], PEPPER.encode())
    with psycopg.connect(role_url(demo["sql_login"], demo["sql_password"])) as conn:
        own = conn.execute("select control.current_org_id()").fetchone()
    assert own == db.execute("select id from control.organizations").fetchone()


def test_an_engine_that_moved_is_followed_and_one_that_is_gone_is_switched_off(
    seed: Any, content: dict[str, Any], db: psycopg.Connection
) -> None:
    seed(content)
    content["engines"][0]["base_url"] = "http://127.0.0.1:2"
    assert seed(content).returncode == 0
    assert db.execute("select name, base_url, enabled from control.engines").fetchall() == [("e", "http://127.0.0.1:2", True)]
    db.commit()
    content["engines"][0]["name"] = "another"
    seed(content)
    engines = db.execute("select name, enabled from control.engines order by name").fetchall()
    assert engines == [("another", True), ("e", False)]


def test_a_price_that_was_changed_since_is_not_put_back(seed: Any, content: dict[str, Any], db: psycopg.Connection) -> None:
    seed(content)
    db.execute("update control.prices set output_picousd = 999")
    db.commit()
    content["models"][0]["list_price"]["output_picousd"] = 5
    seed(content)
    assert db.execute("select output_picousd from control.prices").fetchall() == [(999,)]


def test_an_address_that_somebody_else_has_is_told(seed: Any, content: dict[str, Any], db: psycopg.Connection) -> None:
    """Otherwise the key would silently not be there, and the first request would be refused without a reason."""
    db.execute(
        "insert into control.users (public_id, email, name) values (%s, 'admin@demo.example', 'Other')", [public_id("user")]
    )
    db.commit()
    result = seed(content)
    assert result.returncode == 1
    assert "admin@demo.example" in result.stderr.lower()
    assert db.execute("select count(*) from control.organizations").fetchone() == (0,)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"demo": {"api_key": "sk-wrong"}}, "not of the form"),
        ({"models": [{"name": "m"}]}, "missing required field"),
        ({"engines": 5}, "Expected `array`"),
    ],
)
def test_a_wrong_input_leaves_nothing(seed: Any, content: dict[str, Any], db: psycopg.Connection, change: Any, said: str) -> None:
    wrong = content | {name: (content[name] | value if isinstance(value, dict) else value) for name, value in change.items()}
    result = seed(wrong)
    assert result.returncode == 1
    assert said in result.stderr
    assert result.stderr.startswith("seed_failed: ")
    assert _state(db) == {table: [] for table in TABLES}


def test_no_secret_is_printed(seed: Any, content: dict[str, Any]) -> None:
    printed = seed(content)
    for name in ("password", "api_key", "admin_key", "sql_password"):
        assert content["demo"][name] not in printed.stdout + printed.stderr


def test_the_commands_name_a_missing_setting(database_url: str) -> None:
    for module, env, missing in (
        ("warehouse.migrations", {}, "WAREHOUSE_DATABASE_URL"),
        ("warehouse.seed", {"WAREHOUSE_DATABASE_URL": database_url}, "WAREHOUSE_KEY_PEPPER"),
        ("warehouse.role_passwords", {"WAREHOUSE_DATABASE_URL": database_url}, "WAREHOUSE_ROLE_PASSWORDS"),
    ):
        result = _run(module, env)
        assert (result.returncode, result.stdout) == (1, "")
        assert missing in result.stderr


@pytest.mark.parametrize("module", ["migrations", "seed", "role_passwords"])
def test_a_database_that_is_away_or_refuses_is_said_in_one_line(module: str, database_url: str, content: dict[str, Any]) -> None:
    closed = make_conninfo(database_url, port=free_port())
    stranger = make_conninfo(database_url, password="wrong")
    for url, said in ((closed, "Connection refused"), (stranger, "password authentication failed")):
        env = {"WAREHOUSE_DATABASE_URL": url, "WAREHOUSE_KEY_PEPPER": PEPPER, "WAREHOUSE_ROLE_PASSWORDS": "{}"}
        result = _run(f"warehouse.{module}", env, json.dumps(content))
        assert (result.returncode, result.stdout) == (1, "")
        (line,) = result.stderr.splitlines()
        assert line.startswith("seed_failed: " if module == "seed" else "database_failed: ")
        assert "the database does not answer: " in line
        assert said in line


def test_the_migrations_command_says_what_it_did(database_url: str) -> None:
    result = _run("warehouse.migrations", {"WAREHOUSE_DATABASE_URL": database_url})
    assert (result.returncode, result.stdout) == (0, "up to date\n")


def test_passwords_of_roles_are_set_all_or_none(database_url: str, role_url: Any, role_passwords: dict[str, str]) -> None:
    env = {"WAREHOUSE_DATABASE_URL": database_url}
    wrong = {"inferhouse_portal": "changed", "inferhouse_nobody": "x"}
    result = _run("warehouse.role_passwords", env | {"WAREHOUSE_ROLE_PASSWORDS": json.dumps(wrong)})
    assert result.returncode == 1
    assert "there is no role inferhouse_nobody" in result.stderr
    psycopg.connect(role_url("inferhouse_portal")).close()
    right = {"inferhouse_portal": role_passwords["inferhouse_portal"]}
    result = _run("warehouse.role_passwords", env | {"WAREHOUSE_ROLE_PASSWORDS": json.dumps(right)})
    assert (result.returncode, result.stdout) == (0, "set the passwords of 1 roles\n")
