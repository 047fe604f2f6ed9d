"""What can be no address of a database or of Redis is refused where it is read, and nothing of it is repeated."""

import traceback

import pytest

from deploy.local.settings import LocalSettings
from router.settings import RouterSettings
from warehouse.access.addresses import RedisAddress, is_database_url
from warehouse.base.errors import SettingsError
from warehouse.settings import WarehouseSettings

GOOD = {"ROUTER_DATABASE_URL": "postgresql://nowhere/none", "ROUTER_SERVES": "inference", "ROUTER_KEY_PEPPER": "p" * 16,
        "ROUTER_JOURNAL_DIR": "/journal"}  # fmt: skip


@pytest.mark.parametrize(
    "url",
    [
        "", "postgresql://", "postgres://u:p%40ss@h:5432/db?sslmode=require", "host=h port=5432 password='a b' dbname=d",
        "postgresql://u:p@h1:5432,h2:5433/db", "postgresql://u:p?w@[::1]:5432/db", "postgresql:///db?host=/var/run/postgresql",
    ],
)  # fmt: skip
def test_what_libpq_takes_is_taken(url: str) -> None:
    assert is_database_url(url)


# Each as it is written by who does not know that the password's @, /, ? and % are no characters as others.
@pytest.mark.parametrize(
    "url",
    ["nothing", "mysql://u:p@h/db", "postgresql://u:sec%ret@h/db", "postgresql://u:sec/ret@h/db", "postgresql://u:sec@ret@h/db",
     "host=h password=sec ret"],
)  # fmt: skip
def test_a_wrong_address_of_a_database_is_refused_and_not_repeated(url: str) -> None:
    for settings, env, name in (
        (RouterSettings, GOOD, "ROUTER_DATABASE_URL"),
        (RouterSettings, GOOD, "ROUTER_MANAGEMENT_DATABASE_URL"),
        (WarehouseSettings, {}, "WAREHOUSE_DATABASE_URL"),
        (LocalSettings, {}, "INFERHOUSE_DATABASE_URL"),
    ):
        with pytest.raises(SettingsError) as refused:
            settings.from_env(env | {name: url})
        said = str(refused.value)
        assert said.startswith(f"setting {name} is wrong: write it as postgresql://user:password@host:5432/database")
        shown = "".join(traceback.format_exception(refused.value))
        assert not {"sec%ret", "sec", "ret"} & set(shown.replace("@", " ").replace("'", " ").split())


@pytest.mark.parametrize(
    "url",
    ["", "host:6379", "http://host/0", "redis://:sec/ret@host:6379/0", "redis://host:6379/first", "redis://host:99999/0",
     "redis://[::1/0", "unix://"],
)  # fmt: skip
def test_a_wrong_address_of_redis_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(SettingsError) as refused:
        RouterSettings.from_env(GOOD | {"ROUTER_REDIS_URL": url})
    assert str(refused.value).startswith("setting ROUTER_REDIS_URL is wrong: write it as redis://user:password@host:6379/0")
    assert "'sec'" not in "".join(traceback.format_exception(refused.value))


def test_addresses_of_redis_are_read() -> None:
    assert RedisAddress.of("redis://") == RedisAddress("localhost", 6379, "", False, "default", "", 0)
    assert RedisAddress.of("rediss://u:p%2Fw@h:6380/3") == RedisAddress("h", 6380, "", True, "u", "p/w", 3)
    assert RedisAddress.of("unix:///run/redis.sock").path == "/run/redis.sock"


@pytest.mark.parametrize("name", ["ROUTER_OTLP_ENDPOINT", "ROUTER_OIDC_ISSUER"])
def test_what_is_called_over_http_has_its_scheme_and_an_empty_one_is_none(name: str) -> None:
    with pytest.raises(SettingsError, match=f"setting {name} is wrong: write it as https://host.example"):
        RouterSettings.from_env(GOOD | {name: "collector:4318"})
    assert getattr(RouterSettings.from_env(GOOD | {name: ""}), name.removeprefix("ROUTER_").lower()) is None
