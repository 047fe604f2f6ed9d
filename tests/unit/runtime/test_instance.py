"""Addresses of an instance whose database is given from outside, as managed databases give them."""

from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from deploy.local import plan
from deploy.local.account import Account
from deploy.local.credentials import SERVICE_ROLES, Credentials
from deploy.local.instance import Instance
from deploy.local.layout import Layout
from deploy.local.ports import USUAL
from deploy.local.settings import LocalSettings
from warehouse.base.errors import SettingsError

REQUIRED = {"sslmode": "require"}
PASSWORDS = {role: f"word-of-{role}" for role in SERVICE_ROLES}


def _instance(state: Path, url: str) -> Instance:
    credentials = Credentials("p", "r", "o", PASSWORDS, "pepper" * 3, "session" * 3, "org", "proj", "user", "d", "s", "k", "a")
    settings = LocalSettings.from_env({"INFERHOUSE_DATABASE_URL": url})
    return Instance(Layout.of(state), Account("nobody", 65534, 65534, state), settings, USUAL, credentials, {})


@pytest.mark.parametrize("scheme", ["postgresql", "postgres"])
@pytest.mark.parametrize(
    ("query", "more"),
    [("", {}), ("?sslmode=require", REQUIRED), ("?options=-c%20lock_timeout%3D5s&sslmode=require", REQUIRED)],
)
def test_what_the_owners_address_asks_for_is_asked_for_by_every_role(
    tmp_path: Path, scheme: str, query: str, more: dict[str, Any]
) -> None:
    """A managed database that takes nobody without TLS gives its address with `?sslmode=require`."""
    programs = plan.applications(_instance(tmp_path, f"{scheme}://owner:p%40ss@db.example:5433/house{query}"))
    urls = {name: url for program in programs for name, url in program.env.items() if name.endswith("DATABASE_URL")}
    assert len(urls) == 6
    for name, url in urls.items():
        assert url.startswith("postgresql://"), name
        said = conninfo_to_dict(url)
        role = str(said.pop("user"))
        assert said.pop("password") == PASSWORDS[role]
        options = str(said.pop("options", ""))
        assert options.endswith("-csearch_path=dagster") == (name == "ORCHESTRATION_DAGSTER_DATABASE_URL")
        assert ("lock_timeout=5s" in options) == ("lock_timeout" in query)
        assert said == {"host": "db.example", "port": "5433", "dbname": "house"} | more


def test_an_address_of_which_no_other_can_be_made_is_refused() -> None:
    dsn = psycopg.conninfo.make_conninfo(host="db.example", user="owner", dbname="house")
    with pytest.raises(SettingsError, match="setting INFERHOUSE_DATABASE_URL is wrong: write it as postgresql://user:password@"):
        LocalSettings.from_env({"INFERHOUSE_DATABASE_URL": dsn})
